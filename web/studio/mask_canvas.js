// The picture to start from with two layers painted over it: a mask (what is painted changes) and colours (a sketch that
// belongs to the picture). Brush, eraser, undo and redo, zoom and pan by keys, wheel or two fingers, and room added around
// it for outpainting. Both layers have the picture's own size.
import { make } from "../common/dom.js";
import { loadImage } from "./files.js";
import { bindKeys } from "./mask_keys.js";
import { bindPointers } from "./mask_pointers.js";

const UNDO_BYTES = 192 << 20;
const PAINT = "#ff2d78"; // seen on light pictures and dark ones
const HIGHEST = 520; // pixels, beside the form; and never all of the screen, or fingers could not scroll past it

const layer = () => document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const pixelsOf = (context) => context.getImageData(0, 0, context.canvas.width, context.canvas.height);

function isPainted(context) {
  const { data } = pixelsOf(context);
  for (let i = 3; i < data.length; i += 4) if (data[i] > 0) return true;
  return false;
}

export class MaskCanvas {
  constructor(place, onChange) {
    this.onChange = onChange;
    this.place = place;
    this.image = null;
    this.context = layer();
    this.mask = this.context.canvas;
    this.colours = layer();
    this.hasMask = false;
    this.hasColours = false;
    this.past = [];
    this.future = [];
    this.cursor = null; // where the brush is, in the canvas's pixels
    this.canvas = make("canvas", { class: "mask", width: 400, height: 300, tabindex: 0, role: "application",
      "aria-label": "Picture to start from; paint what is to change. Arrows: move the brush, Space: paint, E: eraser, C: mask or colours, brackets: brush size, plus and minus: zoom" });
    this.brush = make("input", { type: "range", min: 2, max: 200, value: 40, "aria-label": "Brush size", title: "Brush size ([ and ])" });
    this.eraser = make("button", { type: "button", text: "Eraser", "aria-pressed": "false", title: "Eraser (E)", onclick: () => this.#toggleEraser() });
    const tool = (text, title, onclick) => make("button", { type: "button", class: "quiet", text, title, "aria-label": title, onclick });
    this.sketch = make("button", { type: "button", text: "Colours", "aria-pressed": "false", title: "Paint colours into the picture instead of the mask (C)", onclick: () => this.#toggleSketch() });
    this.colour = make("input", { type: "color", value: "#d03020", "aria-label": "Colour", title: "Colour of the brush", hidden: true });
    this.undoButton = tool("↶", "Undo (Ctrl+Z)", () => this.undo());
    this.redoButton = tool("↷", "Redo (Ctrl+Shift+Z)", () => this.redo());
    place.append(this.canvas, make("div", { class: "row mask-tools" }, this.brush, this.sketch, this.colour, this.eraser), make("div", { class: "row mask-tools" }, this.undoButton, this.redoButton,
      tool("−", "Zoom out (-)", () => this.zoomBy(0.8)), tool("+", "Zoom in (+)", () => this.zoomBy(1.25)), tool("Fit", "The whole picture (0)", () => this.fit()),
      tool("Invert", "Mask the rest instead", () => this.invert()), tool("Clear", "Nothing painted", () => this.clear())));
    this.fit();
    bindPointers(this);
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    bindKeys(this);
    new ResizeObserver(() => this.#resize()).observe(place);
  }

  async show(url) {
    this.eraser.setAttribute("aria-pressed", false);
    if (this.isSketching) this.#toggleSketch(); // a new picture begins with the mask
    this.image = url === null ? null : await loadImage(url);
    for (const { canvas } of [this.context, this.colours]) {
      canvas.width = this.image?.naturalWidth ?? 1;
      canvas.height = this.image?.naturalHeight ?? 1;
    }
    [this.past, this.future] = [[], []];
    [this.hasMask, this.hasColours] = [false, false];
    this.#resize();
    this.fit();
    this.#showTools();
  }

  get size() {
    return this.image === null ? null : { width: this.mask.width, height: this.mask.height };
  }

  // "data:image/png;base64,..." in white on black, or null when nothing is painted.
  maskUrl() {
    if (this.image === null || !this.hasMask) return null;
    const flat = document.createElement("canvas");
    flat.width = this.mask.width;
    flat.height = this.mask.height;
    const context = flat.getContext("2d");
    context.drawImage(this.mask, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, flat.width, flat.height);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, flat.width, flat.height);
    return flat.toDataURL("image/png");
  }

  // The picture with its colours as a PNG, or null when it has none.
  colouredUrl() {
    if (this.image === null || !this.hasColours) return null;
    const flat = document.createElement("canvas");
    flat.width = this.mask.width;
    flat.height = this.mask.height;
    this.#flatten(flat.getContext("2d"), 0, 0);
    return flat.toDataURL("image/png");
  }

  #flatten(context, x, y) {
    context.drawImage(this.image, x, y);
    context.drawImage(this.colours.canvas, x, y);
  }

  // The colours alone, for keeping, and back.
  coloursUrl() {
    return this.hasColours ? this.colours.canvas.toDataURL("image/png") : null;
  }

  async setColours(url) {
    const image = await loadImage(url);
    this.colours.clearRect(0, 0, this.mask.width, this.mask.height);
    this.colours.drawImage(image, 0, 0, this.mask.width, this.mask.height);
    this.changed(this.colours);
  }

  // A mask in white on black, as maskUrl() gave it or from a file: laid over the picture, whatever its size.
  async setMask(url) {
    const image = await loadImage(url);
    this.remember(this.context);
    this.context.clearRect(0, 0, this.mask.width, this.mask.height);
    this.context.drawImage(image, 0, 0, this.mask.width, this.mask.height);
    const all = this.context.getImageData(0, 0, this.mask.width, this.mask.height);
    for (let i = 0; i < all.data.length; i += 4) all.data[i + 3] = (Math.max(all.data[i], all.data[i + 1], all.data[i + 2]) * all.data[i + 3]) / 255;
    this.context.putImageData(all, 0, 0);
    this.context.globalCompositeOperation = "source-in";
    this.context.fillStyle = PAINT;
    this.context.fillRect(0, 0, this.mask.width, this.mask.height);
    this.context.globalCompositeOperation = "source-over";
    this.changed(this.context);
  }

  // Adds room, pixels on each side, painted: returns the enlarged picture's URL.
  async outpaint({ left = 0, top = 0, right = 0, bottom = 0 }) {
    if (this.image === null) return null;
    const { width, height } = this.mask;
    const wide = document.createElement("canvas");
    wide.width = width + left + right;
    wide.height = height + top + bottom;
    const context = wide.getContext("2d");
    context.drawImage(this.image, 0, 0, wide.width, wide.height); // stretched below, so that the border has colours
    this.#flatten(context, left, top);
    const url = wide.toDataURL("image/png");
    await this.show(url);
    const overlap = (room) => (room > 0 ? 8 : 0); // so that the seam is drawn anew
    const [x, y] = [left + overlap(left), top + overlap(top)];
    this.context.fillStyle = PAINT;
    this.context.fillRect(0, 0, wide.width, wide.height);
    this.context.clearRect(x, y, left + width - overlap(right) - x, top + height - overlap(bottom) - y);
    this.changed(this.context);
    return url;
  }

  clear() {
    this.remember();
    this.target.clearRect(0, 0, this.mask.width, this.mask.height);
    this.changed();
  }

  invert() {
    this.remember(this.context);
    this.context.globalCompositeOperation = "xor";
    this.context.fillStyle = PAINT;
    this.context.fillRect(0, 0, this.mask.width, this.mask.height);
    this.context.globalCompositeOperation = "source-over";
    this.changed(this.context);
  }

  // The layer that the brush paints on.
  get target() {
    return this.isSketching ? this.colours : this.context;
  }

  #turn(from, to) {
    const step = from.pop();
    if (step === undefined) return;
    to.push({ on: step.on, pixels: pixelsOf(step.on) });
    step.on.putImageData(step.pixels, 0, 0);
    this.changed(step.on);
  }

  undo() {
    this.#turn(this.past, this.future);
  }

  redo() {
    this.#turn(this.future, this.past);
  }

  remember(on = this.target) {
    this.past.push({ on, pixels: pixelsOf(on) });
    this.future = [];
    const most = Math.max(3, Math.floor(UNDO_BYTES / (4 * this.mask.width * this.mask.height)));
    if (this.past.length > most) this.past.shift();
  }

  // Back to before the last remember(), as if it had not been.
  forget() {
    const { on, pixels } = this.past.pop();
    on.putImageData(pixels, 0, 0);
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.draw();
  }

  #toggleEraser() {
    this.eraser.setAttribute("aria-pressed", !this.isErasing);
  }

  get isErasing() {
    return this.eraser.getAttribute("aria-pressed") === "true";
  }

  #toggleSketch() {
    this.sketch.setAttribute("aria-pressed", !this.isSketching);
    this.colour.hidden = !this.isSketching;
  }

