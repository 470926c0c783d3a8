// A1111's scripts (X/Y/Z plot, prompt matrix ...): the arguments of each are drawn from what the server says of them.
import { make } from "../common/dom.js";
import { scriptInfo } from "./api.js";

export class Scripts {
  constructor(place, state, tell) {
    this.state = state;
    this.tell = tell;
    this.infos = [];
    this.inputs = [];
    this.menu = make("select", { id: "script-name", "aria-label": "Script" });
    this.menu.addEventListener("change", () => this.#show());
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
    this.arguments.replaceChildren(...this.inputs.map(({ box }) => box));
  }

  // One argument: {label, value, minimum, maximum, step, choices}.
  #input(argument, id) {
    const { label, value } = argument;
    let input;
    let read;
    if (argument.choices?.length) {
      const byIndex = typeof value === "number";
      input = make("select", { id }, ...argument.choices.map((text, index) => make("option", { value: byIndex ? index : text, text })));
      input.value = value;
      read = () => (byIndex ? Number(input.value) : input.value);
    } else if (typeof value === "boolean") {
      input = make("input", { type: "checkbox", id });
      input.checked = value;
      read = () => input.checked;
    } else if (typeof value === "number") {
      input = make("input", { type: "number", id, min: argument.minimum ?? undefined, max: argument.maximum ?? undefined, step: argument.step ?? "any", value });
      read = () => Number(input.value);
    } else {
      input = make("textarea", { id, rows: 1, spellcheck: "false" });
      input.value = Array.isArray(value) ? value.join(", ") : value ?? "";
      read = () => input.value;
    }
    const wide = typeof value === "string" && !argument.choices?.length;
    return { box: make("div", { class: wide ? "field wide" : "field" }, make("label", { for: id, text: label }), input), read };
  }

  toRequest() {
    return this.menu.value === "" ? {} : { script_name: this.menu.value, script_args: this.inputs.map(({ read }) => read()) };
  }
}
