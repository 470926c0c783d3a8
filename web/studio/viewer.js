// Full-screen view of one picture out of a list, with keys; the true size by a click, the next by a swipe.
import { byId, make } from "../common/dom.js";

const SWIPE = 60; // pixels

export class Viewer {
  // actions: [{text, title, key, closes, act(item), show(item, button)}]; items: {url, infotext, name}. After an action
  // that does not close, `items` may have changed: the place in it is kept.
  constructor(actions) {
    this.dialog = byId("viewer");
    this.picture = byId("viewer-picture");
    this.items = [];
    this.index = 0;
    this.keys = { ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), Home: () => this.#go(0), End: () => this.#go(this.items.length - 1),
      i: () => this.#toggleText(), z: () => this.#toggleSize() };
    const button = (text, title, onclick) => make("button", { type: "button", text, title, "aria-label": title, onclick });
    this.count = make("span", { class: "unit" });
    this.actions = actions.map((action) => {
      const act = () => this.#act(action);
      if (action.key) this.keys[action.key] = act;
      return { ...action, button: make("button", { type: "button", text: action.text, title: action.title ?? action.text, onclick: act }) };
    });
    byId("viewer-tools").append(button("◀", "Before (←)", () => this.step(-1)), button("▶", "Next (→)", () => this.step(1)), this.count,
      ...this.actions.map((action) => action.button), button("Info", "Settings on or off (I)", () => this.#toggleText()),
      make("span", { class: "space" }), button("✕", "Close (Esc)", () => this.dialog.close()));
    this.#bind();
  }

  #bind() {
    this.dialog.addEventListener("keydown", (event) => {
      const act = this.keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
    let from = null;
    this.picture.addEventListener("click", () => this.#toggleSize());
    const stage = byId("viewer-stage");
    stage.addEventListener("touchstart", (event) => (from = event.touches.length === 1 && !this.isTrue ? event.touches[0].clientX : null), { passive: true });
    stage.addEventListener("touchend", (event) => {
      const by = from === null ? 0 : event.changedTouches[0].clientX - from;
      if (Math.abs(by) > SWIPE) this.step(by > 0 ? -1 : 1);
    });
  }

  async #act({ act, closes }) {
    const item = this.items[this.index];
    if (!item) return;
    if (closes) this.dialog.close();
    await act(item);
    if (closes || !this.dialog.open) return;
    if (this.items.length === 0) this.dialog.close();
    else this.#go(Math.min(this.index, this.items.length - 1));
  }

  #toggleText() {
    this.dialog.classList.toggle("bare");
  }

  #toggleSize() {
    this.isTrue = byId("viewer-stage").classList.toggle("true-size");
  }

  // more(): a promise of further items for the end of the list, none when there are none.
  open(items, index, more = async () => []) {
    this.items = items;
    this.more = more;
    this.#go(index);
    if (!this.dialog.open) this.dialog.showModal();
  }

  async step(by) {
    if (this.index + by === this.items.length) {
      const { items } = this;
      items.push(...(await this.more()));
      if (items !== this.items) return; // another list was opened meanwhile
    }
    this.#go((this.index + by + this.items.length) % this.items.length);
  }

  #go(index) {
    this.index = index;
    const item = this.items[index];
    this.isTrue = false;
    byId("viewer-stage").classList.remove("true-size");
    this.picture.src = item.url;
    this.picture.alt = item.infotext?.split("\n")[0] || "Picture";
    this.count.textContent = `${index + 1} / ${this.items.length}`;
    byId("viewer-text").textContent = item.infotext ?? "";
    const { url: next } = this.items[(index + 1) % this.items.length];
    new Image().src = next; // so that a step shows at once
    for (const { show, button } of this.actions) show?.(item, button);
  }
}
