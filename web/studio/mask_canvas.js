// The picture to start from with a mask painted over it: brush, eraser, undo, zoom and pan, and room added around
// it for outpainting. The mask has the picture's own size; white is what changes.
import { make } from "../common/dom.js";
import { loadImage } from "./files.js";

const UNDO = 30;
const PAINT = "#ffffff";

export class MaskCanvas {
  constructor(place, onChange) {
    this.onChange = onChange;
    this.image = null;
    this.mask = document.createElement("canvas");
    this.undoStack = [];
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.canvas = make("canvas", { class: "mask", width: 400, height: 300, tabindex: 0, role: "img",
      "aria-label": "Picture to start from; paint what is to change" });
    this.brush = make("input", { type: "range", min: 2, max: 200, value: 40, "aria-label": "Brush size", title: "Brush size ([ and ])" });
    this.eraser = make("button", { type: "button", text: "Eraser", "aria-pressed": "false", title: "E", onclick: () => this.#toggleEraser() });
    const tool = (text, title, onclick) => make("button", { type: "button", class: "quiet", text, title, onclick });
    place.append(this.canvas, make("div", { class: "row" }, this.brush, this.eraser,
      tool("Undo", "Ctrl+Z", () => this.undo()), tool("Clear", "No mask", () => this.clear()), tool("Invert", "Swap", () => this.invert()),
      tool("Fit", "The whole picture (0)", () => this.fit())));
    this.#bindPointer();
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resize()).observe(place);
  }

  async show(url) {
    this.image = url === null ? null : await loadImage(url);
    this.mask.width = this.image?.naturalWidth ?? 1;
    this.mask.height = this.image?.naturalHeight ?? 1;
    this.undoStack = [];
    this.hasMask = false;
    this.#resize();
    this.fit();
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
    context.fillStyle = "#000";
    context.fillRect(0, 0, flat.width, flat.height);
    context.drawImage(this.mask, 0, 0);
    return flat.toDataURL("image/png");
  }

  // Adds room on all four sides, masked: returns the enlarged picture's URL, whose mask is painted already.
  async outpaint(pixels) {
    if (this.image === null) return null;
    const { width, height } = this.mask;
    const wide = document.createElement("canvas");
    wide.width = width + 2 * pixels;
    wide.height = height + 2 * pixels;
    const context = wide.getContext("2d");
    context.drawImage(this.image, 0, 0, wide.width, wide.height); // stretched below, so that the border has colours
    context.drawImage(this.image, pixels, pixels);
    const url = wide.toDataURL("image/png");
    await this.show(url);
    const mask = this.mask.getContext("2d");
    mask.fillStyle = PAINT;
    mask.fillRect(0, 0, wide.width, wide.height);
    mask.clearRect(pixels + 8, pixels + 8, width - 16, height - 16);
    this.#changed();
    return url;
  }

  clear() {
    this.#remember();
    this.mask.getContext("2d").clearRect(0, 0, this.mask.width, this.mask.height);
    this.#changed();
  }

  invert() {
    this.#remember();
    const context = this.mask.getContext("2d");
    context.globalCompositeOperation = "xor";
    context.fillStyle = PAINT;
    context.fillRect(0, 0, this.mask.width, this.mask.height);
    context.globalCompositeOperation = "source-over";
    this.#changed();
  }

  undo() {
    const before = this.undoStack.pop();
    if (before === undefined) return;
    this.mask.getContext("2d").putImageData(before, 0, 0);
    this.#changed();
  }

  fit() {
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.draw();
  }

  #toggleEraser() {
    this.eraser.setAttribute("aria-pressed", this.eraser.getAttribute("aria-pressed") !== "true");
  }

  #key(event) {
    const keys = { e: () => this.#toggleEraser(), "[": () => this.brush.stepDown(8), "]": () => this.brush.stepUp(8), 0: () => this.fit(),
      "+": () => this.#zoomAt(1.25), "-": () => this.#zoomAt(0.8) };
    if (event.ctrlKey && event.key === "z") this.undo();
    else if (keys[event.key] && !event.ctrlKey) keys[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #remember() {
    this.undoStack.push(this.mask.getContext("2d").getImageData(0, 0, this.mask.width, this.mask.height));
    if (this.undoStack.length > UNDO) this.undoStack.shift();
  }

  #changed() {
    const { data } = this.mask.getContext("2d").getImageData(0, 0, this.mask.width, this.mask.height);
    this.hasMask = false;
    for (let i = 3; i < data.length && !this.hasMask; i += 4) this.hasMask = data[i] > 0;
    this.draw();
    this.onChange();
  }

  // Canvas pixels of a picture pixel at zoom 1.
  get #scale() {
    return Math.min(this.canvas.width / this.mask.width, this.canvas.height / this.mask.height) * this.zoom;
  }

  get #origin() {
    const scale = this.#scale;
    return { x: (this.canvas.width - this.mask.width * scale) / 2 + this.pan.x, y: (this.canvas.height - this.mask.height * scale) / 2 + this.pan.y };
  }

  #toPicture(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) * this.canvas.width) / box.width;
    const y = ((event.clientY - box.top) * this.canvas.height) / box.height;
    const { x: left, y: top } = this.#origin;
    return { x: (x - left) / this.#scale, y: (y - top) / this.#scale };
  }

  #stroke(from, to) {
    const context = this.mask.getContext("2d");
    context.globalCompositeOperation = this.eraser.getAttribute("aria-pressed") === "true" ? "destination-out" : "source-over";
    context.strokeStyle = PAINT;
    context.lineWidth = Number(this.brush.value) / this.#scale;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.01, to.y);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  #bindPointer() {
    let last = null;
    let panning = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      if (this.image === null) return;
      this.canvas.setPointerCapture(event.pointerId);
      if (event.button === 1 || event.shiftKey) panning = { x: event.clientX - this.pan.x, y: event.clientY - this.pan.y };
      else {
        this.#remember();
        last = this.#toPicture(event);
        this.#stroke(last, last);
        this.draw();
      }
      event.preventDefault();
      this.canvas.focus();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (panning) this.pan = { x: event.clientX - panning.x, y: event.clientY - panning.y };
      else if (last) {
        const now = this.#toPicture(event);
        this.#stroke(last, now);
        last = now;
      } else return;
      this.draw();
    });
    const end = () => {
      if (last) this.#changed();
      last = null;
      panning = null;
    };
    this.canvas.addEventListener("pointerup", end);
    this.canvas.addEventListener("pointercancel", end);
    this.canvas.addEventListener("wheel", (event) => {
      if (this.image === null || !event.ctrlKey) return;
      event.preventDefault();
      this.#zoomAt(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    }, { passive: false });
  }

  #zoomAt(factor) {
    this.zoom = Math.min(8, Math.max(1, this.zoom * factor));
    if (this.zoom === 1) this.pan = { x: 0, y: 0 };
    this.draw();
  }

  #resize() {
    const width = Math.max(100, Math.round(this.canvas.parentElement.clientWidth));
    const ratio = this.image === null ? 0.5 : this.mask.height / this.mask.width;
    this.canvas.width = width;
    this.canvas.height = Math.round(Math.min(width * ratio, 520));
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.image === null) return;
    const { x, y } = this.#origin;
    const scale = this.#scale;
    context.imageSmoothingEnabled = scale < 2;
    context.drawImage(this.image, x, y, this.mask.width * scale, this.mask.height * scale);
    context.globalAlpha = 0.55;
    context.drawImage(this.mask, x, y, this.mask.width * scale, this.mask.height * scale);
    context.globalAlpha = 1;
  }
}
