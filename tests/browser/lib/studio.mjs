// What tests and screenshots do with the studio's page.
import { mkdirSync } from "node:fs";
import { join } from "node:path";

const SHOTS = process.env.REVERIE_SCREENSHOTS; // a folder that receives pictures of the page
export const DRAWING = 120000; // ms, on slow and busy machines
export const SOON = 90000;
export const small = { width: 64, height: 64, steps: 1, cfg_scale: 1, seed: -1, batch_size: 1, n_iter: 1 };
// Takes a while on any machine, so that something can be done meanwhile; tests stop it themselves.
export const long = { ...small, width: 256, height: 256, steps: 150 };

// A page of somebody's own; faults: what it complained of. log: {name, password}.
export async function openStudio(browser, url, { context = {}, log = null } = {}) {
  const own = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark", ...context });
  own.setDefaultTimeout(SOON);
  const page = await own.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && !/ERR_|status of 4\d\d/.test(message.text()) && page.faults.push(message.text()));
  await page.goto(`${url}/studio`);
  if (log !== null) {
    await page.fill("#name", log.name);
    await page.fill("#password", log.password);
    await page.click("#login button");
  }
  await ready(page);
  return page;
}

export const ready = (page) => page.waitForSelector("body[data-ready]", { timeout: SOON });
export const asText = (page) => page.click("#tab-txt2img");
export const until = (page, work, argument = null, timeout = SOON) => page.waitForFunction(work, argument, { timeout, polling: 50 });

// Fields of the form by their names in A1111's API; details around them are opened.
export async function set(page, values) {
  for (const [name, value] of Object.entries(values)) {
    const input = page.locator(`#f-${name}`);
    const { tag, type } = await input.evaluate((e) => {
      for (let box = e.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
      return { tag: e.tagName, type: e.type };
    });
    if (tag === "SELECT") await input.selectOption(String(value));
    else if (type === "checkbox") await input.setChecked(value);
    else {
      const box = type === "range" ? page.locator(`#f-${name} + input`) : input;
      await box.fill(String(value));
      await box.dispatchEvent("change");
    }
  }
}

// Does what makes a job and waits until the middle shows its finished picture. Returns the picture's address.
export async function draw(page, start = () => page.click("#generate")) {
  const old = await page.getAttribute("#preview", "src");
  await start();
  await until(page, (before) => {
    const picture = document.getElementById("preview");
    const src = picture.getAttribute("src");
    return src !== before && !picture.hidden && !picture.classList.contains("live") && src.includes("/pictures/") && picture.complete && picture.naturalWidth > 0;
  }, old, DRAWING);
  return page.getAttribute("#preview", "src");
}

export const naturalSize = (page, id) => page.evaluate((name) => [document.getElementById(name).naturalWidth, document.getElementById(name).naturalHeight], id);
export const bytesOf = (page, url) => page.evaluate(async (address) => [...new Uint8Array(await (await fetch(address)).arrayBuffer())], url).then((bytes) => Buffer.from(bytes));
export const queueIds = (page) => page.locator("#queue .job").evaluateAll((rows) => rows.map((row) => Number(row.dataset.job)));
export const waitForQueue = (page, count, timeout = SOON) => until(page, (n) => document.querySelectorAll("#queue .job").length === n, count, timeout);

// Ends all of this person's jobs.
export async function stopAll(page) {
  await page.evaluate(async () => {
    const { jobs } = await (await fetch("/api/v1/jobs")).json();
    for (const { id } of jobs.filter(({ ended }) => ended === null || ended === 0)) await fetch(`/api/v1/jobs/${id}`, { method: "DELETE" });
  });
  await waitForQueue(page, 0, DRAWING);
}

export async function shoot(page, name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}
