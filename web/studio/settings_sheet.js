// What this user's pictures and files are made with beyond the form: A1111's options, kept by the server at once.
import { byId, make } from "../common/dom.js";
import { getOptions, setOptions } from "./api.js";

const FORMATS = ["png", "jpg", "webp"];
// [option, label, what it begins with, {choices, min, max, step, hint}]
const GROUPS = [
  ["Files", [
    ["samples_format", "Format of pictures", "png", { choices: FORMATS }],
    ["grid_format", "Format of grids", "png", { choices: FORMATS }],
    ["jpeg_quality", "Quality of JPEG and WebP", 80, { min: 1, max: 100 }],
    ["webp_lossless", "WebP without loss", false],
    ["enable_pnginfo", "Files say how they were made", true],
    ["save_images_add_number", "Names begin with a number", true],
    ["samples_filename_pattern", "Names of pictures", "", { hint: "[seed]", title: "As with A1111: [seed] [date] [prompt_words] [model_name] [width] …" }],
    ["save_to_dirs", "Into folders", true],
    ["directories_filename_pattern", "Names of folders", "[date]", { hint: "[date]" }],
    ["directories_max_prompt_words", "Words of a prompt in names", 8, { min: 1, max: 20 }],
  ]],
  ["Grids", [
    ["n_rows", "Rows (-1: square, 0: a batch each)", -1, { min: -1, max: 16 }],
    ["grid_prevent_empty_spots", "Rows are all as long", false],
    ["grid_extended_filename", "Names as those of pictures", false],
  ]],
  ["Drawing", [
    ["randn_source", "Noise", "NV", { choices: ["NV", "CPU", "GPU"], title: "NV: the same on every device; CPU and GPU: as A1111 draws it there" }],
    ["eta_noise_seed_delta", "Eta noise seed delta (ENSD)", 0, { min: -1000000000, max: 1000000000 }],
    ["eta_ancestral", "Eta of ancestral samplers", 1, { min: 0, max: 10, step: 0.01 }],
    ["eta_ddim", "Eta of DDIM", 0, { min: 0, max: 10, step: 0.01 }],
    ["s_churn", "Sigma churn", 0, { min: 0, max: 100, step: 0.01 }],
    ["s_noise", "Sigma noise", 1, { min: 0, max: 10, step: 0.001 }],
    ["s_tmin", "Churn above this sigma", 0, { min: 0, max: 1000, step: 0.01 }],
    ["s_tmax", "Churn below this sigma (0: any)", 0, { min: 0, max: 1000, step: 0.01 }],
    ["refiner_switch_by_sample_steps", "The refiner's share counts steps, not noise", false],
    ["enable_prompt_comments", "# begins a comment in prompts", true],
  ]],
];

export class SettingsSheet {
  constructor(tell) {
    this.tell = tell;
    this.sheet = byId("settings-sheet");
    this.rows = [];
    this.search = make("input", { type: "search", placeholder: "search", "aria-label": "Search settings" });
    this.search.addEventListener("input", () => this.#filter());
    const sections = GROUPS.map(([title, options]) => make("section", {}, make("h3", { text: title }), make("div", { class: "group" }, ...options.map((option) => this.#row(option)))));
    this.sheet.append(make("div", { class: "title" }, make("h2", { id: "settings-title", text: "Settings" }), this.search), ...sections,
      make("p", { class: "unit", text: "Yours alone, also for what programs draw under your name. They are kept as you change them." }),
      make("div", { class: "row" }, make("button", { type: "button", class: "primary", text: "Close", onclick: () => this.sheet.close() }),
        make("button", { type: "button", class: "quiet", text: "All as at first", onclick: () => this.#reset() })));
    byId("settings").addEventListener("click", () => this.open());
  }

  #row([name, label, initial, { choices, min, max, step = 1, hint, title } = {}]) {
    const id = `option-${name}`;
    const isCheck = typeof initial === "boolean", isNumber = typeof initial === "number";
    const input = choices ? make("select", { id, title }, ...choices.map((value) => make("option", { value, text: value })))
      : make("input", { id, title, type: isCheck ? "checkbox" : isNumber ? "number" : "text", min, max, step: isNumber ? step : undefined, placeholder: hint, spellcheck: "false" });
    const read = () => (isCheck ? input.checked : isNumber ? Number(input.value) : input.value);
    const write = (value) => (isCheck ? (input.checked = value) : (input.value = value));
    input.addEventListener("change", () => (input.checkValidity() ? this.#keep({ [name]: read() }) : input.reportValidity()));
    const box = make("div", { class: "field" }, ...(isCheck ? [make("label", { class: "check" }, input, label)] : [make("label", { for: id, text: label }), input]));
    this.rows.push({ name, label, initial, write, box });
    return box;
  }

  async open() {
    this.sheet.showModal();
    await this.#read();
  }

  async #read() {
    try {
      const options = await getOptions();
      for (const { name, initial, write } of this.rows) write(options[name] ?? initial);
    } catch (error) {
      this.tell(error.message);
    }
  }

  // What the server refuses is shown as it was.
  async #keep(changes) {
    try {
      await setOptions(changes);
      this.tell("Kept.");
    } catch (error) {
      this.tell(error.message);
      await this.#read();
    }
  }

  async #reset() {
    if (!confirm("Set all of these as they were at first?")) return;
    await this.#keep(Object.fromEntries(this.rows.map(({ name, initial }) => [name, initial])));
    await this.#read();
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const { name, label, box } of this.rows) box.hidden = !`${name} ${label}`.toLowerCase().includes(wanted);
    for (const section of this.sheet.querySelectorAll("section")) section.hidden = section.querySelector(".field:not([hidden])") === null;
  }
}
