// The studio's page as people use it, panel by panel.
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";
import { asText, bytesOf, draw, DRAWING, long, naturalSize, openStudio, queueIds, ready, set, shoot, small, SOON, stopAll, until, waitForQueue } from "./lib/studio.mjs";

let browser, server, data, page;

before(async () => {
  data = mkdtempSync(join(tmpdir(), "reverie-studio-"));
  const lora = join(data, "models", "Lora");
  mkdirSync(lora, { recursive: true });
  for (const name of ["ink.safetensors", "chalk.safetensors"]) writeFileSync(join(lora, name), "for browsing only");
  copyFileSync(new URL("../data/media/rgba.png", import.meta.url), join(lora, "ink.preview.png"));
  [browser, server] = await Promise.all([launch(), Server.start({ data, options: ["--models", join(data, "models")] })]);
  page = await openStudio(browser, server.url);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
});
beforeEach(async () => {
  await asText(page);
  await page.evaluate(() => {
    const script = document.getElementById("script-name");
    script.value = "";
    script.dispatchEvent(new Event("change"));
    document.querySelector("dialog[open]")?.close();
  });
  await set(page, small);
  if ((await queueIds(page)).length > 0) await stopAll(page);
});

test("a picture is drawn, shown with its settings, and kept in the history", async () => {
  await page.fill("#prompt", "a red apple");
  await set(page, { seed: 7 });
  await draw(page);
  assert.deepEqual(await naturalSize(page, "preview"), [64, 64]);
  assert.match(await page.textContent("#infotext"), /a red apple[^]*Steps: 1[^]*Seed: 7[^]*Size: 64x64/);
  await page.waitForSelector("#gallery .thumb img", { timeout: SOON });
  await shoot(page, "drawn");
});

test("the form, the picture to start from and its mask come back on another device", async () => {
  await page.fill("#prompt", "a form to be remembered");
  await set(page, { steps: 3 });
  await page.click('#result-tools [data-send="inpaint"]');
  await page.waitForSelector("canvas.mask", { timeout: SOON });
  const kept = page.waitForResponse((reply) => /documents\/source/.test(reply.url()) && reply.request().postData()?.includes('"mask":"data:') && reply.ok());
  await page.click("canvas.mask");
  await kept;
  const other = await openStudio(browser, server.url);
  assert.equal(await other.inputValue("#prompt"), "a form to be remembered");
  assert.equal(await other.inputValue("#f-steps"), "3");
  assert.equal(await other.getAttribute("#tab-img2img", "aria-selected"), "true");
  assert.ok(await other.isVisible("canvas.mask"));
  assert.ok(await other.isVisible("#f-mask_blur"), "the mask came along");
  assert.deepEqual(await naturalSize(other, "preview"), [64, 64], "the last picture is shown");
  await other.context().close();
});

test("tokens are counted; keys weigh words and move items", async () => {
  await page.fill("#prompt", "a cat, a dog");
  await until(page, () => document.getElementById("prompt-tokens").value === "5 / 75");
  await page.evaluate(() => document.getElementById("prompt").setSelectionRange(3, 3));
  await page.focus("#prompt");
  await page.keyboard.press("Control+ArrowUp");
  assert.equal(await page.inputValue("#prompt"), "a (cat:1.1), a dog");
  await page.keyboard.press("Control+ArrowDown");
  assert.equal(await page.inputValue("#prompt"), "a cat, a dog");
  await page.keyboard.press("Alt+ArrowRight");
  assert.equal(await page.inputValue("#prompt"), "a dog, a cat");
});

