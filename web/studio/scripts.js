// A1111's scripts (X/Y/Z plot, prompt matrix ...): the arguments of each are drawn from what the server says of them.
import { make } from "../common/dom.js";
import { scriptInfo } from "./api.js";

const IDLE = "Use text inputs instead of dropdowns"; // of the page's own form: there are no dropdowns
const NOTE = 50; // letters from which an argument without a value is a note to the reader

// A value in a list that is written as CSV.
const quoted = (text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export class Scripts {
  constructor(place, state, { onChange, tell }) {
    this.state = state;
    this.onChange = onChange;
    this.tell = tell;
    this.infos = [];
    this.inputs = [];
    this.lists = {}; // what an axis may be filled with, by its name; "Upscaler": names of upscalers
    this.last = new Map(); // arguments of scripts that were shown before, by name
    this.menu = make("select", { id: "script-name", "aria-label": "Script" });
    this.menu.addEventListener("change", () => {
      this.#show();
      onChange();
    });
    place.addEventListener("change", () => {
      for (const { refresh } of this.inputs) refresh?.();
      this.#remember();
      onChange();
    });
    this.arguments = make("div", { class: "group" });
    place.append(this.menu, this.arguments);
  }

  async load() {
    try {
      this.infos = (await scriptInfo()).filter((info) => !info.is_alwayson);
    } catch (error) {
      this.tell(error.message);
    }
    this.setKind("txt2img");
  }

  setKind(kind) {
    this.#remember();
    const chosen = this.menu.value;
    this.shown = this.infos.filter((info) => info.is_img2img === (kind === "img2img"));
    this.menu.replaceChildren(make("option", { value: "", text: "None" }), ...this.shown.map((info) => make("option", { value: info.name, text: info.name })));
    this.menu.value = this.shown.some((info) => info.name === chosen) ? chosen : "";
    this.#show();
  }

  setLists(lists) {
    this.lists = lists;
  }

  #remember() {
    if (this.name) this.last.set(this.name, this.inputs.map(({ read }) => read()));
  }

  #show() {
    const info = this.shown.find((own) => own.name === this.menu.value);
    this.name = info?.name ?? "";
    this.state.textContent = this.name;
    this.inputs = (info?.args ?? []).map((argument, index) => this.#input(argument, `script-${index}`));
    this.arguments.replaceChildren(...this.inputs.map(({ box }) => box).filter((box) => box !== null));
    this.#write(this.last.get(this.name));
  }

  #write(args) {
    this.inputs.forEach(({ write }, index) => args?.[index] !== undefined && write(args[index]));
    for (const { refresh } of this.inputs) refresh?.();
  }

  // Names for an axis whose values are names.
  #fillButton(values, index) {
    const menu = () => this.arguments.querySelector(`#script-${index - 1}`);
    const names = () => this.lists[menu()?.selectedOptions[0]?.text] ?? [];
    const button = make("button", { type: "button", class: "quiet", text: "Fill", title: "Write down all there are", hidden: true, onclick: () => {
      values.value = names().map(quoted).join(", ");
      values.dispatchEvent(new Event("change", { bubbles: true }));
    } });
    return { button, refresh: () => (button.hidden = names().length === 0) };
  }

  // One argument: {label, value, minimum, maximum, step, choices}.
  #input(given, id) {
    const argument = given.label === "Upscaler" && !given.choices?.length ? { ...given, choices: this.lists.Upscaler } : given;
    const { label, value } = argument;
    if (label === IDLE) return { box: null, read: () => value, write: () => {} };
    if (value === "" && label.length > NOTE) return { box: make("p", { class: "unit field wide", text: label }), read: () => value, write: () => {} };
    // A1111's second box for the same values, as a list to choose from: the text is enough.
    if (Array.isArray(value)) return { box: null, read: () => value, write: () => {} };
    let input;
    let read;
    let write = (text) => (input.value = text);
    if (argument.choices?.length) {
      const byIndex = typeof value === "number";
      input = make("select", { id }, ...argument.choices.map((text, index) => make("option", { value: byIndex ? index : text, text })));
      input.value = value;
      read = () => (byIndex ? Number(input.value) : input.value);
    } else if (typeof value === "boolean") {
      input = make("input", { type: "checkbox", id });
      input.checked = value;
      read = () => input.checked;
      write = (on) => (input.checked = on);
    } else if (typeof value === "number") {
      input = make("input", { type: "number", id, min: argument.minimum ?? undefined, max: argument.maximum ?? undefined, step: argument.step ?? "any", value });
      read = () => Number(input.value);
    } else {
      input = make("textarea", { id, rows: 1, spellcheck: "false" });
      input.value = value ?? "";
      if (/values$/i.test(label)) {
        Object.assign(input, { placeholder: "1, 2, 5-8", title: "1, 2, 5-8, 10-20 (+5), 0-1 [5]; names with commas in quotes" });
        const { button, refresh } = this.#fillButton(input, Number(id.slice("script-".length)));
        const box = make("div", { class: "field" }, make("label", { for: id, text: label }), make("div", { class: "tools" }, input, button));
        return { box, read: () => input.value, write, refresh };
      }
      read = () => input.value;
    }
    const wide = typeof value === "string" && !argument.choices?.length;
    if (typeof value === "boolean") return { box: make("div", { class: "field" }, make("label", { class: "check" }, input, label)), read, write };
    return { box: make("div", { class: wide ? "field wide" : "field" }, make("label", { for: id, text: label }), input), read, write };
  }

  get values() {
    return { name: this.menu.value, args: this.inputs.map(({ read }) => read()) };
  }

  set values({ name, args }) {
    if (!this.shown.some((info) => info.name === name)) return;
    this.menu.value = name;
    if (args) this.last.set(name, args);
    this.#show();
  }

  get isUsed() {
    return this.menu.value !== "";
  }

  toRequest() {
    return !this.isUsed ? {} : { script_name: this.menu.value, script_args: this.inputs.map(({ read }) => read()) };
  }
}
