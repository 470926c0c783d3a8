// The form that a page's address answers with until somebody is logged in; then the page is there.
import { byId, load } from "../common/dom.js";

document.documentElement.dataset.theme = load("theme", matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");

async function logIn() {
  const name = byId("name").value.trim();
  const secret = byId("password").value;
  const body = name === "" ? { token: secret } : { name, password: secret };
  try {
    const reply = await fetch("/api/v1/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (reply.ok) return location.reload();
    byId("problem").textContent = (await reply.json().catch(() => ({}))).error ?? `${reply.status} ${reply.statusText}`;
  } catch {
    byId("problem").textContent = "The server cannot be reached.";
  }
  byId("password").select();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  logIn();
});
