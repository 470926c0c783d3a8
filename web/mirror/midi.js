// MIDI learn: choose a control on the page, move one on the desk. Sliders follow controllers, buttons follow notes
// and controllers that go past the middle.
import { byId, load, make, save } from "../common/dom.js";

const NOTE_ON = 0x90;
const CONTROL_CHANGE = 0xb0;

// MIDI bytes -> {key: "cc 1/7", value: 0..1}, or null for what is neither a controller nor a pressed note.
export function readMidi([status, number, value]) {
  const channel = (status & 15) + 1;
  if ((status & 0xf0) === CONTROL_CHANGE) return { key: `cc ${channel}/${number}`, value: value / 127 };
  if ((status & 0xf0) === NOTE_ON && value > 0) return { key: `note ${channel}/${number}`, value: value / 127 };
  return null;
}

export class Midi {
  constructor() {
    this.map = load("midi", {}); // "cc 1/7" -> name of a control
    this.last = new Map();
    this.learning = false;
    this.chosen = null;
    byId("midi-learn").addEventListener("click", () => this.#toggleLearn());
    byId("midi-clear").addEventListener("click", () => this.#store({}));
    document.addEventListener("click", (event) => this.#choose(event), true);
    document.addEventListener("pointerdown", (event) => this.#choose(event), true);
    this.#draw();
    if (Object.keys(this.map).length) this.#open();
  }

  async #open() {
    if (this.access) return;
    const status = byId("midi-status");
    try {
      if (!navigator.requestMIDIAccess) throw new Error("this browser has no MIDI");
      this.access = await navigator.requestMIDIAccess();
      const attach = () => {
        for (const input of this.access.inputs.values()) input.onmidimessage = ({ data }) => this.receive(data);
        status.textContent = `${this.access.inputs.size} MIDI inputs`;
      };
      this.access.onstatechange = attach; // desks may be plugged in later
      attach();
    } catch (error) {
      status.textContent = `No MIDI: ${error.message}`;
    }
  }

  #toggleLearn() {
    this.learning = !this.learning;
    this.chosen = null;
    byId("midi-learn").setAttribute("aria-pressed", this.learning);
    document.body.classList.toggle("learning", this.learning);
    this.#mark();
    if (this.learning) this.#open();
  }

  // While learning, a click chooses a control instead of working it.
  #choose(event) {
    const control = event.target.closest?.("[data-midi]");
    if (!this.learning || !control) return;
    event.preventDefault();
    event.stopPropagation();
    this.chosen = control.dataset.midi;
    this.#mark();
  }

  #mark() {
    for (const control of document.querySelectorAll("[data-midi]"))
      control.classList.toggle("chosen", control.dataset.midi === this.chosen);
  }

  receive(bytes) {
    const message = readMidi(bytes);
    if (!message) return;
    if (this.learning && this.chosen) {
      this.#store({ ...this.map, [message.key]: this.chosen });
      this.chosen = null;
      this.#mark();
    } else if (this.map[message.key]) this.#work(message);
  }

  #work({ key, value }) {
    const control = document.querySelector(`[data-midi="${CSS.escape(this.map[key])}"]`);
    if (!control) return;
    const before = this.last.get(key) ?? 0;
    this.last.set(key, value);
    if (control.type === "range") {
      const [least, most] = [Number(control.min), Number(control.max)];
      control.value = least + value * (most - least);
      control.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (key.startsWith("note") || (before < 0.5 && value >= 0.5)) control.click();
  }

  #store(map) {
    this.map = map;
    save("midi", map);
    this.#draw();
  }

  #draw() {
    const entries = Object.entries(this.map);
    byId("midi-map").replaceChildren(
      ...entries.map(([key, name]) => make("li", {}, make("span", { text: name }), make("span", { text: key }))),
    );
  }
}
