// The mirror over WebRTC, and what it does when WebRTC does not carry.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PATIENCE, colourAt, isNear, launch, linkOf, openMirror, openOverWebrtc, shownCount, shownFrames, waitForFrames, waitForLink } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

let browser, server;
before(async () => ([browser, server] = await Promise.all([launch(), Server.start({ size: "512x512" })])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const INVERTED = [55, 195, 145];
const CODEC_ERROR = 12; // Chrome's own encoder and decoder, beside the server's

test("frames return inverted and in order over WebRTC", async () => {
  const page = await openOverWebrtc(browser, server.url, { query: "autoconnect&debug&transport=auto" });
  await waitForFrames(page, 40);
  await page.waitForFunction(() => /^about p50 [\d.]+ ms, p99 [\d.]+ ms$/.test(document.querySelectorAll("#figures dd")[1]?.textContent));
  assert.match(await page.evaluate(() => document.querySelectorAll("#figures dd")[2].textContent), /wait .* device .* pace /);
  const shown = await colourAt(page, "picture", 0.5, 0.5);
  assert.ok(isNear(shown, INVERTED, CODEC_ERROR), `shown ${shown}, wanted ${INVERTED}`);
  const numbers = (await shownFrames(page)).slice(10).map((frame) => frame.number);
  numbers.forEach((n, i) => i && assert.ok(n >= numbers[i - 1], `${numbers[i - 1]} before ${n}`));
  assert.equal((await linkOf(page)).text, "WebRTC (first choice)");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

// Greys with the edges of the limited range, saturated primaries and their mixtures, skin and the odd.
const PALETTE = [
  [0, 16, 17, 64, 127, 128].map((v) => [v, v, v]),
  [[255, 0, 0], [0, 255, 0], [0, 0, 255], [235, 235, 235], [236, 236, 236], [255, 255, 255]],
  [[0, 255, 255], [255, 0, 255], [255, 255, 0], [200, 60, 110], [224, 172, 105], [16, 128, 235]],
];
const COLOUR_ERROR = 4;

// The largest error over the palette, and where: [error, camera's colour, shown].
async function worstColour(page) {
  let worst = [-1];
  for (const [y, row] of PALETTE.entries())
    for (const [x, colour] of row.entries()) {
      const shown = await colourAt(page, "picture", (x + 0.5) / row.length, 1 / 16 + ((y + 0.5) / PALETTE.length) * (15 / 16));
      const error = Math.max(...shown.map((v, i) => Math.abs(v - (255 - colour[i]))));
      if (error > worst[0]) worst = [error, colour, shown];
    }
  return worst;
}

// What flows: the codec of what the page sends and is sent.
const codecsOf = (page) =>
  page.evaluate(async () => {
    const reports = await globalThis.peers.at(-1).getStats();
    return ["outbound-rtp", "inbound-rtp"].map((type) => {
      const report = [...reports.values()].find((each) => each.type === type);
      return reports.get(report?.codecId)?.mimeType;
    });
  });
const keepPeers = () => {
  globalThis.peers = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...words) {
      super(...words);
      globalThis.peers.push(this);
    }
  };
};

// The page's size matters too: what a stream does not say of its colours is often guessed by its height.
for (const [codec, side] of [["vp8", 512], ["h264", 512], ["h264", 1024]])
  test(`colours come back within ${COLOUR_ERROR} of 255: ${codec}, ${side} pixels`, async (context) => {
    const script = `(${keepPeers})(); localStorage.setItem("reverie.size", "${side}");`;
    const query = `autoconnect&debug&transport=webrtc&codec=${codec}`;
    const page = await openMirror(browser, server.url, { query, script, camera: { palette: PALETTE, side, fps: 10 } });
    await waitForLink(page, { state: "live", transport: "webrtc" });
    await waitForFrames(page, 20);
    const mime = `video/${codec.toUpperCase()}`;
    assert.deepEqual(await codecsOf(page), [mime, mime]);
    let worst;
    const until = Date.now() + PATIENCE; // a stream begins coarse
    do {
      await page.waitForTimeout(250);
      worst = await worstColour(page);
    } while (worst[0] > COLOUR_ERROR && Date.now() < until);
    context.diagnostic(`worst: ${worst[1]} came back inverted as ${worst[2]}`);
    assert.ok(worst[0] <= COLOUR_ERROR, `${worst[1]} came back inverted as ${worst[2]}`);
    await page.waitForFunction((name) => document.getElementById("figures").textContent.includes(name), codec.toUpperCase());
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

test("a picture that the browser does not hold ready yet is not drawn: it would be black", async () => {
  const script = () => {
    const real = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "readyState");
    let asked = 0;
    Object.defineProperty(HTMLMediaElement.prototype, "readyState", {
      get() {
        return this.id === "returned" && ++asked <= 3 ? HTMLMediaElement.HAVE_METADATA : real.get.call(this);
      },
    });
  };
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=webrtc", script });
  await waitForFrames(page, 5);
  const ready = (await shownFrames(page)).map((frame) => frame.ready);
  assert.ok(Math.min(...ready) >= 2, `drawn at ready states ${ready}`);
  await page.context().close();
});

test("both ways are recorded", async () => {
  const folder = mkdtempSync(join(tmpdir(), "reverie-takes-"));
  const recorder = await Server.start({ options: ["--record", folder] });
  try {
    const page = await openMirror(browser, recorder.url, { query: "autoconnect&debug&transport=webrtc" });
    await waitForLink(page, { state: "live", transport: "webrtc" });
    await waitForFrames(page, 30);
    await page.context().close();
  } finally {
    await recorder.stop();
  }
  const files = readdirSync(folder).sort();
  assert.deepEqual(files.map((name) => name.replace(/^[-\d_]+_1_/, "")), ["input.mkv", "output.mkv", "prompts.jsonl"]);
  for (const name of files.slice(0, 2)) {
    const film = readFileSync(join(folder, name)).toString("latin1");
    assert.ok(film.split("\xff\xd8\xff").length > 20, `${name} holds too few pictures`);
  }
  rmSync(folder, { recursive: true });
});

test("a server without WebRTC is used over WebSocket at once, and the page says why", async () => {
  const page = await openMirror(browser, server.url, { query: "transport=auto" });
  await page.route("**/offer", (route) => route.fulfill({ status: 501, body: "{}" }));
  await page.click("#begin");
  await waitForLink(page, { state: "live", transport: "ws" });
  assert.equal((await linkOf(page)).text, "WebSocket (WebRTC: the server offers no WebRTC)");
  await page.context().close();
});

test("an answer that leads nowhere: WebSocket 3 s later", async () => {
  const page = await openMirror(browser, server.url, { query: "transport=auto" });
  await page.route("**/offer", async (route) => {
    const reply = await route.fetch();
    const answer = await reply.json();
    answer.sdp = answer.sdp.replace(/^a=candidate.*\r\n/gm, "").replace(/^(a=ice-pwd:).*$/gm, "$1aaaaaaaaaaaaaaaaaaaaaaaa");
    await route.fulfill({ json: answer });
  });
  await page.click("#begin");
  await waitForLink(page, { state: "live", transport: "ws" });
  assert.match((await linkOf(page)).text, /not connected 3 s after the answer/);
  await page.context().close();
});

test("a connection that stays up without new pictures: WebSocket after 1.5 s, the last picture held", async () => {
  const page = await openOverWebrtc(browser, server.url);
  await page.evaluate(() => {
    const next = HTMLVideoElement.prototype.requestVideoFrameCallback;
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (work) {
      return this.id === "returned" ? 0 : next.call(this, work);
    };
  });
  const began = Date.now();
  await waitForLink(page, { state: "live", transport: "ws" });
  assert.ok(Date.now() - began < 15000);
  assert.match((await linkOf(page)).text, /no new picture for 1.5 s/);
  const before = await shownCount(page);
  await waitForFrames(page, before + 15);
  await page.context().close();
});
