// The studio's page as people use it: drawing, queue, history, image-to-image with a mask, settings from pictures, several people.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

const SHOTS = process.env.REVERIE_SCREENSHOTS; // a folder that receives pictures of the page
const DRAWING = 60000; // ms, on slow machines
let browser, server, data;

before(async () => {
  data = mkdtempSync(join(tmpdir(), "reverie-studio-"));
  [browser, server] = await Promise.all([launch(), Server.start({ data })]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
});

async function openStudio({ url = server.url, context = {} } = {}) {
  const own = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...context });
  const page = await own.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && !/ERR_|status of 404/.test(message.text()) && page.faults.push(message.text()));
  await page.goto(`${url}/studio`);
  await page.waitForSelector("body[data-ready]", { timeout: 20000 });
  return page;
}

const asText = (page) => page.click("#tab-txt2img");

async function set(page, values) {
  for (const [name, value] of Object.entries(values)) {
    const input = page.locator(`#f-${name}`);
    if ((await input.evaluate((e) => e.type)) === "range") {
      const box = page.locator(`#f-${name} + input`);
      await box.fill(String(value));
      await box.press("Tab");
    } else if ((await input.evaluate((e) => e.tagName)) === "SELECT") await input.selectOption(String(value));
    else {
      await input.fill(String(value));
      await input.press("Tab");
    }
  }
}

const small = { width: 64, height: 64, steps: 1, cfg_scale: 1 };

// Draws and waits until the middle shows a finished picture of the job.
async function draw(page) {
  const before_ = await page.getAttribute("#preview", "src");
  await page.click("#generate");
  await page.waitForFunction((old) => {
    const picture = document.getElementById("preview");
    return !picture.hidden && !picture.classList.contains("live") && picture.src.includes("/pictures/") && !picture.src.endsWith(old) && picture.complete;
  }, before_ ?? "nothing", { timeout: DRAWING, polling: 100 });
}

