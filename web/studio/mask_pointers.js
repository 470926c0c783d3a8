// Pointers on a MaskCanvas: one paints; with Shift or the middle button it moves the picture; two fingers move and zoom it.

const middle = (points) => ({ x: points.reduce((sum, p) => sum + p.x, 0) / points.length, y: points.reduce((sum, p) => sum + p.y, 0) / points.length });
const spread = ([a, b]) => Math.hypot(a.x - b.x, a.y - b.y);

class Pointers {
  constructor(mask) {
    this.mask = mask;
    this.down = new Map(); // id -> where, in canvas pixels
    this.last = null; // of a stroke, in picture pixels
    this.panning = false;
  }

  at(event) {
    const { canvas } = this.mask;
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * canvas.width) / box.width, y: ((event.clientY - box.top) * canvas.height) / box.height };
  }

  begin(event) {
    const { mask } = this;
    if (mask.image === null || this.down.size >= 2) return;
    mask.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.at(event));
    if (this.down.size === 2) {
      if (this.last) mask.forget(); // the first finger was no stroke
      this.last = null;
    } else if (event.button === 1 || event.shiftKey) this.panning = true;
    else {
      mask.remember();
      this.last = mask.toPicture(this.at(event));
      mask.stroke(this.last, this.last);
    }
    mask.draw();
    event.preventDefault();
    mask.canvas.focus();
  }

  move(event) {
    const { mask } = this;
    const now = this.at(event);
    mask.cursor = event.pointerType === "touch" ? null : now;
    if (this.last) {
      const to = mask.toPicture(now);
      mask.stroke(this.last, to);
      this.last = to;
    } else if (this.down.has(event.pointerId)) this.#drag(event.pointerId, now);
    mask.draw();
  }

  #drag(id, now) {
    const { mask } = this;
    const before = [...this.down.values()];
    this.down.set(id, now);
    const after = [...this.down.values()];
    if (!this.panning && after.length < 2) return; // the finger that is left after a pinch
    const [from, to] = [middle(before), middle(after)];
    mask.pan = { x: mask.pan.x + to.x - from.x, y: mask.pan.y + to.y - from.y };
    if (after.length === 2) mask.zoomBy(spread(after) / Math.max(spread(before), 1), to);
  }

  end(event) {
    if (!this.down.delete(event.pointerId)) return;
    if (this.last) this.mask.changed();
    this.last = null;
    this.panning = false;
  }
}

export function bindPointers(mask) {
  const pointers = new Pointers(mask);
  const { canvas } = mask;
  canvas.addEventListener("pointerdown", (event) => pointers.begin(event));
  canvas.addEventListener("pointermove", (event) => pointers.move(event));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.end(event));
  canvas.addEventListener("pointerleave", () => {
    mask.cursor = null;
    mask.draw();
  });
  // Beside the form the wheel scrolls it, unless Ctrl is held; on a canvas of its own it zooms.
  canvas.addEventListener("wheel", (event) => {
    if (mask.image === null || !(event.ctrlKey || canvas.closest("dialog"))) return;
    event.preventDefault();
    mask.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, pointers.at(event));
  }, { passive: false });
}
