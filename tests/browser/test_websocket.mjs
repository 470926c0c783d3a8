// The mirror over WebSocket: frames return transformed and in order, parameters reach the server, connections return.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { becomes, colourAt, isNear, launch, linkOf, openMirror, shownCount, shownFrames, waitForFrames, waitForLink } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

let browser, server;
before(async () => ([browser, server] = await Promise.all([launch(), Server.start()])));
after(async () => {
  await browser?.close();
  await server?.stop();
});

const INVERTED = [55, 195, 145];

test("Chromium's fake camera returns inverted", async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=ws", numbered: false });
  await waitForLink(page, { state: "live", transport: "ws" });
  let seen, shown;
  await becomes(async () => {
    seen = await colourAt(page, "camera", 0.5, 0.9);
    shown = await colourAt(page, "picture", 0.5, 0.9);
    return isNear(shown, seen.map((v) => 255 - v), 8);
  }, () => `camera ${seen}, shown ${shown}`);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("numbered frames come in order, none twice, with their age", async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=ws&debug" });
  await waitForFrames(page, 60);
  const numbers = (await shownFrames(page)).map((frame) => frame.number);
  numbers.forEach((n, i) => i && assert.ok(n > numbers[i - 1], `${numbers[i - 1]} before ${n}`));
  assert.ok(isNear(await colourAt(page, "picture", 0.5, 0.5), INVERTED, 4));
  const figures = await page.textContent("#figures");
  assert.match(figures, /p50 \d/);
  assert.match(figures, /device \d/);
  assert.equal((await linkOf(page)).text, "WebSocket (chosen)");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

// `look`: what matters of the server's state.
async function serverHas(look, wanted) {
  let state;
  await becomes(async () => JSON.stringify(look((state = await server.state()))) === JSON.stringify(wanted), () => JSON.stringify(state));
}

test("prompts and parameters reach the server, and those of others reach the page", async () => {
  const page = await openMirror(browser, server.url);
  await page.waitForFunction(() => document.getElementById("prompt-a").value !== "");
  await page.fill("#prompt-a", "a paper city");
  await page.press("#prompt-a", "Enter");
  await page.fill("#prompt-b", "deep sea");
  await page.locator("#crossfade").fill("0.25");
  await page.locator("#strength").fill("0.55");
  await page.click("#passthrough");
  await serverHas(({ prompts, strength, passthrough }) => {
    const weights = prompts.map((p) => `${p.text} ${Math.round(p.weight * 100)}`).sort();
    return [...weights, Math.round(strength * 100), passthrough];
  }, ["a paper city 75", "deep sea 25", 55, true]);
  await page.click("#preset-soft");
  await page.fill("#seed", "77");
  await page.press("#seed", "Tab");
  await serverHas((state) => [state.steps, state.strength, state.seed], [3, 0.5, 77]);
  await fetch(`${server.url}/api/state`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ prompt: "from elsewhere", steps: 2, passthrough: false }) });
  await page.waitForFunction(() => [...document.querySelectorAll("textarea")].some((t) => t.value === "from elsewhere"));
  assert.equal(await page.inputValue("#steps"), "2");
  await page.context().close();
});

test("the last picture is held while the server is away, and frames go on after it returned", async () => {
  let own = await Server.start();
  const listen = `127.0.0.1:${own.port}`;
  const page = await openMirror(browser, own.url, { query: "autoconnect&transport=ws" });
  await waitForFrames(page, 15);
  await own.kill();
  await waitForLink(page, { state: "waiting" });
  const held = await shownCount(page);
  await page.waitForTimeout(1500);
  assert.equal(await shownCount(page), held, "nothing may be drawn without the server");
  assert.ok(isNear(await colourAt(page, "picture", 0.5, 0.5), INVERTED, 4), "the last picture was not held");
  own = await Server.start({ listen });
  await waitForFrames(page, held + 15);
  assert.equal((await linkOf(page)).state, "live");
  await page.context().close();
  await own.stop();
});

test("a full server says so, and the page is let in when there is room", async () => {
  const own = await Server.start({ options: ["--max-clients", "1"] });
  const first = await openMirror(browser, own.url, { query: "autoconnect&transport=ws" });
  await waitForFrames(first, 5);
  const page = await openMirror(browser, own.url, { query: "autoconnect&transport=ws" });
  await page.waitForFunction(() => /1 mirrors already/.test(document.getElementById("link").textContent), null, { timeout: 10000, polling: 20 });
  const close = await page.evaluate(
    (url) => new Promise((resolve) => { new WebSocket(url).onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean }); }),
    `ws://127.0.0.1:${own.port}/ws`,
  );
  assert.equal(close.code, 1013);
  assert.match(close.reason, /--max-clients/);
  await first.context().close();
  await waitForFrames(page, 5, 20000);
  await page.context().close();
  await own.stop();
});

test("the clean view shows what the mirror shows", async () => {
  const page = await openMirror(browser, server.url, { query: "autoconnect&transport=ws" });
  await waitForFrames(page, 5);
  const view = await page.context().newPage();
  await view.goto(`${server.url}/view`);
  await page.bringToFront();
  await view.waitForFunction(
    () => document.getElementById("picture").getContext("2d").getImageData(128, 128, 1, 1).data[1] > 180,
    null,
    { polling: 100 },
  );
  assert.ok(isNear(await colourAt(view, "picture", 0.5, 0.5), INVERTED, 4));
  await page.context().close();
});
