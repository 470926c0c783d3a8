// A `reverie serve` that draws with a small model, for one test file.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = process.env.REVERIE ?? "build/reverie";
const START_LIMIT = 60000; // ms

/* `users`: lines "name:password"; none: everybody may come in. */
export async function startServer({ users = null } = {}) {
  const data = mkdtempSync(join(tmpdir(), "reverie-clients-"));
  const words = ["serve", "--model", "mini", "--size", "64x64", "--threads", "1", "--listen", "127.0.0.1:0", "--data", data];
  if (users) {
    writeFileSync(join(data, "users"), users);
    words.push("--users", join(data, "users"));
  }
  const child = spawn(PROGRAM, words, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, OMP_WAIT_POLICY: "passive" } });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const url = await new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`no ready line\n${log}`)), START_LIMIT);
    child.stdout.on("data", (text) => {
      const match = /ready on (\S+)/.exec(text);
      if (match) {
        clearTimeout(limit);
        resolve(match[1]);
      }
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}\n${log}`)));
  });
  return {
    url,
    port: Number(new URL(url).port),
    async stop() {
      child.kill("SIGTERM");
      const limit = setTimeout(() => child.kill("SIGKILL"), 20000);
      await gone;
      clearTimeout(limit);
      rmSync(data, { recursive: true, force: true });
    },
  };
}
