// The upscaling page: one picture, one or two upscalers.
import { fillMenu, make } from "../common/dom.js";
import { acceptPictures, base64Of, isPicture, readDataUrl } from "./files.js";

export class Extras {
  // onSubmit(request); onMany(files): each is enlarged; tell(text).
  constructor(place, { onSubmit, onMany, tell }) {
    this.url = null;
    this.input = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture" });
    this.input.addEventListener("change", () => this.#take(this.input.files[0]));
    this.many = make("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "aria-label": "Many pictures to enlarge" });
    this.many.addEventListener("change", () => {
      const files = [...this.many.files].filter(isPicture);
      this.many.value = "";
      if (files.length > 0) onMany(files);
    });
    this.drop = make("button", { type: "button", class: "drop", onclick: () => this.input.click() });
    this.first = make("select", { id: "x-upscaler1" });
    this.second = make("select", { id: "x-upscaler2" });
    this.visibility = make("input", { type: "range", id: "x-visibility", min: 0, max: 1, step: 0.05, value: 0 });
    this.scale = make("input", { type: "number", id: "x-scale", min: 1, max: 8, step: 0.1, value: 2 });
    this.mode = make("select", { id: "x-mode" }, make("option", { value: 0, text: "By scale" }), make("option", { value: 1, text: "To size" }));
    const side = (id) => make("input", { type: "number", id, min: 8, max: 8192, step: 8, value: 1024 });
    this.width = side("x-width");
    this.height = side("x-height");
    const shown = make("output", { text: this.visibility.value });
    this.visibility.addEventListener("input", () => (shown.value = this.visibility.value));
    const field = (label, input, ...more) => make("div", { class: "field" }, make("label", { for: input.id }, label, ...more), input);
    const bySize = [field("Width", this.width), field("Height", this.height)];
    const byScale = field("Scale", this.scale);
    const showMode = () => {
      byScale.hidden = this.mode.value === "1";
      for (const box of bySize) box.hidden = this.mode.value === "0";
    };
    this.mode.addEventListener("change", showMode);
    showMode();
    place.append(this.input, this.drop, make("div", { class: "group" }, field("Upscaler", this.first), field("Size", this.mode), byScale, ...bySize,
      field("Second upscaler", this.second), field("Its share", this.visibility, shown)),
      make("button", { type: "submit", class: "primary", text: "Upscale" }),
      make("button", { type: "button", class: "quiet", text: "Many pictures…", title: "Enlarge several files, a job each", onclick: () => this.many.click() }), this.many);
    place.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.url !== null) onSubmit(this.toRequest());
      else tell("Choose a picture to upscale.");
    });
    acceptPictures(place, (file) => this.#take(file));
    this.set(null);
  }

  async #take(file) {
    this.input.value = "";
    if (isPicture(file)) this.set(await readDataUrl(file));
  }

  setUpscalers(names) {
    const isNew = this.first.options.length === 0;
    for (const menu of [this.first, this.second]) fillMenu(menu, names.map((name) => [name, name]));
    if (isNew) this.first.value = names.find((name) => name !== "None") ?? "None";
  }

  set(url) {
    this.url = url;
    this.drop.replaceChildren(url === null ? "Drop a picture here, paste one, or click to choose" : make("img", { src: url, alt: "Picture to upscale" }));
  }

  toRequest(url = this.url) {
    return { init_images: [base64Of(url)], extras_resize_mode: Number(this.mode.value), upscaling_resize: Number(this.scale.value),
      upscaling_resize_w: Number(this.width.value), upscaling_resize_h: Number(this.height.value), upscaler_1: this.first.value,
      upscaler_2: this.second.value, upscaler_2_visibility: Number(this.visibility.value), save_images: true };
  }
}
