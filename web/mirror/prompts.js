// Two decks and a crossfader, and a list of kept prompts. The prompt that is heard is A and B by their weights.
import { byId, load, make, save } from "../common/dom.js";

const TYPING_PAUSE = 500; // ms
const DRAG_RAMP = 80; // ms: evens out the steps of a dragged slider
const TYPE_RAMP = 400; // ms

export class Prompts {
  constructor(state) {
    this.state = state;
    this.a = byId("prompt-a");
    this.b = byId("prompt-b");
    this.fader = byId("crossfade");
    this.timer = this.moving = 0;
    this.seconds = byId("fade-seconds");
    this.list = load("prompts", []);
    this.seconds.value = load("fade", 2);
    this.b.value = load("deck-b", "");
    this.#listen();
    this.#drawList();
    state.addEventListener("change", () => this.#follow());
  }

  #listen() {
    for (const deck of [this.a, this.b]) {
      deck.addEventListener("input", () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.apply(TYPE_RAMP), TYPING_PAUSE);
      });
      deck.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.apply(TYPE_RAMP);
      });
    }
    this.fader.addEventListener("input", () => {
      this.#halt();
      this.apply(DRAG_RAMP);
    });
    this.seconds.addEventListener("change", () => save("fade", this.fadeSeconds()));
    byId("auto-fade").addEventListener("click", () => this.fadeOver());
    byId("keep-prompt").addEventListener("click", () => this.keep(this.#heard().value));
  }

  fadeSeconds() {
    return Math.min(60, Math.max(0, Number(this.seconds.value) || 0));
  }

  #heard() {
    return Number(this.fader.value) < 0.5 ? this.a : this.b;
  }

  // Tells the server what the decks and the fader say; the weights move there within `ramp` ms.
  apply(ramp) {
    clearTimeout(this.timer);
    this.timer = 0;
    const fade = Number(this.fader.value);
    const decks = [
      { text: this.a.value.trim(), weight: 1 - fade },
      { text: this.b.value.trim(), weight: fade },
    ];
    const prompts = decks.filter((deck) => deck.text && deck.weight > 0);
    save("deck-b", this.b.value);
    if (prompts.length) this.state.set({ prompts, ramp_ms: Math.round(ramp) });
  }

  // To the other deck, within the time that is set. The server moves the weights; the fader only shows it.
  fadeOver() {
    const from = Number(this.fader.value);
    const to = from < 0.5 ? 1 : 0;
    const deck = to ? this.b : this.a;
    if (!deck.value.trim()) {
      deck.focus();
      return;
    }
    this.#fadeTo(from, to, this.fadeSeconds());
  }

  // A kept prompt or a cue: into the deck that is not heard, then over to it.
  go(text, seconds = this.fadeSeconds()) {
    const from = Number(this.fader.value);
    const to = from < 0.5 ? 1 : 0;
    (to ? this.b : this.a).value = text;
    this.#fadeTo(from, to, seconds);
  }

  #fadeTo(from, to, seconds) {
    this.#halt();
    this.fader.value = to;
    this.apply(seconds * 1000);
    const began = performance.now();
    const step = (now) => {
      const share = seconds > 0 ? Math.min(1, (now - began) / (seconds * 1000)) : 1;
      this.fader.value = from + (to - from) * share;
      this.moving = share < 1 ? requestAnimationFrame(step) : 0;
    };
    step(began);
  }

  #halt() {
    cancelAnimationFrame(this.moving);
    this.moving = 0;
  }

  // What others changed: one prompt goes to the deck that is heard, two go to both.
  #follow() {
    const editing = document.activeElement === this.a || document.activeElement === this.b;
    if (editing || this.moving || this.timer || this.fader.matches(":active")) return;
    const prompts = this.state.values.prompts ?? [{ text: this.state.values.prompt ?? "", weight: 1 }];
    if (prompts.length === 1) {
      const { text } = prompts[0];
      const known = [this.a, this.b].find((deck) => deck.value.trim() === text);
      const deck = known ?? this.#heard();
      deck.value = text;
      this.fader.value = deck === this.a ? 0 : 1;
    } else if (prompts.length === 2 && this.#isOther(prompts)) {
      this.a.value = prompts[0].text;
      this.b.value = prompts[1].text;
      this.fader.value = prompts[1].weight / (prompts[0].weight + prompts[1].weight);
    }
  }

  #isOther(prompts) {
    return prompts[0].text !== this.a.value.trim() || prompts[1].text !== this.b.value.trim();
  }

  keep(text) {
    const kept = text.trim();
    if (!kept || this.list.includes(kept)) return;
    this.list.push(kept);
    this.#storeList();
  }

  #storeList() {
    save("prompts", this.list);
    this.#drawList();
  }

  #drawList() {
    const remove = (text) => {
      this.list = this.list.filter((kept) => kept !== text);
      this.#storeList();
    };
    byId("prompt-list").replaceChildren(
      ...this.list.map((text) =>
        make(
          "li",
          {},
          make("button", { type: "button", class: "text", title: `Fade to: ${text}`, text, onclick: () => this.go(text) }),
          make("button", {
            type: "button",
            class: "remove quiet",
            "aria-label": `Remove ${text}`,
            text: "×",
            onclick: () => remove(text),
          }),
        ),
      ),
    );
  }
}
