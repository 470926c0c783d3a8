// Three people at once, each in a browser of their own: turns, isolation, order, and a server that is killed meanwhile.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";
import { asText, bytesOf, draw, DRAWING, long, openStudio, queueIds, set, shoot, small, SOON, stopAll, until, waitForQueue } from "./lib/studio.mjs";

const NAMES = ["anna", "bert", "carla"];
let browser, server, data;
const pages = {};
const held = { ...long, width: 768, height: 768 }; // minutes, were it not stopped

const start = (listen) => Server.start({ data, listen, options: ["--users", join(data, "users")] });
const json = (page, path, options) => page.evaluate(async ([address, more]) => {
  const reply = await fetch(address, more);
  return { status: reply.status, body: await reply.text() };
}, [path, options]);
const send = (page, method, path, body = {}) => json(page, path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const history = async (page) => JSON.parse((await json(page, "/api/v1/gallery?limit=1000")).body).pictures;
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

before(async () => {
  data = mkdtempSync(join(tmpdir(), "reverie-people-"));
  for (const name of NAMES)
    execFileSync(process.env.REVERIE ?? "build/reverie", ["users", "add", name, "--users", join(data, "users"), ...(name === "anna" ? ["--admin"] : [])], { input: `secret of ${name}\n` });
  [browser, server] = await Promise.all([launch(), start("127.0.0.1:0")]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
});

// What one test left waiting is no business of the next.
afterEach(async () => {
  for (const page of Object.values(pages)) if (await page.isVisible("#queue")) await stopAll(page);
});

test("each logs in with a form and is shown by name", async () => {
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto(`${server.url}/studio`);
  await stranger.fill("#name", "anna");
  await stranger.fill("#password", "wrong");
  await stranger.click("#login button");
  await until(stranger, () => document.getElementById("problem").textContent.includes("wrong"));
  assert.equal((await json(stranger, "/api/v1/gallery")).status, 401);
  await shoot(stranger, "login");
  await stranger.context().close();
  const opened = await Promise.all(NAMES.map((name) => openStudio(browser, server.url, { log: { name, password: `secret of ${name}` } })));
  for (const [index, name] of NAMES.entries()) {
    pages[name] = opened[index];
    assert.equal(await pages[name].textContent("#user"), name);
    assert.equal(await pages[name].isVisible("#server"), name === "anna");
    await asText(pages[name]);
    await pages[name].fill("#prompt", `what ${name} alone knows`);
  }
});

// Submits `count` jobs by the page; `already` wait there.
async function submit(page, count, already) {
  for (let i = 1; i <= count; i++) {
    await page.click("#generate");
    await waitForQueue(page, already + i);
  }
}

test("users take turns, whoever came first and with however many jobs", async () => {
  const { anna, bert, carla } = pages;
  await set(anna, held); // holds the device until all have submitted
  await submit(anna, 1, 0);
  for (const page of [anna, bert, carla]) await set(page, small);
  await submit(anna, 4, 1);
  await submit(bert, 2, 0);
  await submit(carla, 2, 0);
  await until(bert, () => /[234] in the queue/.test(document.querySelector("#queue .job")?.textContent ?? ""));
  await until(carla, () => /[234] in the queue/.test(document.querySelector("#queue .job")?.textContent ?? ""));
  await until(bert, () => document.getElementById("queue-line").textContent === "9 jobs on this server");
  await shoot(bert, "three-people");
  const [first] = await queueIds(anna);
  await anna.click(`[data-job="${first}"] .danger`);
  for (const page of [anna, bert, carla]) await waitForQueue(page, 0, DRAWING);
  const rows = (await Promise.all(NAMES.map(async (name) => (await history(pages[name])).map(({ id }) => ({ id, name }))))).flat();
  const order = rows.sort((a, b) => a.id - b.id).map(({ name }) => name);
  assert.equal(order.length, 8);
  for (const turn of [order.slice(0, 3), order.slice(3, 6)]) assert.deepEqual([...turn].sort(), NAMES, order.join(" "));
  assert.deepEqual(order.slice(6), ["anna", "anna"]);
});

test("nobody sees, stops, moves, changes or overwrites what is another's", async () => {
  const { anna, bert, carla } = pages;
  await set(anna, held);
  await submit(anna, 2, 0);
  await until(anna, () => document.querySelector("#queue .job.running") !== null, null, DRAWING);
  await anna.waitForSelector("#preview.live", { timeout: DRAWING });
  const [running, queued] = await queueIds(anna);
  const [{ id: picture, job: ended }] = await history(anna);
  const owned = hash(await bytesOf(anna, `/api/v1/gallery/${picture}/file`));
  const form = (await json(anna, "/api/v1/documents/form")).body;
  const tries = [["GET", `/api/v1/gallery/${picture}`], ["GET", `/api/v1/gallery/${picture}/file`], ["GET", `/api/v1/gallery/${picture}/thumbnail`],
    ["PATCH", `/api/v1/gallery/${picture}`, { trashed: true }], ["DELETE", `/api/v1/gallery/${picture}`], ["GET", `/api/v1/jobs/${ended}/result`], ["GET", `/api/v1/jobs/${ended}/pictures/0`]];
  for (const id of [running, queued])
    tries.push(["GET", `/api/v1/jobs/${id}`], ["GET", `/api/v1/jobs/${id}/result`], ["GET", `/api/v1/jobs/${id}/pictures/0`], ["GET", `/api/v1/jobs/${id}/preview`], ["DELETE", `/api/v1/jobs/${id}`],
      ["POST", `/api/v1/jobs/${id}/move`, { place: 0 }], ["POST", `/api/v1/jobs/${id}/interrupt`], ["POST", `/api/v1/jobs/${id}/skip`]);
  for (const [method, path, body] of tries) {
    const { status, body: text } = method === "GET" ? await json(bert, path) : await send(bert, method, path, body);
    assert.equal(status, 404, `${method} ${path}`);
    assert.ok(!text.includes("anna"), path);
  }
  assert.equal((await json(bert, "/api/v1/admin")).status, 403);
  assert.equal((await send(bert, "PATCH", "/api/v1/admin", { limits: { max_steps: 1 } })).status, 403);
  await send(bert, "POST", "/sdapi/v1/interrupt");
  await send(bert, "POST", "/sdapi/v1/skip");
  await send(bert, "PUT", "/api/v1/documents/form", { prompt: "bert's own" });
  assert.equal((await json(anna, "/api/v1/documents/form")).body, form);
  assert.equal(hash(await bytesOf(anna, `/api/v1/gallery/${picture}/file`)), owned);
  for (const path of ["/sdapi/v1/progress", "/api/v1/jobs", "/api/v1/gallery?limit=1000", "/internal/pending-tasks", "/api/v1/documents/form"])
    assert.ok(!(await json(carla, path)).body.includes("anna"), path);
  for (const page of [bert, carla]) assert.ok(!(await page.content()).includes("anna alone"), "the page tells nothing of others");
  assert.deepEqual(await queueIds(anna), [running, queued], "both are as they were");
  assert.equal(JSON.parse((await json(anna, `/api/v1/jobs/${running}`)).body).state, "running");
  await stopAll(anna);
});

test("the server is killed in the middle and comes back: pages reconnect, queues go on, nothing finished is lost", async () => {
  const people = NAMES.map((name) => pages[name]);
  const had = await Promise.all(people.map(async (page) => (await history(page)).length));
  for (const page of people) await set(page, { ...small, n_iter: 1 });
  const finished = await draw(pages.carla);
  const kept = hash(await bytesOf(pages.carla, finished));
  await set(pages.anna, { ...small, width: 256, height: 256, steps: 20 });
  await submit(pages.anna, 2, 0);
  await set(pages.bert, small);
  await submit(pages.bert, 2, 0);
  await submit(pages.carla, 1, 0);
  const { port } = server;
  await server.kill();
  for (const page of people) await page.waitForSelector("#offline:visible", { timeout: SOON });
  await pages.bert.fill("#prompt", "asked for while nobody was there");
  await pages.bert.click("#generate");
  await until(pages.bert, () => /sent as soon as it is back/.test(document.getElementById("problem").textContent));
  server = await start(`127.0.0.1:${port}`);
  for (const page of people) await page.waitForSelector("#offline", { state: "hidden", timeout: DRAWING });
  const added = [2, 3, 2];
  for (const [index, page] of people.entries()) {
    await until(page, (count) => Number(document.getElementById("gallery-count").textContent) === count, had[index] + added[index], 2 * DRAWING);
    await waitForQueue(page, 0);
    assert.equal((await history(page)).length, had[index] + added[index], NAMES[index]);
    const picture = await page.getAttribute("#preview", "src");
    assert.match(picture, /\/pictures\/0$/, "the picture that came after the restart is shown");
    assert.equal(await page.isVisible("#problem"), false);
  }
  assert.equal(hash(await bytesOf(pages.carla, finished)), kept);
  const { jobs } = JSON.parse((await json(pages.anna, "/api/v1/jobs")).body);
  assert.deepEqual(jobs.slice(0, 2).map(({ state }) => state), ["done", "done"]);
  for (const page of people) assert.deepEqual(page.faults, []);
});

test("logging out ends it", async () => {
  await pages.bert.click("#log-out");
  await pages.bert.waitForSelector("#login", { timeout: SOON });
  assert.equal((await json(pages.bert, "/api/v1/gallery")).status, 401);
});
