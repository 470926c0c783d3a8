// Painting on a MaskCanvas without a pointer: arrows move the brush (Shift: far), Space paints where it is, and along its
// way while it is held.

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Keys {
  constructor(mask) {
    this.mask = mask;
    this.isPainting = false;
  }

  #dab(to) {
    const { mask } = this;
    const at = mask.toPicture(mask.cursor);
    mask.stroke(at, to ? mask.toPicture(to) : at);
    if (to) mask.cursor = to;
    mask.draw();
  }

  #move([x, y], isFar) {
    const { mask } = this;
    const step = Math.max(2, Number(mask.brush.value) / 4) * (isFar ? 4 : 1);
    const inside = (value, most) => Math.min(most, Math.max(0, value));
    const to = { x: inside(mask.cursor.x + x * step, mask.canvas.width), y: inside(mask.cursor.y + y * step, mask.canvas.height) };
    if (this.isPainting) this.#dab(to);
    else mask.cursor = to;
    mask.draw();
  }

  down(event) {
    const { mask } = this;
    if (mask.image === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = WAYS[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    mask.cursor ??= { x: mask.canvas.width / 2, y: mask.canvas.height / 2 };
    if (way) this.#move(way, event.shiftKey);
    else if (!this.isPainting) {
      this.isPainting = true;
      mask.remember();
      this.#dab();
    }
  }

  up() {
    if (!this.isPainting) return;
    this.isPainting = false;
    this.mask.changed();
  }
}

export function bindKeys(mask) {
  const keys = new Keys(mask);
  mask.canvas.addEventListener("keydown", (event) => keys.down(event));
  mask.canvas.addEventListener("keyup", (event) => event.key === " " && keys.up());
  mask.canvas.addEventListener("blur", () => {
    keys.up();
    mask.cursor = null;
    mask.draw();
  });
}
