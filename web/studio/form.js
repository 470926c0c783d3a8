// The settings as controls. `values` is the truth; controls show it and write to it.
import { byId, make } from "../common/dom.js";
import { FIELDS, GROUPS, isOn, RATIOS } from "./fields.js";

const number = (text, field) => {
  const value = Number(text);
  return text === "" || Number.isNaN(value) ? field.value : Math.min(field.max, Math.max(field.min, value));
};

export class Form {
  constructor(place, onChange) {
    this.values = Object.fromEntries(FIELDS.map((field) => [field.name, field.value]));
    this.kind = "txt2img";
    this.lists = {};
    this.controls = new Map(); // name -> {box, show(value)}
    this.groups = [];
    this.onChange = onChange;
    for (const group of GROUPS) place.append(this.#makeGroup(group));
    this.show();
  }

  #makeGroup(group) {
    const grid = make("div", { class: "group" }, ...group.fields.map((field) => this.#makeField(field)));
    const outer = group.title ? make("details", {}, make("summary", { text: group.title }), grid) : grid;
    this.groups.push({ group, outer });
    return outer;
  }

  #makeField(field) {
    const id = `f-${field.name}`;
    const make_ = { range: () => this.#range(field, id), number: () => this.#number(field, id), check: () => this.#check(field, id),
      choice: () => this.#select(field, id), list: () => this.#select(field, id), seed: () => this.#seed(field, id), text: () => this.#text(field, id), aspect: () => this.#aspect(id) };
    const control = make_[field.type]();
    const box = field.type === "aspect" ? make("div", { class: "field" }, ...control.elements)
      : field.type === "check" ? make("div", { class: "field" }, make("label", { class: "check" }, ...control.elements, field.label))
      : make("div", { class: "field" }, make("label", { for: id, text: field.label }), ...control.elements);
    if (field.wide) box.classList.add("wide");
    this.controls.set(field.name, { field, box, show: control.show });
    return box;
  }

  #number(field, id) {
    const input = make("input", { type: "number", id, min: field.min, max: field.max, step: field.step, inputmode: "decimal" });
    input.addEventListener("change", () => this.set({ [field.name]: number(input.value, field) }));
    return { elements: [input], show: (value) => (input.value = value) };
  }

  #range(field, id) {
    const attributes = { min: field.min, max: field.max, step: field.step };
    const slider = make("input", { type: "range", id, ...attributes });
    const input = make("input", { type: "number", "aria-label": field.label, ...attributes });
    slider.addEventListener("input", () => this.set({ [field.name]: Number(slider.value) }));
    input.addEventListener("change", () => this.set({ [field.name]: number(input.value, field) }));
    return {
      elements: [make("div", { class: "pair" }, slider, input)],
      show: (value) => {
        slider.value = value;
        input.value = value;
      },
    };
  }

  #text(field, id) {
    const box = make("textarea", { id, rows: 2, spellcheck: "false" });
    box.addEventListener("input", () => this.set({ [field.name]: box.value }));
    return { elements: [box], show: (value) => value !== box.value && (box.value = value) };
  }

  #check(field, id) {
    const input = make("input", { type: "checkbox", id });
    input.addEventListener("change", () => this.set({ [field.name]: input.checked }));
    return { elements: [input], show: (value) => (input.checked = value) };
  }

  #select(field, id) {
    const menu = make("select", { id });
    menu.addEventListener("change", () =>
      this.set({ [field.name]: field.type === "choice" ? Number(menu.value) : menu.value }));
    let shown = null;
    const show = (value) => {
      const choices = field.choices ?? this.lists[field.list] ?? [];
      const known = choices.some(([own]) => own === value);
      if (shown !== choices || !known) {
        const all = known ? choices : [...choices, [value, String(value)]];
        menu.replaceChildren(...all.map(([own, text]) => make("option", { value: own, text })));
        shown = known ? choices : null;
      }
      menu.value = value;
    };
    return { elements: [menu], show };
  }

  #seed(field, id) {
    const input = this.#number(field, id);
    const dice = make("button", { type: "button", class: "quiet", text: "Random", title: "A new seed each time",
      onclick: () => this.set({ [field.name]: -1 }) });
    const again = make("button", { type: "button", class: "quiet", text: "Last", title: "The seed of the picture shown",
      onclick: () => this.lastSeed !== undefined && this.set({ [field.name]: this.lastSeed }) });
    return { elements: [make("div", { class: "tools" }, ...input.elements, dice, again)], show: input.show };
  }

  // Changes the shape and keeps the number of pixels, about.
  #aspect(id) {
    const menu = make("select", { id, "aria-label": "Ratio" }, make("option", { value: "", text: "Ratio" }), ...RATIOS.map((text) => make("option", { value: text, text })));
    menu.addEventListener("change", () => {
      if (menu.value === "") return;
      const [across, down] = menu.value.split(":").map(Number);
      const area = this.values.width * this.values.height;
      const side = (length) => Math.min(2048, Math.max(64, Math.round(length / 8) * 8));
      this.set({ width: side(Math.sqrt((area * across) / down)), height: side(Math.sqrt((area * down) / across)) });
    });
    const swap = make("button", { type: "button", class: "quiet", id: "swap", text: "⇄ Swap", title: "Width for height", onclick: () => this.set({ width: this.values.height, height: this.values.width }) });
    const show = () => {
      const { width, height } = this.values;
      menu.value = RATIOS.find((text) => {
        const [across, down] = text.split(":").map(Number);
        return Math.abs(width / height / (across / down) - 1) < 0.02;
      }) ?? "";
    };
    return { elements: [make("div", { class: "tools" }, menu, swap)], show };
  }

  // lists: {samplers: [[value, text], ...], ...}
  setLists(lists) {
    Object.assign(this.lists, lists);
    this.show();
  }

  set(changes) {
    Object.assign(this.values, changes);
    this.show();
    this.onChange();
  }

  setKind(kind) {
    this.kind = kind;
    this.show();
  }

  show() {
    for (const { field, box, show } of this.controls.values()) {
      box.hidden = !isOn(field, this.kind, this.values);
      show(this.values[field.name]);
    }
    for (const { group, outer } of this.groups) {
      const was = outer.hidden;
      outer.hidden = (group.when !== undefined && !group.when(this.values)) || group.fields.every((field) => !isOn(field, this.kind, this.values));
      if (was && !outer.hidden && group.when !== undefined) outer.open = true;
    }
  }
}

// The prompts are plain text boxes beside the form.
export const prompts = () => ({ prompt: byId("prompt").value, negative_prompt: byId("negative").value });
