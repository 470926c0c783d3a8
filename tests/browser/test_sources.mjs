// Where pictures and sounds come from beside a camera: the screen, a video file, the cue list's audio; and a screen that
// stays awake.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PATIENCE, colourAt, isNear, launch, openMirror, shownCount, waitForFrames, waitForLink } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

const SCREEN_TITLE = "What the screen shows";
const folder = mkdtempSync(join(tmpdir(), "reverie-sources-"));
let browser, server;

before(async () => {
  const flag = `--auto-select-tab-capture-source-by-title=${SCREEN_TITLE}`;
  // With fakes Chromium captures those instead of screens.
  const fakes = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
  [browser, server] = await Promise.all([launch(undefined, [flag], fakes), Server.start()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

const CAPTURE_ERROR = 24; // Chromium's software capture confuses BT.601 and BT.709 a little

const problemOf = (page) => page.textContent("#problem");

// Waits until the mirror's middle has a colour.
async function middleBecomes(page, wanted, within = 8) {
  const until = Date.now() + PATIENCE;
  for (;;) {
    const shown = await colourAt(page, "picture", 0.5, 0.5);
    if (isNear(shown, wanted, within)) return;
    assert.ok(Date.now() < until, `the middle is ${shown}, not ${wanted}; ${await problemOf(page)}`);
    await page.waitForTimeout(100);
  }
}

async function choose(page, source) {
  await page.click("#tab-input");
  await page.selectOption("#source", source);
}

async function chooseFile(page, file) {
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), choose(page, "file")]);
  await chooser.setFiles(file);
}

test("the screen is a source, is not mirrored, and its end is told", async () => {
  const page = await openMirror(browser, server.url, { query: "transport=ws", numbered: false });
  const scene = await page.context().newPage();
  await scene.setContent(`<title>${SCREEN_TITLE}</title><body style="margin:0;background:rgb(200,60,110)">`);
  await page.bringToFront();
  await choose(page, "screen");
  assert.equal(await page.isChecked("#flip"), false);
  await page.click("#begin");
  await waitForLink(page, { state: "live", transport: "ws" });
  await middleBecomes(page, [55, 195, 145], CAPTURE_ERROR);
  await scene.evaluate(() => (document.body.style.background = "rgb(20,100,220)"));
  await middleBecomes(page, [235, 155, 35], CAPTURE_ERROR);
  await scene.close();
  await page.waitForFunction(() => !document.getElementById("welcome").hidden);
  assert.match(await problemOf(page), /went away/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a refused screen is explained", async () => {
  const page = await openMirror(browser, server.url, {
    query: "transport=ws",
    script: () => (navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"))),
  });
  await choose(page, "screen");
  await page.click("#begin");
  await page.waitForFunction(() => /screen was not shared/.test(document.getElementById("problem").textContent));
  await page.context().close();
});

// Half a second of one colour, as WebM, by Chromium's own recorder.
async function makeFilm(path) {
  const page = await browser.newPage();
  const bytes = await page.evaluate(async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
    const context = canvas.getContext("2d", { alpha: false });
    const draw = () => {
      context.fillStyle = "rgb(20,100,220)";
      context.fillRect(0, 0, 320, 240);
    };
    draw();
    const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: "video/webm;codecs=vp8" });
    const chunks = [];
    recorder.ondataavailable = ({ data }) => chunks.push(data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    const timer = setInterval(draw, 33);
    await new Promise((resolve) => setTimeout(resolve, 500));
    clearInterval(timer);
    recorder.stop();
    await stopped;
    return [...new Uint8Array(await new Blob(chunks).arrayBuffer())];
  });
  await page.close();
  writeFileSync(path, Buffer.from(bytes));
}

test("a video file is a source, again and again", async () => {
  const film = join(folder, "film.webm");
  await makeFilm(film);
  const page = await openMirror(browser, server.url, { query: "transport=ws&debug" });
  await chooseFile(page, film);
  await waitForLink(page, { state: "live", transport: "ws" });
  await middleBecomes(page, [235, 155, 35]);
  const before = await shownCount(page);
  await waitForFrames(page, before + 30); // twice its length
  assert.equal(await page.isChecked("#flip"), false);
  assert.equal(await page.inputValue("#source"), "file");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("what is no video is refused, and another source can be chosen", async () => {
  const page = await openMirror(browser, server.url, { query: "transport=ws" });
  await chooseFile(page, { name: "film.mp4", mimeType: "video/mp4", buffer: Buffer.from("no film") });
  await page.waitForFunction(() => /does not play/.test(document.getElementById("problem").textContent));
  await choose(page, "front");
  await page.click("#begin");
  await waitForFrames(page, 3);
  assert.equal(await problemOf(page), "");
  await page.context().close();
});

test("the screen is kept awake, again after the page was hidden, and may sleep when the mirror stops", async () => {
  const script = () => {
    globalThis.locks = [];
    const request = async (kind) => {
      const lock = { kind, released: false, release: async () => (lock.released = true) };
      globalThis.locks.push(lock);
      return lock;
    };
    Object.defineProperty(navigator, "wakeLock", { value: { request } });
  };
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=ws", script });
  await waitForFrames(page, 3);
  const locks = () => page.evaluate(() => globalThis.locks.map(({ kind, released }) => `${kind} ${released}`));
  const turn = (state) =>
    page.evaluate((now) => {
      for (const lock of now === "hidden" ? globalThis.locks : []) lock.released = true; // as browsers do
      Object.defineProperty(document, "visibilityState", { value: now, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  assert.deepEqual(await locks(), ["screen false"]);
  await turn("hidden");
  assert.deepEqual(await locks(), ["screen true"]);
  await turn("visible");
  assert.deepEqual(await locks(), ["screen true", "screen false"]);
  await page.keyboard.press("c");
  await page.click("#tab-input");
  await page.click("#stop");
  assert.deepEqual(await locks(), ["screen true", "screen true"]);
  await turn("visible");
  assert.equal((await locks()).length, 2, "a stopped mirror must not keep the screen awake");
  await page.click("#begin");
  await page.waitForFunction(() => globalThis.locks.length === 3);
  await page.context().close();
});

// Seconds of silence as WAV: 8 kHz, 8 bits, one channel.
function makeSound(path, seconds) {
  const samples = Math.round(8000 * seconds);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + samples, 4);
  head.write("WAVEfmt ", 8);
  [16, 0x10001, 8000, 8000, 0x80001].forEach((value, i) => head.writeUInt32LE(value, 16 + 4 * i));
  head.write("data", 36);
  head.writeUInt32LE(samples, 40);
  writeFileSync(path, Buffer.concat([head, Buffer.alloc(samples, 128)]));
}

const CUES = { loop: true, cues: [{ at: 0, prompt: "first" }, { at: 1.5, prompt: "second" }] };

test("a cue list follows its audio file, loops with it, and Go moves both", async () => {
  const sound = join(folder, "show.wav");
  makeSound(sound, 3);
  const page = await openMirror(browser, server.url);
  await page.evaluate(() => {
    globalThis.prompts = [];
    const real = globalThis.fetch;
    globalThis.fetch = (url, options) => {
      const sent = options?.method === "POST" && String(url).includes("/api/state") ? JSON.parse(options.body) : {};
      if (sent.prompts) globalThis.prompts.push({ text: sent.prompts[0].text, audio: document.getElementById("audio").currentTime });
      return real(url, options);
    };
  });
  await page.click("#tab-cues");
  await page.click("#cue-edit");
  await page.fill("#cue-json", JSON.stringify(CUES));
  await page.click("#cue-apply");
  await page.setInputFiles("#audio-file", sound);
  assert.equal(await page.textContent("#cue-audio-name"), "show.wav");
  await page.click("#cue-play");
  await page.waitForFunction(() => globalThis.prompts.length >= 4);
  const prompts = await page.evaluate(() => globalThis.prompts.slice(0, 4));
  assert.deepEqual(prompts.map(({ text }) => text), ["first", "second", "first", "second"]);
  assert.ok(prompts[0].audio < 1.5 && prompts[1].audio >= 1.5 && prompts[2].audio < 1.5, JSON.stringify(prompts));
  await page.click("#cue-play");
  assert.equal(await page.evaluate(() => document.getElementById("audio").paused), true, "Pause stops the sound");
  await page.click("#cue-stop");
  await page.click("#cue-go");
  await page.click("#cue-go");
  assert.equal(await page.evaluate(() => document.getElementById("audio").currentTime), 1.5);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("an audio file that does not play is named, and the list plays without it", async () => {
  const page = await openMirror(browser, server.url);
  await page.click("#tab-cues");
  await page.setInputFiles("#audio-file", { name: "noise.mp3", mimeType: "audio/mpeg", buffer: Buffer.from("no sound") });
  await page.waitForFunction(() => /cannot play the audio file/.test(document.getElementById("cue-problem").textContent));
  await page.click("#cue-play");
  await page.waitForFunction(() => document.querySelector("#cue-rows > li.current"));
  await page.context().close();
});
