// ControlNet units: a picture each, its preprocessor and model, how strongly and when it steers.
import { fillMenu, make } from "../common/dom.js";
import { detect, lists } from "./api.js";
import { acceptPictures, base64Of, fetchDataUrl, isPicture, readDataUrl } from "./files.js";
import { PoseEditor } from "./pose_editor.js";

const UNITS = 3;
const MODES = ["Balanced", "My prompt is more important", "ControlNet is more important"];
const RESIZES = ["Just Resize", "Crop and Resize", "Resize and Fill"];

class Unit {
  constructor(index, { onChange, shownUrl, shape, tell }) {
    this.url = null;
    this.people = null; // of the pose editor, as it was left
    this.shownUrl = shownUrl;
    this.shape = shape;
    this.onChange = onChange;
    this.tell = tell;
    const id = (name) => `cn${index}-${name}`;
    const slider = (name, max, value) => make("input", { type: "range", id: id(name), min: 0, max, step: 0.01, value });
    this.enabled = make("input", { type: "checkbox", id: id("enabled") });
    this.module = make("select", { id: id("module") });
    this.model = make("select", { id: id("model") });
    const threshold = (name) => make("input", { type: "number", id: id(name), min: -1, max: 1000, step: 1, value: -1 });
    this.resolution = make("input", { type: "number", id: id("resolution"), min: 64, max: 2048, step: 8, value: 512 });
    this.a = threshold("a");
    this.b = threshold("b");
    this.perfect = make("input", { type: "checkbox", id: id("perfect") });
    this.mode = make("select", { id: id("mode") }, ...MODES.map((text) => make("option", { value: text, text })));
    this.resize = make("select", { id: id("resize") }, ...RESIZES.map((text) => make("option", { value: text, text })));
    this.resize.value = RESIZES[1];
    this.weight = slider("weight", 2, 1);
    this.start = slider("start", 1, 0);
    this.end = slider("end", 1, 1);
    this.input = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture that steers" });
    this.input.addEventListener("change", () => this.#take(this.input.files[0]));
    this.drop = make("button", { type: "button", class: "drop", onclick: () => this.input.click() });
    this.preview = make("img", { class: "map", alt: "What the preprocessor makes of it", hidden: true });
    acceptPictures(this.drop, (file) => this.#take(file));
    const field = (label, input) => {
      const shown = input.type === "range" ? make("output", { text: input.value }) : null;
      input.addEventListener("input", () => {
        if (shown) shown.value = input.value;
        onChange();
      });
      return make("div", { class: "field" }, make("label", { for: input.id }, label, ...(shown ? [shown] : [])), input);
    };
    for (const box of [this.enabled, this.perfect]) box.addEventListener("change", onChange);
    this.#showPicture();
    this.element = make("fieldset", { class: "unit-box" }, make("legend", {}, make("label", { class: "check" }, this.enabled, `Unit ${index + 1}`)),
      this.input, this.drop, make("div", { class: "row" },
        make("button", { type: "button", class: "quiet", text: "Take shown", title: "The picture in the middle", onclick: () => this.#takeShown() }),
        make("button", { type: "button", class: "quiet", text: "Preview", title: "Run the preprocessor", onclick: () => this.#preview() }),
        make("button", { type: "button", class: "quiet", text: "Draw a pose…", onclick: () => this.#editPose() }),
        make("button", { type: "button", class: "quiet", text: "Remove", title: "No picture", onclick: () => this.set(null) })),
      this.preview, make("div", { class: "group" }, field("Preprocessor", this.module), field("Model", this.model), field("Weight", this.weight),
        field("Control mode", this.mode), field("Begins", this.start), field("Ends", this.end), field("Resize", this.resize), field("Preprocessor's pixels", this.resolution),
        field("Threshold A (-1: its own)", this.a), field("Threshold B (-1: its own)", this.b)),
      make("label", { class: "check" }, this.perfect, "Pixel perfect: preprocess at the picture's size"));
  }

  setLists(modules, models) {
    fillMenu(this.module, modules.map((text) => [text, text]));
    fillMenu(this.model, ["None", ...models].map((text) => [text, text]));
  }

  async #take(file) {
    this.input.value = "";
    if (isPicture(file)) this.set(await readDataUrl(file));
  }

  async #takeShown() {
    const url = this.shownUrl();
    if (url === null) return this.tell("Draw or choose a picture first: the one in the middle is taken.");
    return fetchDataUrl(url).then((data) => this.set(data), (error) => this.tell(error.message));
  }

  set(url) {
    this.url = url;
    this.#showPicture();
    this.preview.hidden = true;
    this.enabled.checked = url !== null;
    this.onChange();
  }

  #showPicture() {
    this.drop.replaceChildren(this.url === null ? "Picture: drop, paste or click" : make("img", { src: this.url, alt: "Picture that steers" }));
  }

  async #preview() {
    if (this.url === null) return this.tell("Choose a picture first: drop one on the unit, or take the one shown.");
    try {
      const { images } = await detect(this.module.value, base64Of(this.url), { resolution: Number(this.resolution.value), a: Number(this.a.value), b: Number(this.b.value) });
      this.preview.src = `data:image/png;base64,${images[0]}`;
      this.preview.hidden = false;
    } catch (error) {
      this.tell(error.message);
    }
  }

  #editPose() {
    const onDone = (url, people) => {
      this.people = people;
      this.module.value = "none";
      const pose = [...this.model.options].find((option) => /pose/i.test(option.value));
      if (pose) this.model.value = pose.value;
      this.set(url);
    };
    new PoseEditor({ shape: this.shape(), people: this.people, onDone }).open();
  }

  get isUsed() {
    return this.enabled.checked && this.url !== null;
  }

  toRequest() {
    return { enabled: true, image: base64Of(this.url), module: this.module.value, model: this.model.value, weight: Number(this.weight.value),
      guidance_start: Number(this.start.value), guidance_end: Number(this.end.value), control_mode: this.mode.value, resize_mode: this.resize.value,
      processor_res: Number(this.resolution.value), threshold_a: Number(this.a.value), threshold_b: Number(this.b.value), pixel_perfect: this.perfect.checked };
  }

  // What is kept of it, without the picture, and back.
  get state() {
    const inputs = Object.entries(this.#inputs()).map(([name, input]) => [name, input.type === "checkbox" ? input.checked : input.value]);
    return { ...Object.fromEntries(inputs), people: this.people };
  }

  set state(values) {
    this.people = values.people ?? null;
    for (const [name, input] of Object.entries(this.#inputs())) {
      if (values[name] === undefined) continue;
      if (input.type === "checkbox") input.checked = values[name];
      else if (input.tagName !== "SELECT" || [...input.options].some((option) => option.value === values[name])) input.value = values[name];
      const shown = input.parentElement.querySelector("output");
      if (shown) shown.value = input.value;
    }
  }

  #inputs() {
    const { enabled, module, model, mode, resize, weight, start, end, resolution, a, b, perfect } = this;
    return { enabled, module, model, mode, resize, weight, start, end, resolution, a, b, perfect };
  }
}

export class ControlNet {
  // onChange(): a setting or picture did; shownUrl(): the picture in the middle, or null; shape(): {width, height} of what
  // is to be drawn.
  constructor(place, state, { onChange, shownUrl, shape, tell }) {
    this.state = state;
    this.onChange = onChange;
    this.tell = tell;
    this.units = Array.from({ length: UNITS }, (_, index) => new Unit(index, { onChange: () => this.#show(), shownUrl, shape, tell }));
    place.append(...this.units.map((unit) => unit.element));
  }

  async load() {
    try {
      const [{ module_list: modules }, { model_list: models }] = await Promise.all([lists.controlModules(), lists.controlModels()]);
      for (const unit of this.units) unit.setLists(modules, models);
    } catch (error) {
      this.tell(error.message);
    }
  }

  #show() {
    const used = this.units.filter((unit) => unit.isUsed).length;
    this.state.textContent = used ? `${used} in use` : "";
    this.onChange();
  }

  toRequest() {
    const used = this.units.filter((unit) => unit.isUsed);
    return used.length ? { alwayson_scripts: { ControlNet: { args: used.map((unit) => unit.toRequest()) } } } : {};
  }
}