test("infotext that is pasted, and a picture that is dropped, fill the form", async () => {
  const paste = (text) => page.evaluate((words) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", words);
    document.getElementById("prompt").dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, text);
  await paste("old castle\nNegative prompt: fog\nSteps: 9, Sampler: Euler, CFG scale: 3.5, Seed: 1234, Size: 128x192, Model: mini, Tiling: True, Refiner: other [0123456789], Refiner switch at: 0.6");
  assert.equal(await page.inputValue("#prompt"), "old castle");
  assert.equal(await page.inputValue("#negative"), "fog");
  const shown = () => page.evaluate(() => ["steps", "cfg_scale", "seed", "width", "height"].map((n) => document.getElementById(`f-${n}`).value));
  assert.deepEqual(await shown(), ["9", "3.5", "1234", "128", "192"]);
  assert.deepEqual(await page.evaluate(() => [document.getElementById("f-tiling").checked, ...["refiner_checkpoint", "refiner_switch_at"].map((n) =>
    document.getElementById(`f-${n}`).value)]), [true, "other", "0.6"]);
  await paste("from a file\nSteps: 1, Sampler: Euler, Seed: 1, Size: 64x64, Tiling: True"); // and what it does not say is not done
  assert.equal(await page.inputValue("#f-refiner_checkpoint"), "None");
  await page.fill("#prompt", "from a file");
  await page.fill("#negative", "");
  await set(page, { ...small, seed: 99 });
  await draw(page);
  await page.fill("#prompt", "something else");
  await set(page, { seed: 1 });
  await page.evaluate(async (url) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([await (await fetch(url)).blob()], "x.png", { type: "image/png" }));
    document.getElementById("side").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  }, await page.getAttribute("#preview", "src"));
  await until(page, () => document.getElementById("prompt").value === "from a file");
  assert.equal(await page.inputValue("#f-seed"), "99");
});

test("PNG info reads a file and uses its settings", async () => {
  const bytes = await bytesOf(page, await page.getAttribute("#preview", "src"));
  await page.fill("#prompt", "another");
  await page.click("#tab-pnginfo");
  await page.setInputFiles("#page-pnginfo input[type=file]", { name: "x.png", mimeType: "image/png", buffer: bytes });
  await until(page, () => /from a file[^]*Seed: 99/.test(document.getElementById("pnginfo-text").textContent));
  await shoot(page, "pnginfo");
  await page.click("#page-pnginfo >> text=Use these settings");
  assert.ok(await page.isVisible("#prompt"));
  assert.equal(await page.inputValue("#prompt"), "from a file");
});

test("sizes are swapped and shaped; seeds are random, taken again and varied", async () => {
  await set(page, { width: 128, height: 64 });
  await page.click("#swap");
  assert.deepEqual([await page.inputValue("#f-width"), await page.inputValue("#f-height")], ["64", "128"]);
  await set(page, { width: 512, height: 512 });
  await page.selectOption("#f-aspect", "16:9");
  assert.deepEqual([await page.inputValue("#f-width"), await page.inputValue("#f-height")], ["680", "384"]);
  await set(page, small);
  await draw(page);
  const seed = /Seed: (\d+)/.exec(await page.textContent("#infotext"))[1];
  await page.click("#f-seed ~ button >> text=Last");
  assert.equal(await page.inputValue("#f-seed"), seed);
  await page.click("#f-seed ~ button >> text=Random");
  assert.equal(await page.inputValue("#f-seed"), "-1");
  await page.click('#result-tools [data-send="vary"]');
  assert.equal(await page.inputValue("#f-seed"), seed);
  await draw(page);
  assert.match(await page.textContent("#infotext"), new RegExp(`Seed: ${seed},[^]*Variation seed strength: 0.15`));
  await set(page, { subseed_strength: 0 });
});

test("hires fix draws larger", async () => {
  await set(page, { enable_hr: true, hr_scale: 2, hr_second_pass_steps: 1, hr_sampler_name: "DDIM", hr_prompt: "a pear, by itself" });
  await draw(page);
  assert.match(await page.textContent("#infotext"), /Hires sampler: DDIM[^]*Hires prompt: "a pear, by itself"|Hires prompt: "a pear, by itself"[^]*Hires sampler: DDIM/);
  assert.deepEqual(await naturalSize(page, "preview"), [128, 128]);
  await shoot(page, "hires");
  await set(page, { hr_prompt: "", hr_sampler_name: "Use same sampler", enable_hr: false });
});

