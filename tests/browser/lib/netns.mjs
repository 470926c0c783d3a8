// Two hosts on one machine: the browser runs in a network namespace of its own, behind a veth pair, or behind a link
// with delay, loss and a rate (tests/tools/network_link.c).
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const LINK = process.env.REVERIE_NETWORK_LINK ?? "build/tests/tools/network-link";
const sh = (...words) => execFileSync(words[0], words.slice(1), { stdio: ["ignore", "pipe", "pipe"] }).toString();

export class Network {
  constructor(number = 0) {
    this.name = `rvb${process.pid}`;
    const third = 16 + (process.pid % 200) + number;
    this.host = `10.213.${third}.1`;
    this.guest = `10.213.${third}.2`;
    const [outside, inside] = [`rvo${process.pid}`, `rvi${process.pid}`];
    sh("ip", "netns", "add", this.name);
    try {
      sh("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", this.name);
      sh("ip", "addr", "add", `${this.host}/24`, "dev", outside);
      sh("ip", "link", "set", outside, "up");
      this.inside("ip", "addr", "add", `${this.guest}/24`, "dev", inside);
      this.inside("ip", "link", "set", inside, "up");
      this.inside("ip", "link", "set", "lo", "up");
      this.inside("nft", "add", "table", "inet", "block");
      this.inside("nft", "add", "chain", "inet", "block", "out", "{ type filter hook output priority 0; }");
    } catch (error) {
      this.remove();
      throw error;
    }
    this.folder = mkdtempSync(join(tmpdir(), "reverie-netns-"));
  }

  // {network, reason}: where namespaces are not allowed or tools are missing, network is null and reason says why.
  static make() {
    try {
      return { network: new Network(), reason: null };
    } catch (error) {
      return { network: null, reason: `no network namespaces here: ${String(error.stderr ?? error.message).trim()}` };
    }
  }

  // Instead of the veth pair: a link that set() changes. Resolves to {network, reason} as make().
  static async makeLink() {
    const { network, reason } = Network.make();
    if (!network) return { network, reason };
    try {
      await network.#startLink();
      return { network, reason: null };
    } catch (error) {
      network.remove();
      return { network: null, reason: `no TUN devices here: ${error.message}` };
    }
  }

  async #startLink() {
    const name = `rvt${process.pid}`;
    this.link = spawn(LINK, [this.name, name], { stdio: ["pipe", "pipe", "pipe"] });
    this.link.log = "";
    this.link.stderr.on("data", (text) => (this.link.log += text));
    await new Promise((resolve, reject) => {
      this.link.stdout.once("data", resolve);
      this.link.once("error", reject);
      this.link.once("exit", () => reject(new Error(this.link.log)));
    });
    const third = Number(this.host.split(".")[2]);
    [this.host, this.guest] = [`10.214.${third}.1`, `10.214.${third}.2`];
    sh("ip", "addr", "add", `${this.host}/24`, "dev", name);
    // Chromium drops its requests when it is told of a change ("network changed"), such as an IPv6 address a second later.
    sh("ip", "link", "set", name, "addrgenmode", "none", "mtu", "1500", "up");
    this.inside("ip", "addr", "add", `${this.guest}/24`, "dev", name);
    this.inside("ip", "link", "set", name, "addrgenmode", "none", "mtu", "1500", "up");
    await new Promise((resolve) => setTimeout(resolve, 1500)); // the kernel tells of the new link a second later
  }

  // Both ways; rate in kb/s, 0 for no limit; queue: what waits longer for the rate is dropped.
  set({ delay = 0, jitter = 0, loss = 0, rate = 0, queue = 300 }) {
    this.link.stdin.write(`${delay} ${jitter} ${loss} ${rate} ${queue}\n`);
  }

  inside(...words) {
    return sh("ip", "netns", "exec", this.name, ...words);
  }

  // From now on the browser's packages of these kinds vanish: "udp", "tcp dport 8000".
  block(rule) {
    this.inside("nft", "add", "rule", "inet", "block", "out", ...rule.split(" "), "counter", "drop");
  }

  // WebRTC over TCP would go round a block of UDP; the page's own port stays open.
  blockAllBut(port) {
    this.block("meta l4proto udp");
    this.block(`tcp dport != ${port}`);
  }

  unblock() {
    this.inside("nft", "flush", "chain", "inet", "block", "out");
  }

  dropped() {
    const counts = [...this.inside("nft", "list", "table", "inet", "block").matchAll(/packets (\d+)/g)];
    return counts.reduce((sum, match) => sum + Number(match[1]), 0);
  }

  // A program that starts `program` inside; Playwright takes no command, only a path.
  wrapper(program) {
    const path = join(this.folder, "inside");
    writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${this.name} ${program} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  remove() {
    this.link?.stdin.end();
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
    try {
      sh("ip", "netns", "del", this.name); // takes the veth pair along
    } catch {
      // it was never made
    }
  }
}
