// Real links: delay, loss, a thin one. Frames keep coming, in order and evenly, and their age neither grows nor is
// without bound. REVERIE_LINK_SECONDS measures for longer than the suite has time for.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { measureAge, summarise } from "./lib/age.mjs";
import { launch } from "./lib/browser.mjs";
import { Network } from "./lib/netns.mjs";
import { freeUdpPort, Server } from "./lib/server.mjs";

const seconds = Number(process.env.REVERIE_LINK_SECONDS ?? 3);
const { network, reason } = await Network.makeLink();
const skip = reason ?? false;
let browser, server;

before(async () => {
  if (skip) return;
  server = await Server.start({ size: "512x512", listen: `${network.host}:0`, options: ["--insecure", "--udp-port", String(await freeUdpPort())] });
  browser = await launch(network.wrapper(process.env.REVERIE_CHROMIUM ?? "/usr/bin/chromium"), [
    `--unsafely-treat-insecure-origin-as-secure=${server.url}`,
  ]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  network?.remove();
});

// least: shown frames a second; age: ms, median and p95; gap: the longest time without a new frame. Bounds that a machine
// keeps which has other things to do; the figures are printed.
const calm = { least: 6, age: 400, old: 800, gap: 1200 };
const rough = { least: 3, age: 600, old: 1500, gap: 2500 };
const LINKS = [
  { name: "20 ms +- 5", link: { delay: 20, jitter: 5 }, limits: calm },
  { name: "1 % lost", link: { delay: 20, jitter: 5, loss: 1 }, limits: { ...calm, gap: 1800 } },
  { name: "5 % lost", link: { delay: 20, jitter: 5, loss: 5 }, limits: rough },
  { name: "3 Mb/s", link: { delay: 20, jitter: 5, rate: 3000 }, limits: { ...rough, old: 1200, gap: 2000 } },
];

// Those of a machine that is too slow or too busy to keep them even without the link, as `plain` shows.
const slower = ({ least, age, old, gap }, plain) => ({
  least: Math.min(least, (least * plain.shown) / seconds / 24),
  age: age + plain.age.p50,
  old: old + 2 * plain.age.p95,
  gap: gap + 2 * plain.interval.max,
  uneven: plain.interval.p95,
});

function check(result, { least, age, old, gap, uneven = 0 }) {
  const { frames } = result;
  const third = Math.floor(frames.length / 3);
  const ages = frames.map((frame) => frame.age).filter(Number.isFinite);
  const begin = summarise(ages.slice(0, third));
  const end = summarise(ages.slice(-third));
  const report = `${(result.shown / seconds).toFixed(1)} fps, ${result.width} pixels wide, age ${JSON.stringify(result.age)}, interval ${JSON.stringify(result.interval)}, ` +
    `median age at first ${begin.p50?.toFixed(0)}, at last ${end.p50?.toFixed(0)}`;
  console.log(`    ${report}`);
  assert.equal(result.outOfOrder, 0, report);
  assert.ok(result.shown / seconds >= least, `too few: ${report}`);
  assert.ok(result.age.p50 <= age && result.age.p95 <= old, `too old: ${report}`);
  assert.ok(result.interval.max <= gap, `a gap: ${report}`);
  assert.ok(result.interval.p95 <= 6 * result.interval.p50 + 50 + uneven, `uneven: ${report}`);
  assert.ok(end.p50 <= Math.max(begin.p50 + 150, 400 + uneven), `the delay grows: ${report}`); // a thin link's queue breathes
}

for (const { name, link, limits } of LINKS)
  for (const transport of ["ws", "webrtc"])
    test(`${name}, ${transport}`, { skip }, async () => {
      const measure = (properties) => {
        network.set(properties);
        return measureAge(browser, server.url, { transport, camera: { rich: true }, seconds, warmUp: 1.5 });
      };
      const result = await measure(link);
      try {
        check(result, limits);
      } catch {
        const plain = await measure({});
        check(await measure(link), slower(limits, plain));
      } finally {
        network.set({});
      }
    });