// Mean difference of two pictures in a square.
const difference = (urls, [x, y, side]) => page.evaluate(async ([[a, b], left, top, size]) => {
  const pixels = async (url) => {
    const bitmap = await createImageBitmap(await (await fetch(url)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(left, top, size, size).data;
  };
  const [one, two] = [await pixels(a), await pixels(b)];
  return one.reduce((sum, value, i) => sum + Math.abs(value - two[i]), 0) / one.length;
}, [urls, x, y, side]);

test("inpainting: only what is painted changes; eraser, undo, redo, zoom, outpainting", async () => {
  await page.fill("#prompt", "a blue book");
  await set(page, { width: 128, height: 128 });
  const original = await draw(page);
  await page.click('#result-tools [data-send="inpaint"]');
  const canvas = page.locator("canvas.mask");
  await until(page, () => document.activeElement.matches("canvas.mask")); // the page has scrolled to where it stays
  await canvas.scrollIntoViewIfNeeded();
  const stroke = async (x, y) => {
    const box = await canvas.boundingBox();
    await page.mouse.move(box.x + box.width * x, box.y + box.height * y);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * (x + 0.05), box.y + box.height * (y + 0.05), { steps: 4 });
    await page.mouse.up();
  };
  const isMasked = () => page.isVisible("#f-mask_blur");
  assert.equal(await isMasked(), false);
  await stroke(0.25, 0.25);
  assert.equal(await isMasked(), true);
  await page.keyboard.press("Control+z");
  assert.equal(await isMasked(), false, "undone");
  await page.keyboard.press("Control+Shift+Z");
  assert.equal(await isMasked(), true, "done again");
  await page.keyboard.press("e");
  await page.keyboard.press("]");
  await stroke(0.25, 0.25);
  assert.equal(await isMasked(), false, "erased");
  await page.keyboard.press("e");
  await page.keyboard.press("c");
  await page.fill('.mask-tools input[type="color"]', "#00ff00");
  await stroke(0.5, 0.5);
  assert.equal(await isMasked(), false, "colours are no mask");
  const greenest = () => page.evaluate(() => {
    const canvas = document.querySelector("canvas.mask");
    const [r, g, b] = canvas.getContext("2d").getImageData(canvas.width * 0.5, canvas.height * 0.5, 1, 1).data;
    return g - Math.max(r, b);
  });
  assert.ok((await greenest()) > 200);
  const sent = page.waitForRequest((request) => /img2img/.test(request.url()));
  await draw(page);
  const flat = await page.evaluate(async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.drawImage(image, -image.width / 2, -image.height / 2);
    return [...context.getImageData(0, 0, 1, 1).data];
  }, JSON.parse((await sent).postData()).init_images[0]);
  assert.deepEqual(flat, [0, 255, 0, 255], "the colours are part of the picture that is sent");
  await page.focus("canvas.mask");
  await page.keyboard.press("Control+z");
  assert.ok((await greenest()) < 100, "undone");
  await page.keyboard.press("c");
  await page.setInputFiles('input[aria-label^="Mask, white"]', { name: "mask.png", mimeType: "image/png", buffer: await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(16, 16), context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, 8, 16);
    return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
  }).then((bytes) => Buffer.from(bytes)) });
  await until(page, () => document.getElementById("f-mask_blur").checkVisibility());
  await page.focus("canvas.mask");
  await page.keyboard.press("Control+z");
  assert.equal(await isMasked(), false, "a mask from a file is undone, too");
  await page.keyboard.press("+");
  await page.keyboard.press("0");
  await stroke(0.25, 0.25);
  await set(page, { steps: 2, denoising_strength: 1 });
  await shoot(page, "inpaint");
  const changed = await draw(page);
  assert.deepEqual(await naturalSize(page, "preview"), [128, 128]);
  assert.equal(await difference([original, changed], [90, 90, 38]), 0, "what is far from the mask stayed as it was");
  assert.ok(await difference([original, changed], [28, 28, 16]) > 1, "what is painted changed");
  await set(page, { soft_inpainting: true, soft_schedule_bias: 2, inpaint_full_res: false });
  await draw(page);
  assert.match(await page.textContent("#infotext"), /Soft inpainting enabled: True, Soft inpainting schedule bias: 2, Soft inpainting preservation strength: 0.5/);
  await set(page, { soft_inpainting: false });
  assert.equal(await page.isVisible("#f-soft_schedule_bias"), false);
  await page.click('#result-tools [data-send="prompt"]');
  assert.equal(await page.inputValue("#f-soft_schedule_bias"), "2", "its settings fill the form");
  await set(page, { soft_inpainting: false, inpaint_full_res: true });
  await page.click("#source-panel summary");
  await page.fill("#outpaint-pixels", "64");
  await page.click('[aria-label="Add room: right"]');
  await until(page, () => document.getElementById("f-width").value === "192");
  assert.equal(await page.inputValue("#f-height"), "128");
  assert.equal(await isMasked(), true, "the room is painted");
  await page.click("text=Paint large…");
  assert.ok((await canvas.boundingBox()).width > 800);
  await page.click("dialog.large-mask >> text=Done");
  await page.click("#source-panel >> text=Remove");
});

