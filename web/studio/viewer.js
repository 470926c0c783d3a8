// Full-screen view of one picture out of a list, with keys.
import { byId, make } from "../common/dom.js";

export class Viewer {
  // actions: [{text, title, act(item)}]; items: {url, infotext, name}.
  constructor(actions) {
    this.dialog = byId("viewer");
    this.items = [];
    this.index = 0;
    const button = (text, title, onclick) => make("button", { type: "button", text, title, onclick });
    byId("viewer-tools").append(
      button("◀", "Before (←)", () => this.step(-1)), button("▶", "Next (→)", () => this.step(1)),
      ...actions.map(({ text, title, act }) => button(text, title ?? text, async () => {
        this.dialog.close();
        await act(this.items[this.index]);
      })),
      button("Close", "Esc", () => this.dialog.close()));
    this.dialog.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) this.step(by);
    });
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  open(items, index) {
    this.items = items;
    this.index = index;
    this.#show();
    if (!this.dialog.open) this.dialog.showModal();
  }

  step(by) {
    this.index = (this.index + by + this.items.length) % this.items.length;
    this.#show();
  }

  #show() {
    const item = this.items[this.index];
    byId("viewer-picture").src = item.url;
    byId("viewer-picture").alt = item.infotext?.split("\n")[0] ?? "Picture";
    byId("viewer-text").textContent = item.infotext ?? "";
  }
}
