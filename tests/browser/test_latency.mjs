// The age of the shown frame stays within bounds that a busy machine keeps too; the exact figures are in
// docs/latency-browser.md, made by measure_age.mjs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { measureAge } from "./lib/age.mjs";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

test("512x512 at 30 fps over WebSocket: even, in order, and not growing old", async (context) => {
  const [browser, server] = await Promise.all([launch(), Server.start({ size: "512x512" })]);
  try {
    const { age, interval, drawn, shown, outOfOrder } = await measureAge(browser, server.url, { transport: "ws", seconds: 6 });
    context.diagnostic(JSON.stringify({ age, interval, drawn, shown }));
    assert.equal(outOfOrder, 0);
    assert.ok(shown > 0.25 * drawn, `${shown} of ${drawn} frames were shown`);
    assert.ok(age.p50 < 1000 && age.p99 < 5000, `age ${JSON.stringify(age)}`);
  } finally {
    await browser.close();
    await server.stop();
  }
});
