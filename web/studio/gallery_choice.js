// Several pictures of the history at once: chosen by clicks, then marked, binned or saved as one archive.
import { byId, make } from "../common/dom.js";
import { gallery as server } from "./api.js";
import { zip } from "./zip.js";

export class GalleryChoice {
  // gallery: has items, shelf and reload(); tell(text).
  constructor(gallery, tell) {
    Object.assign(this, { gallery, tell, chosen: new Set(), isOn: false, last: null });
    this.toggle = byId("gallery-choose");
    this.toggle.addEventListener("click", () => this.#turn(!this.isOn));
    const tool = (text, title, work, kind = "quiet") => make("button", { type: "button", class: kind, text, title, onclick: () => this.#do(work) });
    this.count = make("span", { class: "unit", role: "status" });
    this.buttons = [tool("★", "Favourites", (ids) => this.#change(ids, { favourite: true })), tool("Zip", "Save them as one file", () => this.#zip())];
    this.buttons[0].setAttribute("aria-label", "Make them favourites");
    this.restore = tool("Restore", "Out of the trash", (ids) => this.#change(ids, { trashed: false }));
    this.bin = tool("Bin", "Into the trash", (ids) => this.#discard(ids), "quiet danger");
    byId("gallery-choice").append(this.count, make("button", { type: "button", class: "quiet", text: "All", title: "All that are shown", onclick: () => this.#all() }),
      ...this.buttons, this.restore, this.bin);
    byId("gallery").addEventListener("click", (event) => this.#click(event), true);
    byId("gallery-shelf").addEventListener("change", () => this.#turn(false));
  }

  #turn(on) {
    this.isOn = on;
    this.last = null;
    this.chosen.clear();
    this.toggle.setAttribute("aria-pressed", on);
    byId("gallery-choice").hidden = !on;
    this.show();
  }

  #click(event) {
    const button = event.target.closest(".thumb");
    if (!this.isOn || button === null) return;
    event.stopPropagation();
    event.preventDefault();
    const ids = this.gallery.items.map(({ id }) => id);
    const at = ids.indexOf(Number(button.dataset.picture));
    const from = event.shiftKey && this.last !== null ? this.last : at;
    const on = !this.chosen.has(ids[at]);
    for (const id of ids.slice(Math.min(from, at), Math.max(from, at) + 1)) {
      if (on) this.chosen.add(id);
      else this.chosen.delete(id);
    }
    this.last = at;
    this.show();
  }

  #all() {
    const ids = this.gallery.items.map(({ id }) => id);
    if (ids.every((id) => this.chosen.has(id))) this.chosen.clear();
    else for (const id of ids) this.chosen.add(id);
    this.show();
  }

  // Also after the gallery was filled anew: what is no longer there is not chosen.
  show() {
    const there = new Set(this.gallery.items.map(({ id }) => id));
    for (const id of this.chosen) if (!there.has(id)) this.chosen.delete(id);
    for (const button of document.querySelectorAll("#gallery .thumb")) {
      if (this.isOn) button.setAttribute("aria-pressed", this.chosen.has(Number(button.dataset.picture)));
      else button.removeAttribute("aria-pressed");
    }
    const isTrash = this.gallery.shelf.value === "trash";
    this.count.textContent = this.chosen.size ? `${this.chosen.size} chosen` : "Choose pictures (Shift: up to here)";
    for (const button of [...this.buttons, this.restore, this.bin]) button.disabled = this.chosen.size === 0;
    this.restore.hidden = !isTrash;
    this.bin.textContent = isTrash ? "Remove" : "Bin";
    this.bin.title = isTrash ? "Remove them for good" : "Into the trash";
  }

  async #do(work) {
    try {
      await work([...this.chosen]);
    } catch (error) {
      this.tell(error.message);
    }
  }

  async #change(ids, changes) {
    for (const id of ids) await server.change(id, changes);
    await this.gallery.reload();
  }

  async #discard(ids) {
    if (this.gallery.shelf.value !== "trash") {
      await this.#change(ids, { trashed: true });
      return this.tell(`${ids.length} in the trash, where they can be restored from.`);
    }
    if (!confirm(`Remove ${ids.length} ${ids.length === 1 ? "picture" : "pictures"} for good?`)) return undefined;
    for (const id of ids) await server.remove(id);
    return this.gallery.reload();
  }

  async #zip() {
    const items = this.gallery.items.filter(({ id }) => this.chosen.has(id));
    const files = [];
    for (const { url, name, id } of items) {
      this.count.textContent = `${files.length + 1} of ${items.length} …`;
      const reply = await fetch(url);
      if (!reply.ok) throw new Error(`A picture could not be read (${reply.status}): nothing was saved, try again.`);
      files.push({ name: name ?? `${id}.png`, bytes: new Uint8Array(await reply.arrayBuffer()) });
    }
    const link = make("a", { href: URL.createObjectURL(new Blob(zip(files), { type: "application/zip" })), download: "pictures.zip" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.show();
  }
}
