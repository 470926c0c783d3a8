// What a page holds and the server keeps: small documents, saved a moment after a change and when the page is left.
import { documents } from "./api.js";
import { loadImage } from "./files.js";

const WAIT = 500; // ms
const QUALITIES = [0.92, 0.8, 0.6];
const MOST = 900000; // characters of a document

export class Kept {
  // read() gives the document, or a promise of it.
  constructor(name, read) {
    this.name = name;
    this.read = read;
    this.timer = 0;
    this.isHeld = false;
    this.isUnsaved = false;
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.timer && this.#save());
  }

  // Once the server is there again: what it missed.
  retry() {
    if (this.isUnsaved) this.#save();
  }

  load() {
    return documents.load(this.name).catch(() => null);
  }

  // While work() fills the page nothing is to be saved.
  static async hold(all, work) {
    for (const kept of all) kept.isHeld = true;
    try {
      await work();
    } finally {
      for (const kept of all) kept.isHeld = false;
    }
  }

  changed() {
    if (this.isHeld) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#save(), WAIT);
  }

  async #save() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.isUnsaved = false;
    await documents.save(this.name, await this.read()).catch(() => (this.isUnsaved = true)); // it is still on the page
  }
}

// A picture as text short enough for a document: as it is, or else as WebP; null when even that is too long.
export async function short(url, most = MOST) {
  if (url === null || url.length <= most) return url;
  const image = await loadImage(url);
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  for (const quality of QUALITIES) {
    const small = canvas.toDataURL("image/webp", quality);
    if (small.length <= most) return small;
  }
  return null;
}
