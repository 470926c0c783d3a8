// Starts and stops `reverie serve`.
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = process.env.REVERIE ?? "build/reverie";
const START_LIMIT = 90000; // ms

// A UDP port that nobody uses now.
export const freeUdpPort = () =>
  new Promise((resolve, reject) => {
    const probe = createSocket("udp6");
    probe.once("error", reject);
    probe.bind(0, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

export class Server {
  // Resolves when the ready line came. `inside`: a command to start it through, such as ["ip", "netns", "exec", NAME].
  static async start({ listen = "127.0.0.1:0", size = "256x256", options = [], inside = [], data = null } = {}) {
    const server = new Server();
    server.ownsData = data === null;
    server.data = data ?? mkdtempSync(join(tmpdir(), "reverie-browser-"));
    const words = [...inside, PROGRAM, "serve", "--effect", "invert", "--size", size, "--listen", listen];
    // One thread: the browser beside it needs the machine too.
    const [command, ...rest] = [...words, "--data", server.data, "--threads", "1", ...options];
    server.child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
    server.gone = new Promise((resolve) => server.child.once("exit", resolve));
    server.log = "";
    server.child.stderr.on("data", (text) => (server.log += text));
    server.url = await server.#readyLine();
    return server;
  }

  #readyLine() {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`no ready line\n${this.log}`)), START_LIMIT);
      let text = "";
      this.child.stdout.on("data", (data) => {
        text += data;
        const match = /ready on (\S+)/.exec(text);
        if (match) {
          clearTimeout(limit);
          resolve(match[1]);
        }
      });
      this.child.once("exit", (code) => reject(new Error(`the server ended with ${code}\n${this.log}`)));
    });
  }

  get port() {
    return new URL(this.url).port;
  }

  // The value of a metric by its name with labels; NaN if it is not there.
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${name} `));
    return line ? Number(line.slice(name.length + 1)) : NaN;
  }

  async state() {
    return (await fetch(`${this.url}/api/state`)).json();
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.gone;
  }

  async stop() {
    this.child.kill("SIGTERM");
    const limit = setTimeout(() => this.child.kill("SIGKILL"), 60000);
    await this.gone;
    clearTimeout(limit);
    if (this.ownsData) rmSync(this.data, { recursive: true, force: true });
  }
}
