// Prints the table of docs/latency-browser.md: measure_age.mjs [SECONDS]. REVERIE names the program.
import { measureAge } from "./lib/age.mjs";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

const seconds = Number(process.argv[2] ?? 30);
const ms = (value) => value.toFixed(0);
const line = ({ p50, p95, p99, max }) => [p50, p95, p99, max].map(ms).join(" | ");

console.log("| transport | pacing | fps in | shown/s | age p50 | p95 | p99 | max | interval p50 | p95 | p99 | max | out of order |");
console.log("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
for (const [transport, pace] of [["ws", "smooth"], ["ws", "off"], ["webrtc", "smooth"], ["webrtc", "off"]]) {
  const server = await Server.start();
  await fetch(`${server.url}/api/state`, { method: "POST", body: JSON.stringify({ pace }) });
  const browser = await launch();
  const result = await measureAge(browser, server.url, { transport, seconds });
  const rate = (n) => (n / seconds).toFixed(1);
  console.log(`| ${transport} | ${pace} | ${rate(result.drawn)} | ${rate(result.shown)} | ${line(result.age)} | ${line(result.interval)} | ${result.outOfOrder} |`);
  if (transport === "ws") console.error(`server's stages, median ms: ${result.server}`);
  await browser.close();
  await server.stop();
}
