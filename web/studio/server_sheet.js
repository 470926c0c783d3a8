// What administrators see: load, memory, disk, who has jobs; and the limits, which they set.
import { byId, make } from "../common/dom.js";
import { admin, jobs } from "./api.js";

const EVERY = 2000; // ms
const LIMITS = [["jobs_per_user", "Jobs of one user"], ["max_side", "Pixels of a side"], ["max_batch", "Pictures at a time"],
  ["max_pictures", "Pictures of a job"], ["max_steps", "Steps"], ["keep_jobs_hours", "Hours that ended jobs are kept"]];

const GIGABYTE = 1 << 30;
const size = (bytes) => (bytes < 0 ? "unknown" : bytes >= GIGABYTE ? `${(bytes / GIGABYTE).toFixed(1)} GB` : `${Math.round(bytes / (1 << 20))} MB`);

export class ServerSheet {
  constructor(tell) {
    this.tell = tell;
    this.sheet = byId("server-sheet");
    this.figures = make("dl", { class: "figures" });
    this.users = make("table", {});
    this.inputs = LIMITS.map(([name, label]) => ({ name, label, input: make("input", { type: "number", id: `limit-${name}`, min: 1, required: true }) }));
    const form = make("form", {}, make("h3", { text: "Limits" }), make("div", { class: "group" }, ...this.inputs.map(({ label, input }) =>
      make("div", { class: "field" }, make("label", { for: input.id, text: label }), input))), make("div", { class: "row" },
      make("button", { type: "submit", class: "primary", text: "Set limits" }), make("button", { type: "button", text: "Free the memory", title: "Models leave the device; the next job loads its own again", onclick: () => this.#free() }),
      make("button", { type: "button", text: "Close", onclick: () => this.sheet.close() })));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#limit();
    });
    this.sheet.append(make("h2", { id: "server-title", text: "Server" }), this.figures, this.users, form);
    this.sheet.addEventListener("close", () => clearInterval(this.timer));
    byId("server").addEventListener("click", () => this.open());
  }

  async open() {
    this.sheet.showModal();
    const state = await this.#load();
    if (state) for (const { name, input } of this.inputs) input.value = state.limits[name];
    clearInterval(this.timer);
    this.timer = setInterval(() => this.#load(), EVERY);
  }

  async #load() {
    try {
      const state = await admin.load();
      this.#show(state);
      return state;
    } catch (error) {
      this.tell(error.message);
      return null;
    }
  }

  #show(state) {
    const rows = [["Jobs", state.jobs], ["Batches to draw", state.batches], ["Models on devices", size(state.device_bytes)], ["Memory of the process", size(state.resident_bytes)],
      ["Free on the disk", `${size(state.disk.free)} of ${size(state.disk.total)}`], ...(state.paused ? [["Paused", state.paused]] : [])];
    this.figures.replaceChildren(...rows.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: String(value) })]));
    this.users.hidden = state.users.length === 0;
    this.users.replaceChildren(make("caption", { text: "Users" }), make("tr", {}, ...["Name", "Jobs", "Role"].map((text) => make("th", { scope: "col", text }))),
      ...state.users.map(({ name, jobs, admin: isAdmin }) => make("tr", {}, make("td", { text: name }), make("td", { text: String(jobs) }), make("td", { text: isAdmin ? "administrator" : "user" }))));
  }

  async #free() {
    try {
      await jobs.unload();
      this.tell("The models have left the device's memory.");
      await this.#load();
    } catch (error) {
      this.tell(error.message);
    }
  }

  async #limit() {
    try {
      await admin.limit(Object.fromEntries(this.inputs.map(({ name, input }) => [name, Number(input.value)])));
      this.tell("The limits are set.");
    } catch (error) {
      this.tell(error.message);
    }
  }
}
