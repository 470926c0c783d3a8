// Server-sent events over a link that may break, or fall silent without breaking: tunnels freeze, phones sleep.
import { Backoff } from "../common/backoff.js";

const SILENT = 25000; // ms without an event until the server is asked whether it is there
const ASK = 5000; // ms between looks at this
const PATIENCE = 10000; // ms for its answer

// Handlers by name. onLink(isOpen) after every change and after every opening. The browser reconnects by itself and says
// where it stopped; after an answer that is none (a proxy's 502) it gives up, and this does not.
export class EventLink {
  constructor(address, handlers, onLink) {
    Object.assign(this, { address, handlers, onLink, backoff: new Backoff({ first: 500, most: 10000 }), timer: 0, isAsking: false });
    this.heard = performance.now();
    setInterval(() => performance.now() - this.heard > SILENT && this.#ask(), ASK);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#ask());
    addEventListener("online", () => this.#open());
    addEventListener("offline", () => this.#lost());
    this.#open();
  }

  #open() {
    clearTimeout(this.timer);
    this.source?.close();
    const source = (this.source = new EventSource(this.address));
    for (const [name, handle] of Object.entries(this.handlers))
      source.addEventListener(name, (event) => {
        this.heard = performance.now();
        handle(JSON.parse(event.data));
      });
    source.addEventListener("open", () => {
      this.heard = performance.now();
      this.backoff.reset();
      this.onLink(true);
    });
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.onLink(false);
      if (source.readyState === EventSource.CLOSED) this.timer = setTimeout(() => this.#open(), this.backoff.next());
    });
  }

  #lost() {
    this.source.close();
    this.onLink(false);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#open(), this.backoff.next());
  }

  // A link that says nothing may be idle or dead: only a question tells.
  async #ask() {
    if (this.isAsking || this.source.readyState !== EventSource.OPEN) return;
    this.isAsking = true;
    try {
      await fetch("/api/v1/me", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      this.heard = performance.now();
    } catch {
      this.#lost();
    } finally {
      this.isAsking = false;
    }
  }
}
