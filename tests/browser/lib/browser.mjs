// Chromium with a camera that needs no hardware, and what tests look at on the mirror's page.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-features=WebRtcHideLocalIpsWithMdns", // there is nobody to ask for .local names
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];
const CAMERA = readFileSync(new URL("camera.js", import.meta.url), "utf8");

export const PATIENCE = 90000; // ms, for what a slow and busy machine does in the end, too

// `without`: flags to leave out.
export const launch = (executablePath = process.env.REVERIE_CHROMIUM ?? "/usr/bin/chromium", more = [], without = []) =>
  chromium.launch({ executablePath, headless: true, args: [...FLAGS.filter((flag) => !without.includes(flag)), ...more] });

// A page of the mirror. numbered: with the camera of camera.js; faults: what the page complained of.
// camera: {fps, side, rich, palette} of it.
// script: a function that runs in the page before its own code.
export async function openMirror(browser, url, { query = "", numbered = true, camera = { side: 256 }, context = {}, script = null } = {}) {
  const own = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...context });
  own.setDefaultTimeout(PATIENCE);
  const page = await own.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !/ERR_|WebSocket connection/.test(message.text())) page.faults.push(message.text());
  });
  if (numbered) await page.addInitScript(`globalThis.reverieTest = ${JSON.stringify(camera)};\n${CAMERA}`);
  if (script) await page.addInitScript(script);
  await page.goto(`${url}/mirror?${query}`);
  return page;
}

export const shownCount = (page) => page.evaluate(() => globalThis.reverieTest.shown.length);
export const shownFrames = (page) => page.evaluate(() => globalThis.reverieTest.shown);
export const linkOf = (page) =>
  page.evaluate(() => {
    const line = document.getElementById("link");
    return { state: line.dataset.state, transport: line.dataset.transport, text: line.textContent };
  });

export const waitForFrames = (page, n) =>
  page.waitForFunction((least) => globalThis.reverieTest.shown.length >= least, n, { timeout: PATIENCE, polling: 100 });

// A page that shows frames over WebRTC, its first choice. Where a machine is so busy that it takes longer than the page
// waits for it, another begins.
export async function openOverWebrtc(browser, url, options = {}) {
  for (const until = Date.now() + PATIENCE; ; ) {
    const page = await openMirror(browser, url, { query: "autoconnect&transport=auto", ...options });
    await waitForLink(page, { state: "live" });
    if ((await linkOf(page)).transport === "webrtc") return page;
    if (Date.now() > until) throw new Error(`no WebRTC: ${(await linkOf(page)).text}`);
    await page.context().close();
  }
}

// Until `isSo` holds, which may be asynchronous.
export async function becomes(isSo, what) {
  for (const until = Date.now() + PATIENCE; !(await isSo()); await new Promise((resolve) => setTimeout(resolve, 100)))
    if (Date.now() > until) throw new Error(`this never happened: ${typeof what === "function" ? await what() : what}`);
}

export const waitForLink = (page, wanted) =>
  page.waitForFunction(
    ({ state, transport }) => {
      const { dataset } = document.getElementById("link");
      return dataset.state === state && (!transport || dataset.transport === transport);
    },
    wanted,
    { timeout: PATIENCE, polling: 50 },
  );

// Mean colour of a small square of an element's picture; x and y from 0 to 1.
export const colourAt = (page, id, x, y) =>
  page.evaluate(
    ([name, across, down]) => {
      const element = document.getElementById(name);
      const width = element.videoWidth || element.width;
      const height = element.videoHeight || element.height;
      const canvas = new OffscreenCanvas(8, 8);
      const context = canvas.getContext("2d");
      context.drawImage(element, across * width - 4, down * height - 4, 8, 8, 0, 0, 8, 8);
      const { data } = context.getImageData(0, 0, 8, 8);
      const sum = [0, 0, 0];
      data.forEach((value, i) => i % 4 < 3 && (sum[i % 4] += value / 64));
      return sum.map(Math.round);
    },
    [id, x, y],
  );

export const isNear = (a, b, most) => a.every((value, i) => Math.abs(value - b[i]) <= most);
