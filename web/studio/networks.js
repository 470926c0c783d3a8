// LoRAs, embeddings and checkpoints as cards with pictures: search, click to use.
import { make } from "../common/dom.js";
import { documents, lists } from "./api.js";
import { openNetworkSheet } from "./network_sheet.js";
import { toggleInPrompt } from "./prompt_box.js";

const KINDS = [["", "All"], ["lora", "LoRA"], ["embedding", "Embeddings"], ["checkpoint", "Checkpoints"]];
const NAMES = { lora: "LoRA", embedding: "Embedding", checkpoint: "Checkpoint" };

export class Networks {
  // onModel(title): a checkpoint was chosen. shownPicture(): the gallery's number of the picture in the middle, or null.
  constructor(place, prompt, { onModel, shownPicture, tell }) {
    Object.assign(this, { prompt, onModel, shownPicture, tell, cards: [], own: {}, wishes: {}, kind: "" });
    this.search = make("input", { type: "search", placeholder: "search", "aria-label": "Search networks" });
    this.search.addEventListener("input", () => this.#filter());
    this.weight = make("input", { type: "number", id: "lora-weight", min: -2, max: 2, step: 0.05, value: 1 });
    this.grid = make("ul", { class: "cards", "aria-label": "Networks" });
    this.tabs = KINDS.map(([kind, text]) => make("button", { type: "button", class: "quiet", text, "aria-pressed": String(kind === ""), onclick: () => this.#choose(kind) }));
    place.append(make("div", { class: "row" }, this.search, make("label", { class: "check", title: "Weight of a LoRA that is added" }, "Weight", this.weight)),
      make("div", { class: "row kinds", role: "group", "aria-label": "Kind" }, ...this.tabs,
        make("button", { type: "button", class: "quiet", text: "Refresh", title: "Look for new files", onclick: () => this.load(true) })), this.grid);
    prompt.addEventListener("input", () => this.#mark());
  }

  async load(afresh) {
    try {
      if (afresh) await Promise.all([lists.refreshLoras(), lists.refreshModels()]);
      const [{ networks }, own, wishes] = await Promise.all([lists.networks(), ...["thumbnails", "loras"].map((name) => documents.load(name).catch(() => null))]);
      this.wishes = wishes?.loras ?? {};
      this.own = own?.pictures ?? {};
      this.cards = networks.map((network) => ({ ...network, test: { lora: `<lora:${network.name}:`, embedding: network.name }[network.kind] }));
      this.#show();
    } catch (error) {
      this.tell(error.message);
    }
  }

  #choose(kind) {
    this.kind = kind;
    this.tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", KINDS[index][0] === kind));
    this.#filter();
  }

  #use(card) {
    if (card.kind === "checkpoint") this.onModel(card.title);
    else if (card.kind === "embedding") toggleInPrompt(this.prompt, card.name);
    else {
      const tag = this.prompt.value.match(/<lora:[^>]*>/g)?.find((text) => text.startsWith(card.test));
      const added = this.#tag(card);
      toggleInPrompt(this.prompt, tag === undefined || this.prompt.value.includes(added) ? added : tag);
    }
    this.#mark();
  }

  // A card shows the user's own choice, else what lies beside the file.
  #picture(card) {
    const id = this.own[`${card.kind}/${card.name}`];
    return id === undefined ? card.thumbnail : `/api/v1/gallery/${id}/thumbnail`;
  }

  async #keepPicture(card) {
    const id = this.shownPicture();
    if (id === null) return this.tell("Draw or choose a picture first: the one in the middle is taken.");
    this.own = { ...this.own, [`${card.kind}/${card.name}`]: id };
    try {
      await documents.save("thumbnails", { pictures: this.own });
      this.#show();
    } catch (error) {
      this.tell(error.message);
    }
  }

  // What fits the piece of a name that is being typed.
  complete({ text, isTag }) {
    const wanted = text.toLowerCase();
    const kind = isTag ? "lora" : "embedding";
    const fits = this.cards.filter((card) => card.kind === kind && card.name.toLowerCase().includes(wanted) && (isTag || card.name !== text));
    const first = (card) => (card.name.toLowerCase().startsWith(wanted) ? 0 : 1);
    return fits.sort((a, b) => first(a) - first(b)).map((card) => ({ text: isTag ? this.#tag(card) : card.name, label: card.name }));
  }

  // What a LoRA is called by, with what the user wants of it.
  #tag(card) {
    const { weight = Number(this.weight.value), words } = this.wishes[card.name] ?? {};
    return `<lora:${card.name}:${weight}>${words ? ` ${words}` : ""}`;
  }

  #inform(card) {
    openNetworkSheet(card, { own: this.wishes[card.name], tell: this.tell, onWord: (word) => toggleInPrompt(this.prompt, word),
      onKeep: (wish) => {
        this.wishes = { ...this.wishes, [card.name]: wish };
        documents.save("loras", { loras: this.wishes }).catch((error) => this.tell(error.message));
      } });
  }

  #show() {
    for (const card of this.cards) {
      const url = this.#picture(card);
      const picture = url ? make("img", { src: url, alt: "", loading: "lazy" }) : make("span", { class: "blank", "aria-hidden": "true", text: card.name[0]?.toUpperCase() ?? "?" });
      picture.addEventListener("error", () => picture.replaceWith(make("span", { class: "blank" })));
      card.button = make("button", { type: "button", class: "card", title: card.title, onclick: () => this.#use(card) }, picture,
        make("strong", { text: card.name }), make("span", { class: "unit", text: NAMES[card.kind] }));
      card.row = make("li", {}, card.button, make("button", { type: "button", class: "quiet picture", text: "▣", title: "Take the picture in the middle for this card",
        "aria-label": `Picture for ${card.name}`, onclick: () => this.#keepPicture(card) }),
        ...(card.kind === "lora" ? [make("button", { type: "button", class: "quiet picture about", text: "i", title: "Its weight and words", "aria-label": `About ${card.name}`, onclick: () => this.#inform(card) })] : []));
    }
    this.#filter();
    this.#mark();
  }

  #filter() {
    const wanted = this.search.value.trim().toLowerCase();
    const found = this.cards.filter((card) => (this.kind === "" || card.kind === this.kind) && `${card.name} ${card.title}`.toLowerCase().includes(wanted));
    this.grid.replaceChildren(...(found.length ? found.map((card) => card.row) : [make("li", { class: "unit", text: this.cards.length ? "Nothing of that name." : "No files: see the models folder." })]));
  }

  #mark() {
    for (const card of this.cards) if (card.test !== undefined) card.button?.setAttribute("aria-pressed", this.prompt.value.includes(card.test));
  }
}
