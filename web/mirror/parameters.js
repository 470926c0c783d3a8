// Strength, steps, opacity, seed, passthrough and the presets: bound to the server's live parameters.
import { byId } from "../common/dom.js";

const SLIDERS = { strength: 2, steps: 0, opacity: 2 }; // name -> decimals shown

export class Parameters {
  constructor(state) {
    this.state = state;
    this.passthrough = byId("passthrough");
    this.seed = byId("seed");
    for (const name of Object.keys(SLIDERS)) {
      const input = byId(name);
      input.addEventListener("input", () => {
        this.#label(name);
        state.set({ [name]: Number(input.value) });
      });
    }
    this.seed.addEventListener("change", () => {
      if (this.seed.checkValidity() && this.seed.value !== "") state.set({ seed: Number(this.seed.value) });
    });
    byId("dice").addEventListener("click", () => this.newSeed());
    byId("preset-hard").addEventListener("click", () => this.#preset(2, 0.7));
    byId("preset-soft").addEventListener("click", () => this.#preset(3, 0.5));
    this.passthrough.addEventListener("click", () => this.togglePassthrough());
    state.addEventListener("change", () => this.#follow());
  }

  newSeed() {
    this.seed.value = Math.floor(Math.random() * 2 ** 31);
    this.state.set({ seed: Number(this.seed.value) });
  }

  togglePassthrough() {
    const on = this.passthrough.getAttribute("aria-pressed") !== "true";
    this.passthrough.setAttribute("aria-pressed", on);
    this.state.set({ passthrough: on });
  }

  #preset(steps, strength) {
    byId("steps").value = steps;
    byId("strength").value = strength;
    this.#label("steps");
    this.#label("strength");
    this.state.set({ steps, strength });
  }

  #label(name) {
    const input = byId(name);
    input.parentElement.querySelector("output").value = Number(input.value).toFixed(SLIDERS[name]);
  }

  // A control in the user's hand is left alone.
  #follow() {
    const { values } = this.state;
    for (const name of Object.keys(SLIDERS)) {
      const input = byId(name);
      if (values[name] === undefined || input.matches(":active")) continue;
      input.value = values[name];
      this.#label(name);
    }
    if (values.seed !== undefined && document.activeElement !== this.seed) this.seed.value = values.seed;
    this.passthrough.setAttribute("aria-pressed", values.passthrough === true);
  }
}
