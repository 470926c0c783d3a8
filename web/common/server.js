// The server's JSON: live parameters and statistics.

export class ServerError extends Error {}

async function request(path, options) {
  const reply = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!reply.ok) throw new ServerError(`${path}: ${reply.status} ${reply.statusText}`);
  return reply.json();
}

export const getState = () => request("/api/state");
export const getStats = () => request("/api/stats");

export const postState = (changes) =>
  request("/api/state", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(changes),
  });

export const socketUrl = (path) => `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;
