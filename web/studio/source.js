// The panel of image-to-image: the picture to start from, its mask, and size helpers.
import { make } from "../common/dom.js";
import { acceptPictures, isPicture, readDataUrl } from "./files.js";
import { MaskCanvas } from "./mask_canvas.js";

const OUTPAINT = 128; // pixels added on each side

export class Source {
  // onChange(source) after every change; tell(text) shows a problem.
  constructor(place, onChange, tell) {
    this.place = place;
    this.url = null;
    this.onChange = onChange;
    this.tell = tell;
    this.input = make("input", { type: "file", accept: "image/*", hidden: true });
    this.input.addEventListener("change", () => this.#take(this.input.files[0]));
    this.hint = make("button", { type: "button", class: "drop", text: "Drop a picture here, paste one, or click to choose", onclick: () => this.input.click() });
    this.box = make("div", { class: "painting", hidden: true });
    this.mask = new MaskCanvas(this.box, () => onChange(this));
    const tool = (text, title, onclick) => make("button", { type: "button", class: "quiet", text, title, onclick });
    this.tools = make("div", { class: "row", hidden: true },
      tool("Other picture…", "Choose another", () => this.input.click()),
      tool("Its size", "Draw at this picture's size", () => this.onSize?.(this.mask.size)),
      tool("Outpaint", `Add ${OUTPAINT} pixels on each side`, () => this.#outpaint()),
      tool("Remove", "No picture", () => this.set(null)));
    place.append(this.input, this.hint, this.box, this.tools);
    acceptPictures(place, (file) => this.#take(file));
  }

  async #take(file) {
    this.input.value = "";
    if (!isPicture(file)) return;
    await this.set(await readDataUrl(file));
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
    this.box.hidden = url === null;
    this.tools.hidden = url === null;
    this.mask.fit();
    this.onChange(this);
  }

  async #outpaint() {
    this.url = await this.mask.outpaint(OUTPAINT);
    this.onSize?.(this.mask.size);
    this.onChange(this);
  }

  get hasMask() {
    return this.url !== null && this.mask.hasMask === true;
  }

  // The part of an img2img request that comes from here.
  toRequest() {
    const mask = this.mask.maskUrl();
    return { init_images: [this.url], ...(mask === null ? {} : { mask }) };
  }
}
