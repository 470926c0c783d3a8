// The studio for everybody: names, roles and contrast by axe-core, the way of the Tab key, a focus that is seen.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";
import { asText, draw, openStudio, set, small } from "./lib/studio.mjs";

const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
let browser, server, page;

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
  page = await openStudio(browser, server.url);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function check(where, what = page) {
  if (!(await what.evaluate(() => "axe" in globalThis))) await what.evaluate(AXE);
  const problems = await what.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map((node) => node.html.slice(0, 90)).join(" | ")}`);
  });
  assert.deepEqual(problems, [], where);
}

const openAll = (what = page) => what.evaluate(() => document.querySelectorAll("details:not([hidden])").forEach((details) => (details.open = true)));

test("text, image with a mask, upscale and PNG info, dark and light", async () => {
  await asText(page);
  await page.fill("#prompt", "a lamp");
  await set(page, { ...small, batch_size: 2 });
  await draw(page);
  await openAll();
  await check("text");
  await page.click('#result-tools [data-send="inpaint"]');
  await page.locator("canvas.mask").waitFor();
  const box = await page.locator("canvas.mask").boundingBox();
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  await page.waitForSelector("#f-mask_blur");
  await page.selectOption("#script-name", "x/y/z plot");
  await openAll();
  await page.click("#gallery-choose");
  await page.focus("canvas.mask");
  await page.keyboard.press("c");
  await check("image");
  await page.click("#theme");
  await check("image, light");
  await page.click("#gallery-choose");
  await page.click("#tab-extras");
  await check("upscale, light");
  await page.click("#theme");
  await page.click("#tab-pnginfo");
  await check("PNG info");
  await asText(page);
});

test("dialogs: full screen, keys, server, painting, pose", async () => {
  await page.click("#preview-open");
  await check("full screen");
  await page.keyboard.press("Escape");
  for (const [opener, name] of [["#help", "keys"], ["#settings", "settings"], ["#server", "server"]]) {
    await page.click(opener);
    await check(name);
    await page.keyboard.press("Escape");
  }
  await page.click("#controlnet-units >> text=Draw a pose… >> nth=0");
  await check("pose");
  await page.keyboard.press("Escape");
  await page.click("#tab-img2img");
  await page.click("text=Paint large…");
  await check("painting");
  await page.keyboard.press("Escape");
});

test("Tab goes through everything in the order of the page, and shows where it is", async () => {
  await asText(page);
  await page.evaluate(() => {
    document.querySelectorAll("details").forEach((details) => (details.open = false));
    document.querySelector(".brand").focus();
  });
  const seen = [];
  for (let i = 0; i < 120; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const { activeElement: element } = document;
      if (element === document.body || element.dataset.visited) return null;
      element.dataset.visited = "true";
      const style = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      return { name: element.id || element.textContent.trim().slice(0, 20), outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1, width: box.width,
        order: [...document.querySelectorAll("*")].indexOf(element) };
    });
    if (at === null) break;
    seen.push(at);
  }
  assert.ok(seen.length > 40, `${seen.length} stops`);
  for (const { name, outline, width } of seen) assert.ok(outline && width > 0, `the focus on ${name} is not seen`);
  for (let i = 1; i < seen.length; i++) assert.ok(seen[i].order > seen[i - 1].order, `${seen[i].name} comes after ${seen[i - 1].name}`);
  for (const name of ["model", "prompt", "negative", "f-steps", "f-seed", "generate", "preview-open", "gallery-search"]) assert.ok(seen.some((stop) => stop.name === name), name);
});

test("with keys alone: draw, look at the history, paint a mask, draw again", async () => {
  await asText(page);
  await set(page, small);
  await openAll();
  await page.selectOption("#script-name", "");
  await page.focus(".brand");
  await page.keyboard.press("p");
  assert.equal(await page.evaluate(() => document.activeElement.id), "prompt");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("a lamp, drawn by keys");
  await draw(page, () => page.keyboard.press("Control+Enter"));
  assert.match(await page.textContent("#infotext"), /^a lamp, drawn by keys/);
  await page.waitForFunction(() => document.querySelectorAll("#gallery .thumb").length >= 3);
  const place = () => page.evaluate(() => [...document.querySelectorAll("#gallery .thumb")].indexOf(document.activeElement));
  await page.focus("#gallery .thumb");
  for (const [key, at] of [["ArrowRight", 1], ["ArrowRight", 2], ["ArrowLeft", 1], ["Home", 0], ["ArrowLeft", 0], ["End", await page.locator("#gallery .thumb").count() - 1], ["Home", 0]]) {
    await page.keyboard.press(key);
    assert.equal(await place(), at, key);
  }
  await page.keyboard.press("Enter");
  await page.waitForSelector("#viewer[open]");
  await page.locator("#viewer button", { hasText: "To inpaint" }).focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.matches("canvas.mask"));
  const painted = () => page.isVisible("#f-mask_blur");
  assert.equal(await painted(), false);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Shift+ArrowUp");
  assert.equal(await painted(), false, "moving paints nothing");
  await page.keyboard.press("Space");
  assert.equal(await painted(), true);
  await page.keyboard.press("Control+z");
  assert.equal(await painted(), false, "undone");
  await page.keyboard.down("Space");
  for (let i = 0; i < 6; i++) await page.keyboard.press("ArrowRight");
  await page.keyboard.up("Space");
  assert.equal(await painted(), true, "a stroke");
  await page.keyboard.press("Control+z");
  assert.equal(await painted(), false, "which is one thing to undo");
  await page.keyboard.press("Control+Shift+Z");
  await draw(page, () => page.keyboard.press("Control+Enter"));
  assert.match(await page.textContent("#infotext"), /Mask blur: 4/);
  await asText(page);
});

// What fingers are to hit, what leaves the screen, what phones would zoom into.
const roughEdges = (phone) => phone.evaluate(() => {
  const edges = document.documentElement.scrollWidth > innerWidth ? [`the page is ${document.documentElement.scrollWidth} wide`] : [];
  for (const e of document.querySelectorAll("button, input, select, textarea, a, summary")) {
    const box = (e.closest("label.check") ?? e).getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || e.closest("[hidden], .cards")) continue;
    const name = e.id || e.textContent.slice(0, 20) || e.outerHTML.slice(0, 60);
    if (box.left < -1 || box.right > innerWidth + 1) edges.push(`${name} leaves the screen`);
    if (box.height < 30 || box.width < 24) edges.push(`${name} is small: ${Math.round(box.width)}x${Math.round(box.height)}`);
    if (e.matches("textarea, select, input:not([type=checkbox], [type=range])") && parseFloat(getComputedStyle(e).fontSize) < 16) edges.push(`${name} makes phones zoom`);
  }
  return edges;
});

test("the form to log in with, and a phone", async () => {
  const guarded = await Server.start({ options: ["--token", "a token that is long enough"] });
  try {
    const stranger = await (await browser.newContext()).newPage();
    await stranger.goto(`${guarded.url}/studio`);
    await stranger.waitForSelector("#login");
    await check("log in", stranger);
  } finally {
    await guarded.stop();
  }
  const phone = await openStudio(browser, server.url, { context: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } });
  for (const view of ["controls", "result", "side"]) {
    await phone.tap(`#views [data-to="${view}"]`);
    await check(`phone, ${view}`, phone);
    assert.deepEqual(await roughEdges(phone), [], view);
  }
  await phone.tap('#views [data-to="controls"]');
  await phone.tap("#tab-img2img");
  await openAll(phone);
  await phone.selectOption("#script-name", "x/y/z plot");
  assert.deepEqual(await roughEdges(phone), [], "image, all open");
  await phone.tap('#views [data-to="side"]');
  await phone.tap("#gallery .thumb");
  await phone.waitForSelector("#viewer[open]");
  assert.deepEqual(await roughEdges(phone), [], "full screen");
  await phone.locator("#viewer button", { hasText: "To inpaint" }).tap();
  await phone.waitForSelector("canvas.mask");
  await phone.waitForFunction(() => document.activeElement.matches("canvas.mask"));
  const canvas = await phone.locator("canvas.mask").boundingBox();
  assert.ok(canvas.y > 0 && canvas.y < 300, `the canvas begins at ${canvas.y}`);
  await phone.touchscreen.tap(canvas.x + canvas.width / 2, canvas.y + canvas.height / 2);
  await phone.waitForFunction(() => document.getElementById("f-mask_blur").offsetParent !== null || document.getElementById("f-mask_blur").checkVisibility());
});