async function shoot(page, name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

test("a picture is drawn, shown with its settings, and kept in the history", async () => {
  const page = await openStudio();
  await asText(page);
  await page.fill("#prompt", "a red apple");
  await set(page, { ...small, seed: 7 });
  await draw(page);
  assert.equal(await page.evaluate(() => document.getElementById("preview").naturalWidth), 64);
  assert.match(await page.textContent("#infotext"), /a red apple[^]*Steps: 1[^]*Seed: 7[^]*Size: 64x64/);
  await page.waitForSelector("#gallery .thumb img", { timeout: 10000 });
  await page.click("#gallery .thumb");
  assert.ok(await page.evaluate(() => document.getElementById("viewer").open));
  assert.match(await page.textContent("#viewer-text"), /a red apple/);
  await page.keyboard.press("Escape");
  await shoot(page, "drawn");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("the form comes back after a reload, and on another device", async () => {
  const page = await openStudio();
  await page.fill("#prompt", "a form to be remembered");
  await set(page, { steps: 3 });
  await page.waitForTimeout(2500);
  const other = await openStudio();
  assert.equal(await other.inputValue("#prompt"), "a form to be remembered");
  assert.equal(await other.inputValue("#f-steps"), "3");
  await page.context().close();
  await other.context().close();
});

test("tokens are counted; keys weigh words and move items", async () => {
  const page = await openStudio();
  await page.fill("#prompt", "a cat, a dog");
  await page.waitForFunction(() => document.getElementById("prompt-tokens").value === "5 / 75", null, { timeout: 8000 });
  await page.evaluate(() => document.getElementById("prompt").setSelectionRange(3, 3));
  await page.focus("#prompt");
  await page.keyboard.press("Control+ArrowUp");
  assert.equal(await page.inputValue("#prompt"), "a (cat:1.1), a dog");
  await page.keyboard.press("Control+ArrowDown");
  assert.equal(await page.inputValue("#prompt"), "a cat, a dog");
  await page.keyboard.press("Alt+ArrowRight");
  assert.equal(await page.inputValue("#prompt"), "a dog, a cat");
  await page.context().close();
});

test("infotext fills the form; a picture's own text does so through PNG info", async () => {
  const page = await openStudio();
  await page.fill("#prompt", "old castle\nNegative prompt: fog\nSteps: 9, Sampler: Euler, CFG scale: 3.5, Seed: 1234, Size: 128x192, Model: mini, Tiling: True, Refiner: other [0123456789], Refiner switch at: 0.6");
  await page.click("#paste");
  assert.equal(await page.inputValue("#prompt"), "old castle");
  assert.equal(await page.inputValue("#negative"), "fog");
  assert.deepEqual(await page.evaluate(() => ["steps", "cfg_scale", "seed", "width", "height"].map((n) => document.getElementById(`f-${n}`).value)),
    ["9", "3.5", "1234", "128", "192"]);
  assert.deepEqual(await page.evaluate(() => [document.getElementById("f-tiling").checked, ...["refiner_checkpoint", "refiner_switch_at"].map((n) =>
    document.getElementById(`f-${n}`).value)]), [true, "other", "0.6"]);
  await page.fill("#prompt", "from a file\nSteps: 1, Sampler: Euler, Seed: 1, Size: 64x64, Tiling: True"); // and what it does not say is not done
  await page.click("#paste");
  assert.equal(await page.inputValue("#f-refiner_checkpoint"), "None");
  await page.fill("#negative", "");
  await set(page, { ...small, seed: 99 });
  await draw(page);
  const src = await page.getAttribute("#preview", "src");
  const bytes = await page.evaluate(async (url) => [...new Uint8Array(await (await fetch(url)).arrayBuffer())], src);
  await page.click("#tab-pnginfo");
  await page.setInputFiles("#page-pnginfo input[type=file]", { name: "x.png", mimeType: "image/png", buffer: Buffer.from(bytes) });
  await page.waitForFunction(() => /from a file[^]*Seed: 99[^]*Tiling: True/.test(document.getElementById("pnginfo-text").textContent), null, { timeout: 8000 });
  await page.context().close();
});

test("a picture goes on to image-to-image, and only what is painted changes", async () => {
  const page = await openStudio();
  await asText(page);
  await page.fill("#prompt", "a blue book");
  await set(page, { ...small, width: 128, height: 128 });
  await draw(page);
  await page.click('#result-tools [data-send="inpaint"]');
  await page.waitForSelector("canvas.mask:visible");
  const box = await page.locator("canvas.mask").boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + box.height * 0.25);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.3, { steps: 4 });
  await page.mouse.up();
  await page.waitForSelector("#f-mask_blur:visible");
  await set(page, { steps: 2, denoising_strength: 1 });
  await shoot(page, "inpaint");
  const source = await page.getAttribute("#preview", "src");
  await draw(page);
  const changed = await page.evaluate(async ([a, b]) => {
    const pixels = async (url) => {
      const bitmap = await createImageBitmap(await (await fetch(url)).blob());
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return { data: context.getImageData(0, 0, bitmap.width, bitmap.height).data, width: bitmap.width };
    };
    const [one, two] = [await pixels(a), await pixels(b)];
    const at = (x, y) => [0, 1, 2].reduce((sum, c) => sum + Math.abs(one.data[4 * (y * one.width + x) + c] - two.data[4 * (y * one.width + x) + c]), 0);
    let far = 0;
    for (let y = 90; y < 128; y++) for (let x = 90; x < 128; x++) far += at(x, y);
    return { size: one.data.length === two.data.length, far };
  }, [source, await page.getAttribute("#preview", "src")]);
  assert.ok(changed.size, "the size stayed");
  assert.equal(changed.far, 0, "what is far from the mask stayed as it was");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("jobs wait in a queue, show their place, and are cancelled", async () => {
  const page = await openStudio();
  await asText(page);
  await page.fill("#prompt", "a long one");
  await set(page, { width: 256, height: 256, steps: 150, cfg_scale: 1 });
  for (let i = 0; i < 3; i++) {
    await page.click("#generate");
    await page.waitForFunction((n) => document.querySelectorAll("#queue .job").length >= n, i + 1, { timeout: 10000 });
  }
  assert.match(await page.textContent("#queue"), /in the queue/);
  await shoot(page, "queue");
  for (let left = 3; left > 0; left--) {
    await page.click("#queue .job:last-child .danger");
    await page.waitForFunction((n) => document.querySelectorAll("#queue .job").length < n, left, { timeout: 20000 });
  }
  await page.context().close();
});

test("a style is kept by the server and added to prompts", async () => {
  const page = await openStudio();
  await page.fill("#prompt", "ink on paper");
  page.once("dialog", (dialog) => dialog.accept("ink"));
  await page.click("#style-save");
  await page.waitForFunction(() => document.getElementById("styles").value === "ink", null, { timeout: 8000 });
  await page.fill("#prompt", "a crane");
  await page.click("#style-apply");
  assert.equal(await page.inputValue("#prompt"), "a crane, ink on paper");
  await page.context().close();
});

test("what the server refuses is said in its words", async () => {
  const page = await openStudio();
  await page.click("#tab-img2img");
  await page.click("#generate");
  assert.match(await page.textContent("#problem"), /Choose a picture/);
  await page.context().close();
});

test("phones: nothing is wider than the screen", async () => {
  const page = await openStudio({ context: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} pixels too wide`);
  await shoot(page, "phone");
  await page.context().close();
});

test("every control has a name", async () => {
  const page = await openStudio();
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input:not([hidden]), select, textarea")].filter((e) =>
      !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim() || e.title)).map((e) => e.outerHTML.slice(0, 120)));
  assert.deepEqual(nameless, []);
  await page.click("#theme");
  await shoot(page, "light");
  await page.context().close();
});
