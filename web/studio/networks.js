// LoRAs, embeddings and checkpoints as cards: search, click to use.
import { make } from "../common/dom.js";
import { lists } from "./api.js";
import { toggleInPrompt } from "./prompt_box.js";

export class Networks {
  // onModel(title): a checkpoint was chosen.
  constructor(place, prompt, { onModel, tell }) {
    this.prompt = prompt;
    this.onModel = onModel;
    this.tell = tell;
    this.cards = [];
    this.search = make("input", { type: "search", placeholder: "search", "aria-label": "Search networks" });
    this.search.addEventListener("input", () => this.#filter());
    this.weight = make("input", { type: "number", min: -2, max: 2, step: 0.05, value: 1, "aria-label": "LoRA weight", title: "Weight of a LoRA that is added" });
    this.grid = make("ul", { class: "cards" });
    place.append(make("div", { class: "row" }, this.search, this.weight,
      make("button", { type: "button", class: "quiet", text: "Refresh", onclick: () => this.load(true) })), this.grid);
    prompt.addEventListener("input", () => this.#mark());
  }

  async load(afresh) {
    try {
      if (afresh) await Promise.all([lists.refreshLoras(), lists.refreshModels()]);
      const [loras, embeddings, models] = await Promise.all([lists.loras(), lists.embeddings(), lists.models()]);
      this.cards = [
        ...loras.map(({ name, alias }) => ({ kind: "LoRA", name, title: alias ?? name, test: `<lora:${name}:` })),
        ...Object.entries(embeddings.loaded ?? {}).map(([name, { vectors }]) => ({ kind: "Embedding", name, title: `${vectors} tokens`, test: name })),
        ...models.map(({ title, model_name: name }) => ({ kind: "Checkpoint", name, title, model: title })),
      ];
      this.#show();
    } catch (error) {
      this.tell(error.message);
    }
  }

  #use(card) {
    if (card.model !== undefined) this.onModel(card.model);
    else if (card.kind === "Embedding") toggleInPrompt(this.prompt, card.name);
    else {
      const tag = this.prompt.value.match(/<lora:[^>]*>/g)?.find((text) => text.startsWith(card.test));
      toggleInPrompt(this.prompt, tag ?? `<lora:${card.name}:${Number(this.weight.value)}>`);
    }
    this.#mark();
  }

  #show() {
    for (const card of this.cards)
      card.button = make("button", { type: "button", class: "card", title: card.title, onclick: () => this.#use(card) },
        make("span", { class: "unit", text: card.kind }), make("strong", { text: card.name }));
    this.#filter();
    this.#mark();
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    const found = this.cards.filter((card) => `${card.kind} ${card.name} ${card.title}`.toLowerCase().includes(wanted));
    this.grid.replaceChildren(...(found.length ? found.map((card) => make("li", {}, card.button)) : [make("li", { class: "unit", text: "Nothing of that name." })]));
  }

  #mark() {
    for (const card of this.cards) if (card.test !== undefined) card.button?.setAttribute("aria-pressed", this.prompt.value.includes(card.test));
  }
}