test("ControlNet: a picture's outlines are previewed, poses are drawn, opened from keypoints and used", async () => {
  await page.click("#controlnet-panel > summary");
  const unit = page.locator("#controlnet-units fieldset").first();
  await unit.locator("input[type=file]").setInputFiles({ name: "x.png", mimeType: "image/png", buffer: await bytesOf(page, await page.getAttribute("#preview", "src")) });
  await page.selectOption("#cn0-module", "canny");
  await unit.locator("text=Preview").click();
  await unit.locator("img.map").waitFor({ timeout: SOON });
  const outlines = await unit.locator(".drop img").getAttribute("src");
  await unit.locator("text=Draw a pose…").click();
  const pose = page.locator("canvas.pose");
  const before_ = await pose.evaluate((canvas) => canvas.toDataURL());
  await pose.waitFor();
  const box = await pose.boundingBox();
  await page.mouse.move(box.x + (box.width * 256) / 512, box.y + (box.height * 150) / 512);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 3 });
  await page.mouse.up();
  assert.notEqual(await pose.evaluate((canvas) => canvas.toDataURL()), before_, "the neck moved");
  const points = Array.from({ length: 18 }, (_, i) => [100 + 10 * i, 200 + 5 * i, 1]).flat();
  await page.setInputFiles('input[aria-label="Keypoints as JSON"]', { name: "pose.json", mimeType: "application/json",
    buffer: Buffer.from(JSON.stringify({ people: [{ pose_keypoints_2d: points }], canvas_width: 512, canvas_height: 512 })) });
  await until(page, () => document.querySelector("canvas.pose").getContext("2d").getImageData(110, 205, 1, 1).data.some((v, i) => i < 3 && v > 100));
  await shoot(page, "pose");
  await page.click("text=Use this pose");
  assert.notEqual(await unit.locator(".drop img").getAttribute("src"), outlines);
  assert.equal(await page.inputValue("#cn0-module"), "none");
  await set(page, { height: 128 });
  await unit.locator("text=Draw a pose…").click();
  assert.deepEqual(await pose.evaluate((canvas) => [canvas.width, canvas.height, [...canvas.getContext("2d").getImageData(110, 410, 1, 1).data].some((v, i) => i < 3 && v > 100)]),
    [512, 1024, true], "the map has the picture's ratio, the pose is as it was left");
  await page.locator("canvas.pose").focus();
  await page.keyboard.press("Tab");
  await page.click("text=Hide the point");
  assert.match(await page.textContent(".pose-dialog [role=status]"), /nose \(hidden\)/);
  await page.click(".pose-dialog >> text=Cancel");
  assert.equal((await page.textContent("#controlnet-state")).trim(), "1 in use");
  await shoot(page, "controlnet");
  await page.fill("#prompt", "steered");
  await page.click("#generate"); // there is no model to steer with: the server says so
  await page.waitForSelector("#problem:visible", { timeout: SOON });
  assert.match(await page.textContent("#problem"), /ControlNet/i);
  await unit.locator("text=Remove").click();
  assert.equal((await page.textContent("#controlnet-state")).trim(), "");
  await page.click("#controlnet-panel > summary");
});

