// Cues, MIDI, flags, keys, other sources, phones, and what people need who do not see or point.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PATIENCE, becomes, launch, linkOf, openMirror, waitForFrames } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

let browser, server;
before(async () => ([browser, server] = await Promise.all([launch(), Server.start()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const CUES = { loop: false, cues: [{ at: 0, fade: 0, prompt: "first", strength: 0.4 }, { at: 0.6, fade: 0, prompt: "second" }, { at: 60, prompt: "third" }] };

async function promptBecomes(text) {
  let state;
  await becomes(async () => {
    state = await server.state();
    return state.prompts.length === 1 && state.prompts[0].text === text;
  }, () => `the prompt ${text}: it stayed ${JSON.stringify(state.prompts)}`);
  return state;
}

async function openCues() {
  const page = await openMirror(browser, server.url);
  await page.click("#tab-cues");
  await page.click("#cue-edit");
  await page.fill("#cue-json", JSON.stringify(CUES));
  await page.click("#cue-apply");
  return page;
}

test("a cue list plays by its times, and keys step through it", async () => {
  const page = await openCues();
  await page.click("#cue-play");
  assert.equal((await promptBecomes("first")).strength, 0.4);
  await promptBecomes("second");
  await page.click("#cue-stop");
  await page.click("#picture", { position: { x: 5, y: 300 }, force: true });
  await page.keyboard.press("Space");
  await promptBecomes("first");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await promptBecomes("third");
  await page.keyboard.press("ArrowLeft");
  await promptBecomes("second");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a damaged cue list is refused with its fault, and a list survives a reload", async () => {
  const page = await openCues();
  await page.fill("#cue-json", '{"cues":[{"prompt":"a","at":-3}]}');
  await page.click("#cue-apply");
  assert.match(await page.textContent("#cue-problem"), /cue 1: "at" must be/);
  assert.equal(await page.locator("#cue-rows > li").count(), 3);
  await page.reload();
  assert.equal(await page.locator("#cue-rows > li").count(), 3);
  await page.context().close();
});

test("MIDI learn binds a controller to a slider and a note to a button", async () => {
  const page = await openMirror(browser, server.url);
  await page.evaluate(() => {
    globalThis.input = {};
    navigator.requestMIDIAccess = async () => ({ inputs: new Map([["one", globalThis.input]]) });
  });
  await page.click("#tab-cues");
  await page.click("#midi-learn");
  const send = (...bytes) => page.evaluate((data) => globalThis.input.onmidimessage({ data }), bytes);
  const before = await page.getAttribute("#passthrough", "aria-pressed");
  await page.click("#tab-look");
  await page.locator("#strength").click();
  await send(0xb0, 7, 10);
  await page.click("#passthrough");
  await send(0x90, 60, 127);
  assert.equal(await page.getAttribute("#passthrough", "aria-pressed"), before, "learning must not work the control");
  await page.click("#tab-cues");
  await page.click("#midi-learn");
  await send(0xb0, 7, 127);
  await send(0x90, 60, 127);
  assert.equal(await page.inputValue("#strength"), "1");
  assert.notEqual(await page.getAttribute("#passthrough", "aria-pressed"), before);
  await becomes(async () => {
    const { strength, passthrough } = await server.state();
    return strength === 1 && passthrough === (before !== "true");
  }, "the server has what the controller set");
  await page.context().close();
});

test("URL flags: a kiosk starts by itself and hides what is not asked for", async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect=true&prompt=false&debug=false&camera=true&transport=ws" });
  await waitForFrames(page, 5);
  const shown = (id) => page.locator(`#${id}`).isVisible();
  assert.deepEqual([await shown("panel"), await shown("hud"), await shown("welcome"), await shown("link")], [false, false, false, false]);
  assert.equal(await page.locator("#camera.shown").count(), 1);
  await page.keyboard.press("c");
  await page.keyboard.press("h");
  assert.deepEqual([await shown("panel"), await shown("hud"), await shown("prompt-section")], [true, true, false]);
  await page.context().close();
});

test("a refused camera is explained; a camera that comes later starts the kiosk by itself", async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=ws", numbered: false });
  await page.context().close();
  const context = await browser.newContext();
  context.setDefaultTimeout(PATIENCE);
  const refused = await context.newPage();
  await refused.addInitScript(() => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    let calls = 0;
    navigator.mediaDevices.getUserMedia = (wanted) =>
      ++calls < 3 ? Promise.reject(new DOMException("no", "NotAllowedError")) : real(wanted);
  });
  await refused.goto(`${server.url}/mirror?autoconnect&transport=ws`);
  await refused.waitForFunction(() => /was refused/.test(document.getElementById("problem").textContent));
  await refused.waitForFunction(() => document.getElementById("link").dataset.state === "live");
  await context.close();
});

test("on a phone everything fits, and controls are large enough to touch", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const page = await openMirror(browser, server.url, { query: "autoconnect&prompt&transport=ws", context: phone });
  await waitForFrames(page, 3);
  const [picture, stage] = [await page.locator("#picture").boundingBox(), await page.locator("#stage").boundingBox()];
  assert.deepEqual(picture, stage, "the picture is cut off");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} px wide`);
  for (const id of ["fullscreen", "toggle", "passthrough", "tab-cues"]) {
    const box = await page.locator(`#${id}`).boundingBox();
    assert.ok(box.height >= 43 && box.x >= 0 && box.x + box.width <= 390, `${id}: ${JSON.stringify(box)}`);
  }
  await page.tap("#tab-cues");
  assert.ok(await page.locator("#cue-go").isVisible());
  await page.context().close();
});

test("every control has a name and can be reached by keyboard; there is no inline code or style", async () => {
  const page = await openMirror(browser, server.url);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input:not([type=file]), select, textarea")]
      .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim()))
      .map((e) => e.outerHTML),
  );
  assert.deepEqual(nameless, []);
  await page.focus("#tab-look");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tab-cues");
  assert.ok(await page.locator("#page-cues").isVisible());
  const reply = await fetch(`${server.url}/mirror`);
  const policy = reply.headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe-eval|script-src[^;]*unsafe/);
  assert.doesNotMatch(await reply.text(), /<style|<script(?![^>]*src=)| style=| on\w+=/);
  assert.equal((await linkOf(page)).text, "");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
