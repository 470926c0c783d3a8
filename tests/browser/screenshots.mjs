// Takes pictures of the studio's panels, drawn by the built-in model: screenshots.mjs FOLDER (scripts/screenshots).
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";
import { asText, bytesOf, draw, DRAWING, openStudio, set, stopAll, until, waitForQueue } from "./lib/studio.mjs";

const folder = process.argv[2];
const fine = { width: 256, height: 256, steps: 4, cfg_scale: 1 };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const data = mkdtempSync(join(tmpdir(), "reverie-shots-"));
const models = join(data, "models");

mkdirSync(join(models, "Lora"), { recursive: true });
mkdirSync(folder, { recursive: true });
for (const name of ["ink", "chalk"]) writeFileSync(join(models, "Lora", `${name}.safetensors`), "for browsing only");
execFileSync(process.env.REVERIE ?? "build/reverie", ["users", "add", "anna", "--admin", "--users", join(data, "users")], { input: "a secret\n" });
const browser = await launch();
const start = (listen) => Server.start({ data, listen, options: ["--models", models, "--users", join(data, "users")] });
let server = await start();
const log = { name: "anna", password: "a secret" };
const shoot = (page, name) => page.screenshot({ path: join(folder, `studio-${name}.jpg`), type: "jpeg", quality: 72 });
const scrollTo = (page, selector) => page.locator(selector).evaluate((e) => e.scrollIntoView({ block: "start" }));

async function takeLogIn() {
  const page = await (await browser.newContext({ viewport: { width: 720, height: 450 }, colorScheme: "dark" })).newPage();
  await page.goto(`${server.url}/studio`);
  await page.waitForSelector("#login");
  await shoot(page, "login");
  await page.context().close();
}

async function takeDrawing(page) {
  await asText(page);
  for (const [prompt, seed] of [["a blue book", 3], ["a green leaf", 5], ["a yellow flower", 8], ["a red apple", 7]]) {
    await page.fill("#prompt", prompt);
    await set(page, { ...fine, seed, batch_size: prompt === "a red apple" ? 4 : 1 });
    await draw(page);
  }
  await page.evaluate(() => document.querySelector("#controls").scrollTo(0, 0));
  await shoot(page, "text");
  for (let i = 0; i < 3; i++) {
    await set(page, { ...fine, steps: 100, batch_size: 1 });
    await page.click("#generate");
    await waitForQueue(page, i + 1);
  }
  await page.waitForSelector("#preview.live", { timeout: DRAWING });
  await until(page, () => /left/.test(document.getElementById("progress-text").textContent), null, DRAWING);
  await shoot(page, "queue");
  await stopAll(page);
  await set(page, { ...fine, seed: 7, batch_size: 4 });
  await draw(page);
}

async function takePanels(page) {
  await page.click("#networks-panel > summary");
  for (const [index, name] of ["ink", "chalk", "mini"].entries()) {
    await page.click(`#strip li:nth-child(${index + 1}) button`);
    await page.click(`[aria-label="Picture for ${name}"]`);
  }
  await scrollTo(page, "#networks-panel");
  await until(page, () => [...document.querySelectorAll("#networks .card img")].filter((image) => image.complete && image.naturalWidth > 0).length === 3);
  await shoot(page, "networks");
  await page.click("#networks-panel > summary");
  await page.click("#controlnet-panel > summary");
  const unit = page.locator("#controlnet-units fieldset").first();
  await unit.locator("input[type=file]").setInputFiles({ name: "x.png", mimeType: "image/png", buffer: await bytesOf(page, await page.getAttribute("#preview", "src")) });
  await page.selectOption("#cn0-module", "canny");
  await unit.locator("text=Preview").click();
  await unit.locator("img.map").waitFor();
  await scrollTo(page, "#controlnet-panel");
  await shoot(page, "controlnet");
  await unit.locator("text=Draw a pose…").click();
  await shoot(page, "pose");
  await page.keyboard.press("Escape");
  await unit.locator("text=Remove").click();
  await page.click("#controlnet-panel > summary");
  await page.click("#script-panel > summary");
  await page.selectOption("#script-name", "x/y/z plot");
  await page.fill("#script-1", "1, 2, 3");
  await set(page, { batch_size: 1 });
  await page.click("#generate");
  await until(page, () => document.getElementById("preview").naturalWidth >= 3 * 256, null, DRAWING);
  await scrollTo(page, "#script-panel");
  await shoot(page, "grid");
  await page.selectOption("#script-name", "");
  await page.click("#script-panel > summary");
}