test("networks are cards: pictures, search, kinds; a click writes the tag, another takes it out", async () => {
  await page.click("#networks-panel > summary");
  const cards = page.locator("#networks .card");
  const names = async () => (await cards.locator("strong").allTextContents()).sort();
  assert.deepEqual(await names(), ["chalk", "ink", "mini"]);
  await until(page, () => [...document.querySelectorAll("#networks .card img")].some((image) => image.src.includes("/networks/lora/ink") && image.naturalWidth > 0));
  await page.fill('#networks input[type="search"]', "ch");
  assert.deepEqual(await names(), ["chalk"]);
  await page.fill("#prompt", "a hill");
  await page.fill("#lora-weight", "0.8");
  await cards.first().click();
  assert.equal(await page.inputValue("#prompt"), "a hill, <lora:chalk:0.8>");
  assert.equal(await cards.first().getAttribute("aria-pressed"), "true");
  await cards.first().click();
  assert.equal(await page.inputValue("#prompt"), "a hill");
  await page.fill('#networks input[type="search"]', "");
  await page.click("#networks >> text=Checkpoints");
  assert.deepEqual(await names(), ["mini"]);
  await page.click('[aria-label="Picture for mini"]');
  await until(page, () => document.querySelector("#networks .card img")?.src.includes("/gallery/"));
  await page.click("#networks >> text=All");
  await shoot(page, "networks");
  await page.click('[aria-label="About chalk"]');
  await page.fill("#network-weight", "0.6");
  await page.fill("#network-words", "on a board");
  await page.keyboard.press("Escape");
  await page.fill("#prompt", "");
  await page.focus("#prompt");
  await page.keyboard.type("a hill, <lora:ch");
  assert.deepEqual(await page.locator("#prompt-completion li").allTextContents(), ["chalk"]);
  await page.keyboard.press("Tab");
  assert.equal(await page.inputValue("#prompt"), "a hill, <lora:chalk:0.6> on a board");
  assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
  await page.keyboard.type(", <");
  await page.keyboard.press("Escape"); // closes the list and nothing else
  assert.equal(await page.isVisible("#prompt-completion"), false);
  await page.click("#networks .card >> text=chalk");
  assert.equal(await page.inputValue("#prompt"), "a hill, <");
  const late = join(data, "models", "Lora", "late.safetensors");
  const isShown = (is) => until(page, (wanted) => [...document.querySelectorAll("#networks .card strong")].some(({ textContent }) => textContent === "late") === wanted, is);
  writeFileSync(late, "put there while the page is open");
  await isShown(true);
  rmSync(late);
  await isShown(false);
  await page.click("#networks-panel > summary");
});

test("a grid is drawn by the X/Y/Z plot", async () => {
  await page.fill("#prompt", "a leaf");
  await page.click("#script-panel > summary");
  await page.selectOption("#script-name", "x/y/z plot");
  assert.equal(await page.isVisible("#script-4 + button"), false);
  await page.selectOption("#script-3", { label: "VAE" });
  await page.click("#script-4 + button");
  assert.equal(await page.inputValue("#script-4"), "Automatic, None");
  await page.click("#tab-img2img");
  assert.equal(await page.inputValue("#script-4"), "Automatic, None", "text and image share what was written");
  await page.selectOption("#script-name", "sd upscale");
  assert.equal(await page.locator("#script-2").evaluate((menu) => menu.tagName), "SELECT");
  await asText(page);
  await page.selectOption("#script-name", "x/y/z plot");
  await page.selectOption("#script-3", { label: "Nothing" });
  await page.fill("#script-4", "");
  await page.fill("#script-1", "1, 2, 3");
  await shoot(page, "grid-form");
  await page.click("#generate");
  await until(page, () => document.getElementById("preview").naturalWidth >= 3 * 64, null, DRAWING);
  assert.equal(await page.locator("#strip li").count(), 4, "the grid and its three pictures");
  await shoot(page, "grid");
  await page.selectOption("#script-name", "");
  await page.click("#script-panel > summary");
});

test("a picture is made larger", async () => {
  await draw(page);
  await page.click('#result-tools [data-send="extras"]');
  await page.waitForSelector("#extras-form .drop img");
  await page.fill("#x-scale", "2");
  await shoot(page, "upscale");
  await draw(page, () => page.click("#extras-form [type=submit]"));
  assert.deepEqual(await naturalSize(page, "preview"), [128, 128]);
});

