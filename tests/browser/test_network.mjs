// Another host, whose firewall drops UDP: from the start, in mid-session, and everything for a while.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { colourAt, isNear, launch, linkOf, openMirror, shownCount, shownFrames, waitForFrames, waitForLink } from "./lib/browser.mjs";
import { Network } from "./lib/netns.mjs";
import { Server } from "./lib/server.mjs";

const INVERTED = [55, 195, 145];
const { network, reason } = Network.make();
const skip = reason ?? false;
let browser, server;

before(async () => {
  if (skip) return;
  server = await Server.start({ listen: `${network.host}:0`, options: ["--insecure"] });
  // A page from another host has no camera over plain http, unless its address counts as secure.
  browser = await launch(network.wrapper(process.env.REVERIE_CHROMIUM ?? "/usr/bin/chromium"), [
    `--unsafely-treat-insecure-origin-as-secure=${server.url}`,
  ]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  network?.remove();
});

test("UDP blocked from the start: frames come over WebSocket", { skip }, async () => {
  network.blockAllBut(server.port);
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=auto" });
  await waitForLink(page, { state: "live", transport: "ws" }, 12000);
  assert.ok(network.dropped() > 0, "nothing was blocked");
  assert.match((await linkOf(page)).text, /WebSocket \(WebRTC: not connected 3 s after the answer\)/);
  const before = await shownCount(page);
  await waitForFrames(page, before + 15);
  network.unblock();
  await page.context().close();
});

test("UDP dies in mid-session: WebSocket takes over and the last picture is held", { skip }, async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=auto" });
  await waitForLink(page, { state: "live", transport: "webrtc" }, 12000);
  await waitForFrames(page, 30);
  network.blockAllBut(server.port);
  const began = Date.now();
  await page.waitForTimeout(800);
  const shown = await colourAt(page, "picture", 0.5, 0.5);
  assert.ok(isNear(shown, INVERTED, 12), `the last picture was not held: ${shown}`);
  await waitForLink(page, { state: "live", transport: "ws" }, 8000);
  assert.ok(Date.now() - began < 6000, "falling back took too long");
  assert.match((await linkOf(page)).text, /no new picture for 1.5 s/);
  const before = await shownCount(page);
  await waitForFrames(page, before + 15);
  network.unblock();
  await page.context().close();
});

test("the network is away for 10 s: the picture is held, then goes on by itself, without old frames", { skip }, async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=ws" });
  await waitForFrames(page, 15);
  network.block("meta l4proto { tcp, udp }");
  await page.waitForTimeout(10000);
  assert.ok(isNear(await colourAt(page, "picture", 0.5, 0.5), INVERTED, 4));
  const held = await shownCount(page);
  network.unblock();
  await waitForFrames(page, held + 30, 15000);
  const frames = (await shownFrames(page)).slice(held);
  const ages = frames.slice(-15).map((frame) => frame.age);
  assert.ok(Math.max(...ages) < 1000, `frames are ${Math.max(...ages)} ms old after the return`);
  const numbers = (await shownFrames(page)).map((frame) => frame.number);
  numbers.forEach((n, i) => i && assert.ok(n > numbers[i - 1], `${numbers[i - 1]} before ${n}`));
  await page.context().close();
});
