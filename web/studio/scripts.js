// A1111's scripts (X/Y/Z plot, prompt matrix ...): the arguments of each are drawn from what the server says of them.
import { make } from "../common/dom.js";
import { scriptInfo } from "./api.js";

export class Scripts {
  constructor(place, state, { onChange, tell }) {
    this.state = state;
    this.onChange = onChange;
    this.tell = tell;
    this.infos = [];
    this.inputs = [];
    this.menu = make("select", { id: "script-name", "aria-label": "Script" });
    this.menu.addEventListener("change", () => {
      this.#show();
      onChange();
    });
    place.addEventListener("change", onChange);
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
    const chosen = this.menu.value;
    this.shown = this.infos.filter((info) => info.is_img2img === (kind === "img2img"));
    this.menu.replaceChildren(make("option", { value: "", text: "None" }), ...this.shown.map((info) => make("option", { value: info.name, text: info.name })));
    this.menu.value = this.shown.some((info) => info.name === chosen) ? chosen : "";
    this.#show();
  }

  #show() {
    const info = this.shown.find((own) => own.name === this.menu.value);
    this.state.textContent = info?.name ?? "";
    this.inputs = (info?.args ?? []).map((argument, index) => this.#input(argument, `script-${index}`));
    this.arguments.replaceChildren(...this.inputs.map(({ box }) => box).filter((box) => box !== null));
  }

  // One argument: {label, value, minimum, maximum, step, choices}.
  #input(argument, id) {
    const { label, value } = argument;
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
      if (/values$/i.test(label)) input.placeholder = "1, 2, 5-8, 10-20 (+5)";
      read = () => input.value;
    }
    const wide = typeof value === "string" && !argument.choices?.length && !/values$/i.test(label);
    if (typeof value === "boolean") return { box: make("div", { class: "field" }, make("label", { class: "check" }, input, label)), read, write };
    return { box: make("div", { class: wide ? "field wide" : "field" }, make("label", { for: id, text: label }), input), read, write };
  }

  get values() {
    return { name: this.menu.value, args: this.inputs.map(({ read }) => read()) };
  }

  set values({ name, args }) {
    if (!this.shown.some((info) => info.name === name)) return;
    this.menu.value = name;
    this.#show();
    this.inputs.forEach(({ write }, index) => args?.[index] !== undefined && write(args[index]));
  }

  get isUsed() {
    return this.menu.value !== "";
  }

  toRequest() {
    return !this.isUsed ? {} : { script_name: this.menu.value, script_args: this.inputs.map(({ read }) => read()) };
  }
}
