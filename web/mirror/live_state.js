// The server's live parameters as this page knows them: read every second, changed at once, shared with every
// other page, OSC desk or script that steers the same mirror.
import { getState, postState } from "../common/server.js";
import { throttle } from "../common/dom.js";

const POLL = 1000; // ms
const SEND = 33; // ms: a slider sends at most 30 changes a second

export class LiveState extends EventTarget {
  constructor() {
    super();
    this.values = null; // null until the server answered
    this.unsent = {};
    this.posting = 0;
    this.reachable = true;
    this.flush = throttle(() => this.#send(), SEND);
  }

  start() {
    this.#poll();
    setInterval(() => {
      if (!document.hidden) this.#poll();
    }, POLL);
  }

  // Changes are gathered and sent together; later ones of the same name win.
  set(changes) {
    Object.assign(this.unsent, changes);
    if (this.values) Object.assign(this.values, changes);
    this.flush();
  }

  async #send() {
    const changes = this.unsent;
    this.unsent = {};
    this.posting++;
    try {
      this.#take(await postState(changes));
    } catch (error) {
      this.#unreachable(error);
    } finally {
      this.posting--;
    }
  }

  async #poll() {
    if (this.posting) return; // its reply is newer than ours would be
    try {
      const values = await getState();
      if (!this.posting && !Object.keys(this.unsent).length) this.#take(values);
    } catch (error) {
      this.#unreachable(error);
    }
  }

  #take(values) {
    this.reachable = true;
    if (this.posting > 1 || Object.keys(this.unsent).length) return; // a newer change is under way
    this.values = values;
    this.dispatchEvent(new Event("change"));
  }

  #unreachable(error) {
    this.reachable = false;
    this.dispatchEvent(new CustomEvent("problem", { detail: error.message }));
  }
}
