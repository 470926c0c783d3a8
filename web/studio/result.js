// The middle of the page: what is being drawn, then what was drawn.
import { byId, make } from "../common/dom.js";
import { jobs } from "./api.js";
import { describe } from "./queue.js";

const ASK = 1000; // ms between questions for a first preview

export class Result {
  // onOpen(items, index): a picture was clicked; onSend(where, item): a "send to" button was.
  constructor({ onOpen, onSend }) {
    this.items = [];
    this.index = 0;
    this.version = 0;
    this.picture = byId("preview");
    byId("preview-open").addEventListener("click", () => this.items.length && !this.picture.classList.contains("live") && onOpen(this.items, this.index));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || !this.isNews) return;
      this.isNews = false;
      document.title = document.title.replace("✓ ", "");
    });
    for (const button of document.querySelectorAll("[data-send]"))
      button.addEventListener("click", () => onSend(button.dataset.send, this.items[this.index]));
  }

  // The job that runs, or null. Previews are fetched when the server says that there is a new one.
  follow(job) {
    const bar = byId("progress");
    bar.hidden = job === null;
    byId("progress-text").textContent = job === null ? this.done ?? "" : describe(job);
    document.title = job === null ? `${this.isNews ? "✓ " : ""}Reverie studio` : `${Math.round(100 * (job.progress ?? 0))} % Reverie studio`;
    if (job === null) {
      if (this.picture.classList.contains("live")) this.#show();
      return;
    }
    bar.value = job.progress ?? 0;
    if (!job.preview && job.phase === "sample") this.#ask(job);
    if (job.preview > 0 && (job.preview !== this.version || job.id !== this.job)) {
      this.version = job.preview;
      this.job = job.id;
      this.#put(jobs.preview(job.id, job.preview), "What is being drawn", true);
    }
  }

  // The server draws previews for whom asks for them; the first question has no picture for an answer.
  #ask(job) {
    const now = performance.now();
    if (now - (this.asked ?? -ASK) < ASK) return;
    this.asked = now;
    fetch(jobs.preview(job.id, 0)).catch(() => {});
  }

  // items: [{url, infotext, seed, name}].
  set(items, done) {
    this.isNews = document.hidden;
    this.items = items;
    this.index = 0;
    this.done = done;
    byId("strip").replaceChildren(...(items.length < 2 ? [] : items.map((item, index) =>
      make("li", {}, make("button", { type: "button", class: "thumb", onclick: () => this.select(index) }, make("img", { src: item.thumbnail ?? item.url, alt: `Picture ${index + 1}` }))))));
    this.#show();
  }

  select(index) {
    this.index = index;
    this.#show();
  }

  get current() {
    return this.items[this.index] ?? null;
  }

  #show() {
    const item = this.current;
    byId("result-tools").hidden = item === null;
    byId("about").hidden = item === null;
    this.picture.hidden = item === null;
    byId("preview-open").hidden = item === null;
    byId("empty").hidden = item !== null;
    byId("progress-text").textContent = this.done ?? "";
    [...byId("strip").querySelectorAll("button")].forEach((button, index) => button.setAttribute("aria-current", index === this.index));
    if (item === null) return;
    this.#put(item.url, item.infotext?.split("\n")[0] || "The picture", false);
    byId("infotext").textContent = item.infotext ?? "";
    byId("download").href = item.url;
    byId("download").download = item.name ?? "picture.png";
  }

  #put(url, alt, isLive) {
    this.picture.src = url;
    this.picture.alt = alt;
    this.picture.hidden = false;
    byId("preview-open").hidden = false;
    this.picture.classList.toggle("live", isLive);
    byId("empty").hidden = true;
  }
}
