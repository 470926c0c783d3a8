// Another host, whose firewall drops UDP: from the start, in mid-session, all but one port, and everything for a while.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { becomes, colourAt, isNear, launch, linkOf, openMirror, openOverWebrtc, shownCount, shownFrames, waitForFrames, waitForLink } from "./lib/browser.mjs";
import { Network } from "./lib/netns.mjs";
import { freeUdpPort, Server } from "./lib/server.mjs";

const INVERTED = [55, 195, 145];
const { network, reason } = Network.make();
const skip = reason ?? false;
let browser, server, onePort, udpPort;

before(async () => {
  if (skip) return;
  const listen = `${network.host}:0`;
  udpPort = await freeUdpPort();
  server = await Server.start({ listen, options: ["--insecure"] });
  onePort = await Server.start({ listen, options: ["--insecure", "--udp-port", String(udpPort)] });
  // A page from another host has no camera over plain http, unless its address counts as secure.
  browser = await launch(network.wrapper(process.env.REVERIE_CHROMIUM ?? "/usr/bin/chromium"), [
    `--unsafely-treat-insecure-origin-as-secure=${server.url},${onePort.url}`,
  ]);
});
// What a test leaves behind that fails would make those after it fail too.
afterEach(async () => {
  network?.unblock();
  for (const context of browser?.contexts() ?? []) await context.close();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await onePort?.stop();
  network?.remove();
});

test("UDP blocked from the start: frames come over WebSocket", { skip }, async () => {
  network.blockAllBut(server.port);
  // The first offer to a server on a busy machine may be answered too late, which is another reason.
  let page, text;
  await becomes(async () => {
    await page?.context().close();
    page = await openMirror(browser, server.url, { query: "autoconnect&transport=auto" });
    await waitForLink(page, { state: "live", transport: "ws" });
    ({ text } = await linkOf(page));
    return /WebSocket \(WebRTC: not connected 3 s after the answer\)/.test(text);
  }, () => `the page says why it uses WebSocket: ${text}`);
  assert.ok(network.dropped() > 0, "nothing was blocked");
  const before = await shownCount(page);
  await waitForFrames(page, before + 15);
});

test("UDP dies in mid-session: WebSocket takes over and the last picture is held", { skip }, async () => {
  const page = await openOverWebrtc(browser, server.url);
  await waitForFrames(page, 5);
  network.blockAllBut(server.port);
  await page.waitForTimeout(800);
  const shown = await colourAt(page, "picture", 0.5, 0.5);
  assert.ok(isNear(shown, INVERTED, 12), `the last picture was not held: ${shown}`);
  await waitForLink(page, { state: "live", transport: "ws" });
  assert.match((await linkOf(page)).text, /no new picture for 1.5 s/);
  const before = await shownCount(page);
  await waitForFrames(page, before + 15);
});

// Of the server's UDP sockets, the addresses that can be reached from outside.
function publicSockets(child) {
  const lines = execFileSync("ss", ["-Huanp"]).toString().split("\n").filter((line) => line.includes(`pid=${child.pid},`));
  return lines.map((line) => line.split(/\s+/)[3]).filter((address) => !address.startsWith("127."));
}

const webrtcPage = async (url) => {
  const page = await openMirror(browser, url, { query: "autoconnect&transport=webrtc" });
  await waitForLink(page, { state: "live", transport: "webrtc" });
  await waitForFrames(page, 20);
  return page;
};

test("one UDP port carries all media: two pages, one leaves and comes back", { skip }, async () => {
  network.block(`udp dport != ${udpPort}`);
  network.block(`tcp dport != ${onePort.port}`);
  const [one, two] = await Promise.all([webrtcPage(onePort.url), webrtcPage(onePort.url)]);
  assert.deepEqual(publicSockets(onePort.child).map((address) => address.replace(/^.*:/, "")), [String(udpPort)]);
  await becomes(async () => (await onePort.metric("reverie_udp_peers")) === 2, "two peers"); // a slow page begins again
  assert.ok((await onePort.metric("reverie_udp_paths")) >= 2);
  await one.goto("about:blank");
  await one.context().close();
  const again = await webrtcPage(onePort.url);
  await becomes(async () => (await onePort.metric("reverie_udp_peers")) === 2, "the page that left is forgotten");
  await waitForFrames(two, (await shownCount(two)) + 20);
  for (const page of [again, two]) assert.ok(isNear(await colourAt(page, "picture", 0.5, 0.5), INVERTED, 12));
});

test("garbage at the UDP port: frames go on, and nothing of it is kept", { skip }, async () => {
  const page = await webrtcPage(onePort.url);
  const paths = await onePort.metric("reverie_udp_paths_opened_total");
  const stranger = createSocket("udp4");
  // A binding request for a peer that does not exist, and bytes that mean nothing.
  const request = Buffer.from("000100202112a442" + "00".repeat(12) + "00060004" + "613a6262" + "00080014" + "00".repeat(20), "hex");
  const junk = Buffer.alloc(1200, 0x80);
  const send = () => {
    for (let i = 0; i < 40; i++) stranger.send(i % 2 ? request : junk, udpPort, network.host);
  };
  const flood = setInterval(send, 5);
  try {
    await waitForFrames(page, (await shownCount(page)) + 60);
    assert.equal((await linkOf(page)).transport, "webrtc");
    assert.ok((await onePort.metric('reverie_udp_dropped_total{reason="no-peer"}')) > 1000);
    assert.ok((await onePort.metric('reverie_udp_dropped_total{reason="not-stun"}')) > 1000);
    assert.equal(await onePort.metric("reverie_udp_paths_opened_total"), paths);
  } finally {
    clearInterval(flood);
    stranger.close();
  }
});

// Two mirrors, one that began with each transport; a client on the server's own machine notices nothing.
test("the network is away for 10 s: the picture is held, then goes on by itself, without old frames", { skip }, async (context) => {
  const other = spawn("python3", [fileURLToPath(new URL("../server/bystander.py", import.meta.url)), server.port, network.host]);
  context.after(() => other.kill());
  const pages = [];
  for (const transport of ["ws", "auto"]) pages.push(await openMirror(browser, server.url, { query: `autoconnect&transport=${transport}`, camera: { fps: 10, side: 256 } }));
  for (const page of pages) await waitForFrames(page, 15);
  network.block("meta l4proto { tcp, udp }");
  await pages[0].waitForTimeout(10000);
  const held = [];
  for (const page of pages) {
    assert.ok(isNear(await colourAt(page, "picture", 0.5, 0.5), INVERTED, 12));
    held.push(await shownCount(page));
  }
  network.unblock();
  for (const [i, page] of pages.entries()) {
    await waitForFrames(page, held[i] + 30);
    const frames = (await shownFrames(page)).slice(held[i]);
    const ages = frames.slice(-15).map((frame) => frame.age);
    assert.ok(Math.max(...ages) < 8000, `frames are ${Math.max(...ages)} ms old after the return`);
    const numbers = (await shownFrames(page)).filter((frame) => frame.clear).map((frame) => frame.number);
    numbers.forEach((n, j) => j && assert.ok(n >= numbers[j - 1], `${numbers[j - 1]} before ${n}`));
  }
  other.stdin.end();
  const [code] = await once(other, "exit");
  assert.equal(code, 0, "a client beside them was disturbed");
});