test("several pictures are enlarged, a job each", async () => {
  const buffer = await bytesOf(page, await page.getAttribute("#preview", "src"));
  await page.click("#tab-extras");
  const count = Number(await page.textContent("#gallery-count"));
  page.once("dialog", (dialog) => dialog.accept());
  await page.setInputFiles('input[aria-label="Many pictures to enlarge"]', ["a", "b"].map((name) => ({ name: `${name}.png`, mimeType: "image/png", buffer })));
  await until(page, (wanted) => Number(document.getElementById("gallery-count").textContent) === wanted, count + 2, DRAWING);
});

test("a job for which the server cannot be reached is sent once it can, and only once", async () => {
  await page.fill("#prompt", "sent late");
  const count = Number(await page.textContent("#gallery-count"));
  let answers = 0;
  await page.route("**/sdapi/v1/txt2img*", async (route) => {
    if (answers++ === 0) await route.fetch(); // it comes through, its answer does not
    await route.abort();
  });
  await page.click("#generate");
  await until(page, (wanted) => Number(document.getElementById("gallery-count").textContent) === wanted, count + 1, DRAWING);
  await until(page, () => document.getElementById("problem").hidden);
  assert.equal(answers, 1, "found in the server's list");
  await page.unroute("**/sdapi/v1/txt2img*");
  await page.context().setOffline(true);
  await page.waitForSelector("#offline:visible", { timeout: SOON });
  await page.fill("#prompt", "never sent");
  await page.click("#generate");
  await until(page, () => /Stop takes it back/.test(document.getElementById("problem").textContent));
  await page.click("#interrupt");
  assert.equal(await page.isVisible("#problem"), false);
  await page.fill("#prompt", "sent when it is back");
  await page.click("#generate");
  await page.context().setOffline(false);
  await page.waitForSelector("#offline", { state: "hidden", timeout: SOON });
  await until(page, (wanted) => Number(document.getElementById("gallery-count").textContent) === wanted, count + 2, DRAWING);
  await until(page, () => /there again/.test(document.getElementById("toast").textContent));
});

test("jobs wait in a queue with place and time left, change places, show previews, and are stopped", async () => {
  await page.fill("#prompt", "a long one");
  await set(page, long);
  for (let i = 0; i < 4; i++) {
    await page.click("#generate");
    await waitForQueue(page, i + 1);
  }
  assert.match(await page.textContent("#queue"), /2 in the queue, done in .*3 in the queue/);
  await page.waitForSelector("#preview.live", { timeout: DRAWING });
  await until(page, () => /step \d+ of \d+, .* left/.test(document.getElementById("progress-text").textContent), null, DRAWING);
  await shoot(page, "queue");
  const [running, first, second, third] = await queueIds(page);
  const order = (...ids) => until(page, (wanted) => [...document.querySelectorAll("#queue .job")].map((row) => Number(row.dataset.job)).join() === wanted, ids.join());
  await page.click(`[data-job="${second}"] .up`);
  await order(running, second, first, third);
  await page.click(`[data-job="${second}"] .down`);
  await order(running, first, second, third);
  await page.click(`[data-job="${first}"] .danger`);
  await order(running, second, third);
  // Another page of the same person finds all this as it is.
  const other = await openStudio(browser, server.url);
  assert.deepEqual(await queueIds(other), [running, second, third]);
  await other.context().close();
  await draw(page, () => page.keyboard.press("Escape")); // what is drawn so far is kept
  assert.match(page.url(), /studio$/);
  page.once("dialog", (dialog) => dialog.accept());
  await page.click("#queue-clear");
  await waitForQueue(page, 0, DRAWING);
});

test("forever draws again until it is taken out", async () => {
  await page.check("#forever");
  await draw(page);
  const count = Number(await page.textContent("#gallery-count"));
  await until(page, (least) => Number(document.getElementById("gallery-count").textContent) >= least, count + 2, DRAWING);
  await page.uncheck("#forever");
  await stopAll(page);
});