async function takeInpainting(page) {
  await set(page, { seed: 7 });
  await draw(page);
  await page.click('#result-tools [data-send="inpaint"]');
  const canvas = page.locator("canvas.mask");
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.35, box.y + box.height * 0.4);
  await page.mouse.down();
  for (const [x, y] of [[0.6, 0.35], [0.4, 0.5], [0.65, 0.5], [0.45, 0.6]]) await page.mouse.move(box.x + box.width * x, box.y + box.height * y, { steps: 8 });
  await page.mouse.up();
  await shoot(page, "inpaint");
  await page.click('#result-tools [data-send="extras"]');
  await shoot(page, "upscale");
  await page.click("#tab-pnginfo");
  await page.setInputFiles("#page-pnginfo input[type=file]", { name: "x.png", mimeType: "image/png", buffer: await bytesOf(page, await page.getAttribute("#preview", "src")) });
  await until(page, () => /Seed: 7/.test(document.getElementById("pnginfo-text").textContent));
  await shoot(page, "pnginfo");
  await asText(page);
}

async function takeDialogs(page) {
  await page.click("#gallery-filters summary");
  await shoot(page, "history");
  await page.click("#gallery .thumb");
  await until(page, () => document.getElementById("viewer-picture").complete);
  await shoot(page, "viewer");
  await page.keyboard.press("Escape");
  for (const [opener, name] of [["#help", "keys"], ["#settings", "settings"], ["#server", "server"]]) {
    await page.click(opener);
    if (name === "settings") await until(page, () => document.getElementById("option-jpeg_quality").value !== "");
    if (name === "server") await until(page, () => /Memory/.test(document.getElementById("server-sheet").textContent));
    await shoot(page, name);
    await page.keyboard.press("Escape");
  }
  await page.click("#theme");
  await shoot(page, "light");
}

async function takeAway(page) {
  const { port } = server;
  await set(page, { ...fine, steps: 100, batch_size: 1 });
  await page.click("#generate");
  await page.waitForSelector("#preview.live", { timeout: DRAWING });
  await server.kill();
  await page.waitForSelector("#offline:visible");
  await set(page, fine);
  await page.fill("#prompt", "a blue book");
  await page.click("#generate");
  await page.waitForSelector("#problem:visible");
  await shoot(page, "away");
  server = await start(`127.0.0.1:${port}`);
  await page.waitForSelector("#offline", { state: "hidden", timeout: DRAWING });
  await waitForQueue(page, 2, DRAWING);
  await stopAll(page);
}

async function takePhone() {
  const page = await openStudio(browser, server.url, { log, context: PHONE });
  for (const view of ["controls", "result", "side"]) {
    await page.tap(`#views [data-to="${view}"]`);
    await until(page, () => [...document.images].filter((image) => image.checkVisibility()).every((image) => image.complete && image.naturalWidth > 0));
    await shoot(page, `phone-${view}`);
  }
  await page.context().close();
}

try {
  await takeLogIn();
  const page = await openStudio(browser, server.url, { log });
  await takeDrawing(page);
  await takePanels(page);
  await takeInpainting(page);
  await takeDialogs(page);
  await takeAway(page);
  await takePhone();
} finally {
  await browser.close();
  await server.stop();
  rmSync(data, { recursive: true, force: true });
}
