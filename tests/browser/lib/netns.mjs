// Two hosts on one machine: the browser runs in a network namespace of its own, behind a veth pair.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const sh = (...words) => execFileSync(words[0], words.slice(1), { stdio: ["ignore", "pipe", "pipe"] }).toString();

export class Network {
  constructor() {
    this.name = `rvb${process.pid}`;
    const third = 16 + (process.pid % 200);
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
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
    try {
      sh("ip", "netns", "del", this.name); // takes the veth pair along
    } catch {
      // it was never made
    }
  }
}
