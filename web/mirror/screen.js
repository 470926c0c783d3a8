// Full screen, a screen that stays awake, a pointer that hides.

const POINTER_REST = 3000; // ms

export async function toggleFullScreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.documentElement.requestFullscreen?.({ navigationUI: "hide" }).catch(() => {}); // phones may refuse
}

let wanted = false;
let lock = null;

// Browsers let go of the lock when the page is hidden: it is taken again when it returns.
export async function keepAwake(on) {
  wanted = on;
  if (!on) await lock?.release();
  else if (document.visibilityState === "visible") lock = await navigator.wakeLock?.request("screen").catch(() => null); // saving power wins
}
document.addEventListener("visibilitychange", () => keepAwake(wanted));

export function hideRestingPointer() {
  let timer = 0;
  const moved = () => {
    document.body.classList.remove("idle-pointer");
    clearTimeout(timer);
    timer = setTimeout(() => document.body.classList.add("idle-pointer"), POINTER_REST);
  };
  addEventListener("pointermove", moved);
  addEventListener("pointerdown", moved);
  moved();
}