test("history: search, favourites, filters, full screen by keys, trash", async () => {
  const total = () => page.textContent("#gallery-count").then(Number);
  const is = (count) => until(page, (wanted) => (Number(document.getElementById("gallery-count").textContent) || 0) === wanted, count);
  const all = await total();
  await page.fill("#gallery-search", "a red apple");
  await is(1);
  await page.click("#gallery .thumb");
  assert.ok(await page.evaluate(() => document.getElementById("viewer").open));
  assert.match(await page.textContent("#viewer-text"), /a red apple/);
  await shoot(page, "viewer");
  await page.keyboard.press("f");
  await until(page, () => document.getElementById("viewer-tools").textContent.includes("★"));
  await page.keyboard.press("i");
  assert.equal(await page.isVisible("#viewer-text"), false);
  await page.keyboard.press("z");
  assert.deepEqual(await page.evaluate(() => document.getElementById("viewer-picture").clientWidth), 64, "its true size");
  await page.keyboard.press("Escape");
  await page.fill("#gallery-search", "");
  await is(all);
  await page.selectOption("#gallery-shelf", "favourites");
  await is(1);
  await page.selectOption("#gallery-shelf", "all");
  await page.click("#gallery-filters summary");
  await page.selectOption("#gallery-folder", "extras-images");
  await is(3);
  await page.selectOption("#gallery-folder", "txt2img-grids");
  await is(1);
  await page.selectOption("#gallery-folder", "txt2img-images");
  await page.selectOption("#gallery-model", "mini");
  await until(page, () => Number(document.getElementById("gallery-count").textContent) > 3);
  await page.fill("#gallery-from", "2099-01-01");
  await is(0);
  await shoot(page, "filters");
  await page.click("#gallery-clear");
  await is(all);
  await page.fill("#gallery-search", "a red apple");
  await is(1);
  await page.click("#gallery .thumb");
  await page.keyboard.press("Delete");
  await until(page, () => !document.getElementById("viewer").open);
  await is(0);
  await page.fill("#gallery-search", "");
  await page.selectOption("#gallery-shelf", "trash");
  await is(1);
  await page.click("#gallery .thumb");
  await page.click("#viewer-tools >> text=Restore");
  await is(0);
  await page.selectOption("#gallery-shelf", "all");
  await is(all);
  await page.click("#gallery .thumb");
  await page.keyboard.press("ArrowRight");
  assert.match(await page.textContent("#viewer-tools"), /2 \//);
  await page.keyboard.press("Delete");
  await is(all - 1);
  await page.keyboard.press("Escape");
  await page.selectOption("#gallery-shelf", "trash");
  await is(1);
  page.once("dialog", (dialog) => dialog.accept());
  await page.click("#gallery-empty");
  await is(0);
  await page.selectOption("#gallery-shelf", "all");
  await is(all - 1);
});

test("several pictures of the history are chosen, saved as one file, and binned", async () => {
  const total = Number(await page.textContent("#gallery-count"));
  const thumb = (n) => page.locator("#gallery .thumb").nth(n);
  await page.click("#gallery-choose");
  await thumb(0).click();
  await thumb(2).click({ modifiers: ["Shift"] });
  await thumb(1).click();
  assert.match(await page.textContent("#gallery-choice"), /^2 chosen/);
  assert.equal(await page.isVisible("#viewer"), false);
  await shoot(page, "choose");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#gallery-choice >> text=Zip")]);
  assert.equal(download.suggestedFilename(), "pictures.zip");
  await page.click("#gallery-choice >> text=Bin");
  await until(page, (count) => Number(document.getElementById("gallery-count").textContent) === count, total - 2);
  await page.selectOption("#gallery-shelf", "trash");
  await until(page, () => document.querySelectorAll("#gallery .thumb").length === 2);
  await page.click("#gallery-choose");
  await page.click("#gallery-choice >> text=All");
  await page.click("#gallery-choice >> text=Restore");
  await page.waitForSelector("#gallery-none:visible", { timeout: SOON });
  await page.selectOption("#gallery-shelf", "all");
  await until(page, (count) => Number(document.getElementById("gallery-count").textContent) === count, total);
});

test("settings are each user's own, searched, kept at once, and refused in the server's words", async () => {
  const option = (name) => page.evaluate(async (key) => (await (await fetch("/sdapi/v1/options")).json())[key], name);
  await page.click("#settings");
  await until(page, () => document.getElementById("option-jpeg_quality").value === "80");
  await shoot(page, "settings");
  await page.fill("#settings-sheet input[type=search]", "pnginfo");
  assert.equal(await page.isVisible("#option-jpeg_quality"), false);
  await page.uncheck("#option-enable_pnginfo");
  await until(page, () => document.getElementById("toast").textContent === "Kept.");
  assert.equal(await option("enable_pnginfo"), false);
  await page.fill("#settings-sheet input[type=search]", "");
  page.once("dialog", (dialog) => dialog.accept());
  await page.click("#settings-sheet >> text=All as at first");
  await until(page, () => document.getElementById("option-enable_pnginfo").checked);
  assert.equal(await option("enable_pnginfo"), true);
  await page.click("#settings-sheet >> text=Close");
});

test("a style is kept by the server, added to prompts and removed", async () => {
  await page.fill("#prompt", "ink on paper");
  page.once("dialog", (dialog) => dialog.accept("ink"));
  await page.click("#style-save");
  await until(page, () => document.getElementById("styles").value === "ink");
  await page.fill("#prompt", "a crane");
  await page.click("#style-apply");
  assert.equal(await page.inputValue("#prompt"), "a crane, ink on paper");
  page.once("dialog", (dialog) => dialog.accept());
  await page.click("#style-remove");
  await until(page, () => document.getElementById("styles").length === 1);
});

test("what the server refuses is said in its words", async () => {
  await page.click("#tab-img2img");
  await page.click("#generate");
  assert.match(await page.textContent("#problem"), /Choose a picture/);
  await asText(page);
  await page.fill("#prompt", "<lora:nothing-of-that-name:1>");
  await page.click("#generate");
  await until(page, () => ["problem", "toast"].some((id) => /nothing-of-that-name/.test(document.getElementById(id).textContent)), null, DRAWING);
});

test("keys: the sheet, tabs, the prompt, the search; themes", async () => {
  await page.focus("#result");
  await page.keyboard.press("?");
  assert.ok(await page.isVisible("#help-sheet"));
  await shoot(page, "keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Alt+3");
  assert.equal(await page.getAttribute("#tab-extras", "aria-selected"), "true");
  await page.keyboard.press("Alt+1");
  await page.focus("#result");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "gallery-search");
  await page.focus("#result");
  await page.keyboard.press("p");
  assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
  await page.keyboard.press("?");
  assert.equal(await page.isVisible("#help-sheet"), false, "in a text it is a letter");
  await page.focus("#result");
  await page.keyboard.press("t");
  await page.reload();
  await ready(page);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
  await page.click("#theme");
});

