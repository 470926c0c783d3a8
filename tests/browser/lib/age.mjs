// Age of the shown frame, camera to screen: from drawing a frame's number into the camera's canvas until the picture
// that carries this number was drawn into the mirror's canvas.
import { openMirror, shownFrames, waitForLink } from "./browser.mjs";

const rank = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];

export function summarise(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return { n: sorted.length, p50: rank(sorted, 0.5), p95: rank(sorted, 0.95), p99: rank(sorted, 0.99), max: sorted.at(-1) };
}

// {age, interval, drawn, shown, outOfOrder, server}, in milliseconds; `server` is the median of each stage.
// `frames` holds each shown one: {number, at, age}.
export async function measureAge(browser, url, { transport, camera = {}, seconds = 10, warmUp = 2 }) {
  const page = await openMirror(browser, url, { query: `autoconnect&debug&transport=${transport}`, camera });
  await waitForLink(page, { state: "live", transport });
  await page.waitForTimeout(warmUp * 1000);
  const begin = await page.evaluate(() => ({ shown: globalThis.reverieTest.shown.length, drawn: globalThis.reverieTest.drawn.size }));
  await page.waitForTimeout(seconds * 1000);
  const frames = (await shownFrames(page)).slice(begin.shown);
  const drawn = (await page.evaluate(() => globalThis.reverieTest.drawn.size)) - begin.drawn;
  const figures = await page.evaluate(() => [...document.querySelectorAll("#figures dd")].map((e) => e.textContent));
  await page.context().close();
  const intervals = frames.slice(1).map((frame, i) => frame.at - frames[i].at);
  return {
    age: summarise(frames.map((frame) => frame.age).filter(Number.isFinite)),
    interval: summarise(intervals),
    drawn,
    shown: frames.length,
    outOfOrder: frames.slice(1).filter((frame, i) => frame.number < frames[i].number).length,
    server: figures[2],
    frames,
  };
}
