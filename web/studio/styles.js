// Styles: prompts under a name, each user's own, kept by the server.
import { byId, make } from "../common/dom.js";
import { documents } from "./api.js";
import { prompts } from "./form.js";

const joined = (box, text) => {
  if (text.includes("{prompt}")) return text.replace("{prompt}", box.value);
  return box.value.trim() === "" ? text : `${box.value.trim()}, ${text}`;
};

export class Styles {
  constructor(tell) {
    this.list = [];
    this.menu = byId("styles");
    this.tell = tell;
    this.menu.addEventListener("change", () => this.#describe());
    byId("style-apply").addEventListener("click", () => this.#apply());
    byId("style-save").addEventListener("click", () => this.#save());
    byId("style-remove").addEventListener("click", () => this.#remove());
  }

  set(list, chosen = this.menu.value) {
    this.list = list;
    this.menu.replaceChildren(make("option", { value: "", text: "Style…" }), ...list.map(({ name }) => make("option", { value: name, text: name })));
    this.menu.value = list.some(({ name }) => name === chosen) ? chosen : "";
    this.#describe();
  }

  // What a style holds is seen before it is added.
  #describe() {
    const style = this.list.find(({ name }) => name === this.menu.value);
    this.menu.title = style ? [style.prompt, style.negative_prompt && `Negative: ${style.negative_prompt}`].filter(Boolean).join("\n") : "";
    byId("style-apply").disabled = byId("style-remove").disabled = style === undefined;
  }

  #apply() {
    const style = this.list.find(({ name }) => name === this.menu.value);
    if (!style) return;
    for (const [id, text] of [["prompt", style.prompt], ["negative", style.negative_prompt]]) {
      if (!text) continue;
      const box = byId(id);
      box.value = joined(box, text);
      box.dispatchEvent(new Event("input"));
    }
  }

  async #keep(list, chosen) {
    try {
      await documents.save("styles", { styles: list });
      this.set(list, chosen);
    } catch (error) {
      this.tell(error.message);
    }
  }

  async #save() {
    const name = prompt("The style's name", this.menu.value)?.trim();
    if (name) await this.#keep([...this.list.filter((style) => style.name !== name), { name, ...prompts() }], name);
  }

  async #remove() {
    const { value: name } = this.menu;
    if (name && confirm(`Remove the style "${name}"?`)) await this.#keep(this.list.filter((style) => style.name !== name), "");
  }
}