test("the administrator's sheet shows load and sets limits", async () => {
  await page.click("#server");
  await until(page, () => /Memory of the process/.test(document.getElementById("server-sheet").textContent) && document.getElementById("limit-max_steps").value !== "");
  await shoot(page, "server");
  await page.fill("#limit-max_steps", "149");
  await page.click("#server-sheet >> text=Set limits");
  await until(page, () => /limits are set/.test(document.getElementById("toast").textContent));
  await page.keyboard.press("Escape");
  await page.fill("#prompt", "too many steps");
  await set(page, { steps: 150 });
  await page.click("#generate");
  await until(page, () => /149/.test(document.getElementById("problem").textContent) && !document.getElementById("problem").hidden);
  await page.click("#server");
  await page.fill("#limit-max_steps", "500");
  await page.click("#server-sheet >> text=Set limits");
  await page.keyboard.press("Escape");
});

test("phones: one part at a time, nothing wider than the screen", async () => {
  const phone = await openStudio(browser, server.url, { context: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } });
  for (const [view, part] of [["controls", "#prompt"], ["result", "#preview"], ["side", "#gallery"]]) {
    await phone.tap(`#views [data-to="${view}"]`);
    assert.ok(await phone.isVisible(part), part);
    assert.ok((await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${view} is too wide`);
    await shoot(phone, `phone-${view}`);
  }
  await phone.tap("#more");
  assert.ok(await phone.isVisible("#vae"));
  await phone.tap('#views [data-to="controls"]');
  await phone.tap("#generate");
  await phone.waitForSelector("#stage", { timeout: SOON }); // the picture comes into view
  await phone.context().close();
});

test("nothing in all this made the page complain", () => assert.deepEqual(page.faults, []));
