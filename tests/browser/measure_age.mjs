// Prints the table of docs/latency-browser.md: measure_age.mjs [SECONDS [SIZES [RATES]]], such as 8 512,1024 30,60.
// REVERIE names the program. A row that failed is tried once more; then it says why, and the table goes on.
import { measureAge } from "./lib/age.mjs";
import { launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";

const list = (text) => text.split(",").map(Number);
const seconds = Number(process.argv[2] ?? 8);
const sizes = list(process.argv[3] ?? "512,1024");
const rates = list(process.argv[4] ?? "30,60");
const WAYS = [
  { name: "ws", transport: "ws", pace: "smooth" },
  { name: "ws", transport: "ws", pace: "off" },
  { name: "webrtc VP8", transport: "webrtc", codec: "vp8", pace: "smooth" },
  { name: "webrtc VP8", transport: "webrtc", codec: "vp8", pace: "off" },
  { name: "webrtc H.264", transport: "webrtc", codec: "h264", pace: "smooth" },
];
const COLUMNS = ["size", "asked fps", "transport", "pacing", "camera frames", "a second", "shown", "a second", "pixels wide", "age p50", "p95", "p99", "max",
  "interval p50", "p95", "p99", "max", "not read", "out of order"];

const ms = (value) => value?.toFixed(0) ?? "–";
const four = ({ p50, p95, p99, max }) => [p50, p95, p99, max].map(ms);
const row = (cells) => console.log(`| ${cells.join(" | ")} |`);

async function measure(size, fps, { transport, codec, pace }) {
  const server = await Server.start({ size: `${size}x${size}` });
  let browser;
  try {
    browser = await launch();
    await fetch(`${server.url}/api/state`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ pace }) });
    return await measureAge(browser, server.url, { transport, codec, seconds, camera: { fps, side: size, rich: true } });
  } finally {
    await browser?.close();
    await server.stop();
  }
}

async function printRow(size, fps, way, isLast = false) {
  const head = [size, fps, way.name, way.pace];
  try {
    const { drawn, shown, age, interval, unread, outOfOrder, width, server } = await measure(size, fps, way);
    const rate = (n) => (n / seconds).toFixed(1);
    row([...head, drawn, rate(drawn), shown, rate(shown), width, ...four(age), ...four(interval), unread, outOfOrder]);
    console.error(`${head.join(" ")}: server's stages, median ms: ${server}`);
  } catch (error) {
    if (!isLast) await printRow(size, fps, way, true);
    else row([...head, `failed: ${error.message.split("\n")[0]}`]);
  }
}

row(COLUMNS);
console.log(`|${"---|".repeat(COLUMNS.length)}`);
for (const size of sizes) for (const fps of rates) for (const way of WAYS) await printRow(size, fps, way);
