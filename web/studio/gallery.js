// The user's pictures of all time, newest first, from the server's records.
import { byId, make, throttle } from "../common/dom.js";
import { gallery } from "./api.js";

const PAGE = 60;

export class Gallery {
  constructor({ onOpen, tell }) {
    this.items = [];
    this.onOpen = onOpen;
    this.tell = tell;
    this.search = byId("gallery-search");
    this.search.addEventListener("input", throttle(() => this.reload(), 300));
    for (const id of ["gallery-favourites", "gallery-trash"]) byId(id).addEventListener("change", () => this.reload());
    byId("gallery-more").addEventListener("click", () => this.#more());
  }

  async #fetch(before) {
    const shelf = byId("gallery-trash").checked ? "trash" : byId("gallery-favourites").checked ? "favourites" : "all";
    const { pictures } = await gallery.list({ search: this.search.value.trim(), shelf, limit: PAGE, before });
    return pictures.map((picture) => ({ ...picture, name: picture.file?.split("/").at(-1) }));
  }

  async reload() {
    try {
      this.items = await this.#fetch();
      this.#show(this.items.length === PAGE);
    } catch (error) {
      this.tell(error.message);
    }
  }

  async #more() {
    const older = await this.#fetch(this.items.at(-1).id);
    this.items.push(...older);
    this.#show(older.length === PAGE);
  }

  async remove(item) {
    await gallery.remove(item.id);
    await this.reload();
  }

  async change(item, changes) {
    await gallery.change(item.id, changes);
    await this.reload();
  }

  #show(hasMore) {
    byId("gallery").replaceChildren(...this.items.map((item, index) =>
      make("li", {}, make("button", { type: "button", class: "thumb", "data-picture": item.id, title: item.infotext?.split("\n")[0] ?? "", onclick: () => this.onOpen(this.items, index) },
        make("img", { src: item.thumbnail, alt: item.infotext?.split("\n")[0] ?? "Picture", loading: "lazy" }),
        ...(item.favourite ? [make("span", { class: "mark", text: "★" })] : [])))));
    byId("gallery-more").hidden = !hasMore;
  }
}
