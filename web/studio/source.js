// The panel of image-to-image: the picture to start from, its mask, and size helpers.
import { make } from "../common/dom.js";
import { acceptPictures, isPicture, readDataUrl } from "./files.js";
import { MaskCanvas } from "./mask_canvas.js";

const SIDES = [["All", "all sides", ["left", "top", "right", "bottom"]], ["←", "left", ["left"]], ["→", "right", ["right"]], ["↑", "top", ["top"]], ["↓", "bottom", ["bottom"]]];
const FACTORS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4];

export class Source {
  // onChange(source) after every change; onMany(files): pictures to be drawn one after the other; tell(text) shows a problem.
  constructor(place, { onChange, onMany, tell }) {
    this.place = place;
    this.url = null;
    this.onChange = onChange;
    this.tell = tell;
    this.input = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture to start from" });
    this.input.addEventListener("change", () => this.#take(this.input.files[0]));
    this.many = make("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "aria-label": "Many pictures" });
    this.many.addEventListener("change", () => {
      const files = [...this.many.files].filter(isPicture);
      this.many.value = "";
      if (files.length > 0) onMany(files);
    });
    this.maskFile = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Mask, white where the picture changes" });
    this.maskFile.addEventListener("change", () => this.#takeMask(this.maskFile.files[0]));
    this.hint = make("button", { type: "button", class: "drop", text: "Drop a picture here, paste one, or click to choose", onclick: () => this.input.click() });
    this.box = make("div", { class: "painting", hidden: true });
    this.mask = new MaskCanvas(this.box, () => onChange(this));
    const tool = (text, title, onclick) => make("button", { type: "button", class: "quiet", text, title, onclick });
    this.home = make("div", {}, this.box);
    this.tools = make("div", { class: "row", hidden: true },
      tool("Paint large…", "Paint on the whole screen", () => this.#large()), tool("Other…", "Another picture", () => this.input.click()),
      tool("Mask…", "A mask from a file: white changes", () => this.maskFile.click()), tool("Remove", "No picture", () => this.set(null)));
    this.factor = make("select", { "aria-label": "Size, times the picture's", title: "Draw at this picture's size, times this" }, make("option", { value: "", text: "Its size ×…" }),
      ...FACTORS.map((value) => make("option", { value, text: `Its size × ${value}` })));
    this.factor.addEventListener("change", () => this.#resize());
    this.sizes = make("div", { class: "row" }, this.factor, tool("Many pictures…", "Draw each of several files with these settings, a job each", () => this.many.click()));
    this.room = make("input", { type: "number", id: "outpaint-pixels", min: 8, max: 1024, step: 8, value: 128 });
    this.outpaint = make("details", { hidden: true }, make("summary", { text: "Outpaint" }), make("div", { class: "row" },
      make("label", { for: "outpaint-pixels", class: "unit", text: "Pixels" }), this.room,
      ...SIDES.map(([text, title, sides]) => make("button", { type: "button", class: "quiet", text, title: `Add room: ${title}`, "aria-label": `Add room: ${title}`, onclick: () => this.#outpaint(sides) }))));
    place.append(this.input, this.many, this.maskFile, this.hint, this.home, this.tools, this.sizes, this.outpaint);
    this.factor.hidden = true;
    acceptPictures(place, (file) => this.#take(file));
  }

  async #take(file) {
    this.input.value = "";
    if (!isPicture(file)) return;
    await this.set(await readDataUrl(file));
  }

  async #takeMask(file) {
    this.maskFile.value = "";
    if (!isPicture(file)) return;
    await this.mask.setMask(await readDataUrl(file)).catch((error) => this.tell(error.message));
  }

  #resize() {
    const times = Number(this.factor.value), { width, height } = this.mask.size;
    this.factor.value = "";
    if (times > 0) this.onSize?.({ width: width * times, height: height * times });
  }

  async set(url) {
    try {
      await this.mask.show(url);
      this.url = url;
    } catch (error) {
      this.tell(error.message);
      return;
    }
    this.hint.hidden = url !== null;
    for (const part of [this.box, this.tools, this.outpaint, this.factor]) part.hidden = url === null;
    this.mask.fit();
    this.onChange(this);
  }

  // The painting moves into a dialog and back.
  #large() {
    const dialog = make("dialog", { class: "large-mask", "aria-label": "Paint the mask" }, this.box, make("div", { class: "row" },
      make("button", { type: "button", class: "primary", text: "Done", onclick: () => dialog.close() })));
    dialog.addEventListener("close", () => {
      this.home.append(this.box);
      dialog.remove();
      this.mask.fit();
    });
    document.body.append(dialog);
    dialog.showModal();
    this.mask.fit();
  }

  async #outpaint(sides) {
    const pixels = Math.max(8, Math.round(Number(this.room.value) / 8) * 8);
    this.url = await this.mask.outpaint(Object.fromEntries(sides.map((side) => [side, pixels])));
    this.onSize?.(this.mask.size);
    this.onChange(this);
  }

  get hasMask() {
    return this.url !== null && this.mask.hasMask === true;
  }

  // The part of an img2img request that comes from here.
  toRequest() {
    const mask = this.mask.maskUrl();
    return { init_images: [this.mask.colouredUrl() ?? this.url], ...(mask === null ? {} : { mask }) };
  }
}