  get isSketching() {
    return this.sketch.getAttribute("aria-pressed") === "true";
  }

  #key(event) {
    const keys = { e: () => this.#toggleEraser(), c: () => this.#toggleSketch(), "[": () => this.brush.stepDown(8), "]": () => this.brush.stepUp(8), 0: () => this.fit(),
      "+": () => this.zoomBy(1.25), "=": () => this.zoomBy(1.25), "-": () => this.zoomBy(0.8) };
    const controls = { z: () => (event.shiftKey ? this.redo() : this.undo()), y: () => this.redo() };
    const act = (event.ctrlKey || event.metaKey ? controls : keys)[event.key.toLowerCase()];
    if (!act) return;
    act();
    this.draw();
    event.preventDefault();
    event.stopPropagation();
  }

  changed(on = this.target) {
    if (on === this.colours) this.hasColours = isPainted(on);
    else this.hasMask = isPainted(on);
    this.#showTools();
    this.draw();
    this.onChange();
  }

  #showTools() {
    this.undoButton.disabled = this.past.length === 0;
    this.redoButton.disabled = this.future.length === 0;
  }

  // Canvas pixels of a picture pixel.
  get scale() {
    return Math.min(this.canvas.width / this.mask.width, this.canvas.height / this.mask.height) * this.zoom;
  }

  get #origin() {
    const { scale } = this;
    return { x: (this.canvas.width - this.mask.width * scale) / 2 + this.pan.x, y: (this.canvas.height - this.mask.height * scale) / 2 + this.pan.y };
  }

  // From the canvas's pixels to the picture's.
  toPicture({ x, y }) {
    const { x: left, y: top } = this.#origin;
    return { x: (x - left) / this.scale, y: (y - top) / this.scale };
  }

  stroke(from, to) {
    const context = this.target;
    context.globalCompositeOperation = this.isErasing ? "destination-out" : "source-over";
    context.strokeStyle = this.isSketching ? this.colour.value : PAINT;
    context.lineWidth = Number(this.brush.value) / this.scale;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.01, to.y);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  // What lies at `at` (canvas pixels; the middle without) stays there.
  zoomBy(factor, at = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    const point = this.toPicture(at);
    this.zoom = Math.min(16, Math.max(1, this.zoom * factor));
    const { x, y } = this.#origin;
    this.pan = this.zoom === 1 ? { x: 0, y: 0 } : { x: this.pan.x + at.x - (x + point.x * this.scale), y: this.pan.y + at.y - (y + point.y * this.scale) };
    this.draw();
  }

  #resize() {
    const width = Math.max(100, Math.round(this.place.clientWidth));
    const highest = this.place.closest("dialog") ? Math.max(200, innerHeight - 230) : Math.min(HIGHEST, 0.55 * innerHeight);
    const ratio = this.image === null ? 0.5 : this.mask.height / this.mask.width;
    this.canvas.width = width;
    this.canvas.height = Math.round(Math.min(width * ratio, highest));
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.image === null) return;
    const { x, y } = this.#origin;
    const { scale } = this;
    context.imageSmoothingEnabled = scale < 2;
    for (const what of [this.image, this.colours.canvas]) context.drawImage(what, x, y, this.mask.width * scale, this.mask.height * scale);
    context.globalAlpha = 0.6;
    context.drawImage(this.mask, x, y, this.mask.width * scale, this.mask.height * scale);
    context.globalAlpha = 1;
    if (this.cursor) this.#drawBrush(context);
  }

  #drawBrush(context) {
    for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(this.cursor.x, this.cursor.y, Number(this.brush.value) / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
