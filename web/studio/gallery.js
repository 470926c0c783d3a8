// The user's pictures of all time, newest first, from the server's records.
import { byId, fillMenu, make, throttle } from "../common/dom.js";
import { gallery } from "./api.js";

const PAGE = 60;
const FILTERS = ["gallery-model", "gallery-folder", "gallery-from", "gallery-until"];
const DAY = 86400;

// Midnight of a date input's day, here, in seconds since 1970.
const seconds = (input) => (input.value === "" ? undefined : Math.floor(new Date(`${input.value}T00:00`).getTime() / 1000));

export class Gallery {
  // onOpen(items, index, more): a picture was clicked, more() gives those that follow; onShow(): others are shown.
  constructor({ onOpen, onShow, tell }) {
    this.items = [];
    this.onOpen = onOpen;
    this.onShow = onShow;
    this.tell = tell;
    this.asked = 0;
    this.shelf = byId("gallery-shelf");
    byId("gallery-search").addEventListener("input", throttle(() => this.reload(), 300));
    for (const id of ["gallery-shelf", ...FILTERS]) byId(id).addEventListener("change", () => this.reload());
    byId("gallery-clear").addEventListener("click", () => this.#clear());
    byId("gallery-empty").addEventListener("click", () => this.#emptyTrash());
    byId("gallery").addEventListener("keydown", (event) => this.#key(event));
    const more = byId("gallery-more");
    more.addEventListener("click", () => this.more());
    new IntersectionObserver(([entry]) => entry.isIntersecting && this.more()).observe(more);
  }

  setModels(names) {
    fillMenu(byId("gallery-model"), [["", "All models"], ...names.map((name) => [name, name])]);
  }

  #filters() {
    const until = seconds(byId("gallery-until"));
    return { search: byId("gallery-search").value.trim(), shelf: this.shelf.value, model: byId("gallery-model").value, folder: byId("gallery-folder").value,
      from: seconds(byId("gallery-from")), until: until === undefined ? undefined : until + DAY };
  }

  async #fetch(before) {
    const { pictures, total } = await gallery.list({ ...this.#filters(), limit: PAGE, before });
    return { total, items: pictures.map((picture) => ({ ...picture, name: picture.file?.split("/").at(-1) })) };
  }

  // Answers may come in another order than they were asked for: the last question counts.
  async reload() {
    const number = ++this.asked;
    try {
      const { total, items } = await this.#fetch();
      if (number !== this.asked) return;
      this.items = items;
      this.#show(total);
    } catch (error) {
      this.tell(error.message);
    }
  }

  // Fetches older ones and returns them.
  async more() {
    if (this.items.length === 0 || this.items.length >= this.total || this.isFetching) return [];
    this.isFetching = true;
    const number = this.asked;
    try {
      const { items } = await this.#fetch(this.items.at(-1).id);
      if (number !== this.asked) return [];
      this.items.push(...items);
      this.#show(this.total);
      return items;
    } catch (error) {
      this.tell(error.message);
      return [];
    } finally {
      this.isFetching = false;
    }
  }

  #clear() {
    for (const id of FILTERS) byId(id).value = "";
    this.reload();
  }

  async #emptyTrash() {
    if (!confirm(`Remove ${this.total} ${this.total === 1 ? "picture" : "pictures"} for good?`)) return;
    try {
      for (let left = this.items; left.length > 0 && this.shelf.value === "trash"; left = this.items) {
        for (const { id } of left) await gallery.remove(id);
        await this.reload();
      }
    } catch (error) {
      this.tell(error.message);
    }
  }

  // Arrows go from picture to picture, up and down by rows.
  #key(event) {
    const rows = [...byId("gallery").children];
    const at = rows.indexOf(document.activeElement?.closest("li"));
    const across = rows.filter((row) => row.offsetTop === rows[0]?.offsetTop).length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - across, ArrowDown: at + across, Home: 0, End: rows.length - 1 }[event.key];
    if (at < 0 || rows[to] === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    rows[to].firstElementChild.focus();
  }

  async remove(item) {
    await gallery.remove(item.id);
    await this.reload();
  }

  async change(item, changes) {
    await gallery.change(item.id, changes);
    await this.reload();
  }

  // Only what is new is made anew, so that nothing flickers or loses the focus.
  #show(total) {
    this.total = total;
    const old = new Map([...byId("gallery").children].map((row) => [row.dataset.key, row]));
    byId("gallery").replaceChildren(...this.items.map((item) => old.get(`${item.id}${item.favourite}`) ?? this.#thumb(item)));
    byId("gallery-more").hidden = this.items.length >= total;
    byId("gallery-count").textContent = total ? `${total}` : "";
    byId("gallery-none").hidden = this.items.length > 0;
    byId("gallery-empty").hidden = this.shelf.value !== "trash" || this.items.length === 0;
    const used = FILTERS.filter((id) => byId(id).value !== "").length;
    byId("gallery-filter-state").textContent = used ? `${used} in use` : "";
    byId("gallery-clear").hidden = used === 0;
    byId("gallery-choose").hidden = this.items.length === 0;
    this.onShow();
  }

  #thumb(item) {
    const text = item.infotext?.split("\n")[0] || "Picture";
    const open = () => this.onOpen(this.items, this.items.findIndex(({ id }) => id === item.id), () => this.more());
    return make("li", { "data-key": `${item.id}${item.favourite}` }, make("button", { type: "button", class: "thumb", "data-picture": item.id, title: text, onclick: open },
      make("img", { src: item.thumbnail, alt: item.favourite ? `${text} (favourite)` : text, loading: "lazy" }),
      ...(item.favourite ? [make("span", { class: "mark", text: "★", "aria-hidden": "true" })] : [])));
  }
}
