// Shows what a picture says about its making, and hands it to the form.
import { make } from "../common/dom.js";
import { pngInfo } from "./api.js";
import { acceptPictures, base64Of, isPicture, readDataUrl } from "./files.js";

export class PngInfo {
  constructor(place, { onUse, onSend, tell }) {
    this.url = null;
    this.input = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture" });
    this.input.addEventListener("change", () => this.#take(this.input.files[0]));
    this.drop = make("button", { type: "button", class: "drop", text: "Drop a picture here to read its settings", onclick: () => this.input.click() });
    this.text = make("pre", { id: "pnginfo-text" });
    const tool = (text, onclick) => make("button", { type: "button", text, onclick });
    this.tools = make("div", { class: "row", hidden: true }, tool("Use these settings", () => onUse(this.text.textContent)),
      tool("To image", () => onSend("img2img", { url: this.url })), tool("To inpaint", () => onSend("inpaint", { url: this.url })), tool("To upscale", () => onSend("extras", { url: this.url })));
    this.tell = tell;
    place.append(this.input, this.drop, this.tools, this.text);
    acceptPictures(place, (file) => this.#take(file));
  }

  async #take(file) {
    this.input.value = "";
    if (isPicture(file)) await this.set(await readDataUrl(file));
  }

  async set(url) {
    this.url = url;
    this.drop.replaceChildren(make("img", { src: url, alt: "Picture" }));
    try {
      const { info } = await pngInfo(base64Of(url));
      this.text.textContent = info || "This picture says nothing about its making.";
      this.tools.hidden = false;
    } catch (error) {
      this.tell(error.message);
    }
  }
}
