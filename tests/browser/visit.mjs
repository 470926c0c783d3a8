// A visitor of the mirror who comes and goes: visit.mjs URL SECONDS [SEED]. Three visits of four are over WebRTC, the
// others over WebSocket, in a real Chromium; each prints a line of JSON: {transport, shown, outOfOrder, reason}.
// transport is null for a visit that saw no picture, reason what the page said then. For tests/tools/soak.py.
import { launch, linkOf, openMirror, shownFrames } from "./lib/browser.mjs";

const [url, seconds, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] ?? 1)];
const CAMERA = { fps: 15, side: 256 };
const FIRST_PICTURE = 60000; // ms; sanitized servers on busy machines take their time
const until = Date.now() + 1000 * seconds;

let state = seed;
const random = () => (state = (state * 48271) % 2147483647) / 2147483647; // Park and Miller

// Blocks that are neither black nor white (a first, blurred picture) say nothing about the order. Text of each fault.
// ready: the video's readyState when it was drawn; none over WebSocket.
const tell = ({ number, width, ready }) => `frame ${number} (${width} pixels wide, ready state ${ready ?? "none"})`;
const outOfOrder = (frames) => {
  const clear = frames.filter((frame) => frame.clear);
  return clear.flatMap((frame, i) =>
    i && frame.number < clear[i - 1].number ? `${tell(frame)}, picture ${i} of ${clear.length}, after ${tell(clear[i - 1])}` : [],
  );
};

async function visit(browser, transport) {
  const page = await openMirror(browser, url, { query: `autoconnect&debug&transport=${transport}`, camera: CAMERA });
  try {
    await page.waitForFunction(() => globalThis.reverieTest.shown.length > 0, null, { timeout: FIRST_PICTURE, polling: 200 });
    await page.waitForTimeout(Math.max(0, Math.min(2000 + 20000 * random(), until - Date.now())));
    const frames = await shownFrames(page);
    const faults = outOfOrder(frames);
    return { transport, shown: frames.length, outOfOrder: faults.length, reason: [...faults, ...page.faults].join("; ") };
  } catch (error) {
    return { transport: null, shown: 0, outOfOrder: 0, reason: `${(await linkOf(page)).text}; ${error.message.split("\n")[0]}` };
  } finally {
    await page.context().close(); // as a closed tab: nothing is said to the server
  }
}

const browser = await launch();
try {
  for (let n = 0; Date.now() < until; n++) console.log(JSON.stringify(await visit(browser, n % 4 === 3 ? "ws" : "webrtc")));
} finally {
  await browser.close();
}
