// Age of the shown frame, camera to screen: from drawing a frame's number into the camera's canvas until the picture
// that carries this number was drawn into the mirror's canvas.
import { openMirror, shownFrames, waitForLink } from "./browser.mjs";

const rank = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];

export function summarise(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return { n: sorted.length, p50: rank(sorted, 0.5), p95: rank(sorted, 0.95), p99: rank(sorted, 0.99), max: sorted.at(-1) };
}

const state = (page) =>
  page.evaluate(() => ({
    shown: globalThis.reverieTest.shown.length,
    drawn: globalThis.reverieTest.drawn.size,
    width: document.getElementById("picture").width,
    figures: [...document.querySelectorAll("#figures dd")].map((e) => e.textContent),
  }));

// {age, interval, drawn, shown, unread, width, outOfOrder, server}, times in milliseconds; `server` is the median of each
// stage, `unread` counts pictures whose number was too blurred to be read: they tell no age. `frames` holds each shown one:
// {number, clear, at, age}. The page sends pictures as large as the camera's.
export async function measureAge(browser, url, { transport, codec = "auto", camera = {}, seconds = 10, warmUp = 2 }) {
  const script = `localStorage.setItem("reverie.size", "${camera.side ?? 512}");`;
  const page = await openMirror(browser, url, { query: `autoconnect&debug&transport=${transport}&codec=${codec}`, camera, script });
  try {
    await waitForLink(page, { state: "live", transport });
    await page.waitForTimeout(warmUp * 1000);
    const begin = await state(page);
    await page.waitForTimeout(seconds * 1000);
    const end = await state(page);
    const frames = (await shownFrames(page)).slice(begin.shown, end.shown);
    const read = frames.filter((frame) => frame.clear && Number.isFinite(frame.age));
    return {
      age: summarise(read.map((frame) => frame.age)),
      interval: summarise(frames.slice(1).map((frame, i) => frame.at - frames[i].at)),
      drawn: end.drawn - begin.drawn,
      shown: frames.length,
      unread: frames.length - read.length,
      width: end.width,
      outOfOrder: read.slice(1).filter((frame, i) => frame.number < read[i].number).length,
      server: end.figures[2],
      frames,
    };
  } finally {
    await page.context().close();
  }
}
