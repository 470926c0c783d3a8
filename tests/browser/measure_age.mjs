// Prints the tables of docs/latency-browser.md: measure_age.mjs [SECONDS [SIZES [RATES]]], such as 30 512,1024 30,60.
// REVERIE names the program.
import { measureAge } from "./lib/age.mjs";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

const list = (text) => text.split(",").map(Number);
const seconds = Number(process.argv[2] ?? 30);
const sizes = list(process.argv[3] ?? "512");
const rates = list(process.argv[4] ?? "30");
const ms = (value) => value?.toFixed(0) ?? "–";
const line = ({ p50, p95, p99, max }) => [p50, p95, p99, max].map(ms).join(" | ");

async function measure(size, fps, transport, pace) {
  const server = await Server.start({ size: `${size}x${size}` });
  await fetch(`${server.url}/api/state`, { method: "POST", body: JSON.stringify({ pace }) });
  const browser = await launch();
  try {
    const result = await measureAge(browser, server.url, { transport, seconds, camera: { fps, side: size, rich: true } });
    const rate = (n) => (n / seconds).toFixed(1);
    const cells = [size, transport, pace, rate(result.drawn), rate(result.shown), line(result.age), line(result.interval), result.outOfOrder];
    console.log(`| ${cells.join(" | ")} |`);
    if (transport === "ws") console.error(`server's stages, median ms: ${result.server}`);
  } finally {
    await browser.close();
    await server.stop();
  }
}

console.log("| size | transport | pacing | fps in | shown/s | age p50 | p95 | p99 | max | interval p50 | p95 | p99 | max | out of order |");
console.log("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
for (const size of sizes)
  for (const fps of rates)
    for (const [transport, pace] of [["ws", "smooth"], ["ws", "off"], ["webrtc", "smooth"], ["webrtc", "off"]])
      await measure(size, fps, transport, pace).catch((error) => console.log(`| ${size} | ${transport} | ${pace} | failed at ${fps} fps: ${error.message.split("\n")[0]} |`));
