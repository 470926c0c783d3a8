// The queue as the server has it: this user's jobs with position, time left and buttons.
import { byId, make } from "../common/dom.js";
import { jobs } from "./api.js";

export const isLive = (job) => job.state === "queued" || job.state === "running";

export function clock(seconds) {
  if (!(seconds >= 0)) return "";
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function describe(job) {
  if (job.state === "queued") return `${job.position} in the queue${job.eta !== null ? `, done in ${clock(job.eta)}` : ""}`;
  if (job.state !== "running") return job.error ?? job.state;
  const part = job.held_up ? "waiting for the mirror" : job.phase === "sample" ? `step ${job.step} of ${job.steps}` : job.phase;
  const batch = job.batches > 1 ? `, batch ${job.batch + 1} of ${job.batches}` : "";
  return `${part}${batch}${job.eta !== null ? `, ${clock(job.eta)} left` : ""}`;
}

export class Queue {
  // onMoved(): the order is another, as far as the server has it.
  constructor(place, { onMoved, tell }) {
    this.place = place;
    this.jobs = new Map();
    this.rows = new Map();
    this.over = new Set(); // jobs that have ended: a list that was on its way meanwhile may say otherwise
    this.onMoved = onMoved;
    this.tell = tell;
    byId("queue-clear").addEventListener("click", () => this.#clear());
  }

  // Returns all that the server lists, and which of the jobs that were live here have ended meanwhile.
  async reload() {
    const { jobs: list, queue } = await jobs.list();
    const ended = list.filter((job) => !isLive(job) && this.jobs.has(job.id));
    for (const job of ended) this.over.add(job.id);
    this.jobs = new Map(list.filter((job) => isLive(job) && !this.over.has(job.id)).map((job) => [job.id, job]));
    this.show();
    return { list, ended, queue };
  }

  async #clear() {
    const all = [...this.jobs.keys()].reverse();
    if (all.length > 1 && !confirm(`Cancel your ${all.length} jobs?`)) return;
    for (const id of all) await jobs.cancel(id).catch(() => {}); // one that ended meanwhile is none to cancel
  }

  // A status from an event; returns true when the job just ended.
  update(job) {
    const was = this.jobs.get(job.id);
    if (!isLive(job)) this.over.add(job.id);
    if (!this.over.has(job.id)) this.jobs.set(job.id, { ...was, ...job });
    else this.jobs.delete(job.id);
    this.show();
    return was !== undefined && !isLive(job);
  }

  get running() {
    return [...this.jobs.values()].find((job) => job.state === "running") ?? null;
  }

  #row(id) {
    const act = (work) => async () => {
      try {
        await work();
        await this.onMoved();
      } catch (error) {
        this.tell(error.message);
      }
    };
    const what = make("span", { class: "what" });
    const when = make("span", { class: "when" });
    const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress" });
    const tool = (text, title, name, work) => make("button", { type: "button", class: `quiet ${name}`, text, title, "aria-label": title, onclick: act(work) });
    const up = tool("↑", "Earlier", "up", () => jobs.move(id, Math.max(0, this.#place(id) - 1)));
    const down = tool("↓", "Later", "down", () => jobs.move(id, this.#place(id) + 1));
    const stop = tool("✕", "Cancel", "danger", () => jobs.cancel(id));
    const row = make("li", { class: "job", "data-job": id }, what, make("span", { class: "tools" }, up, down, stop), when, bar);
    return { row, what, when, bar, up, down };
  }

  // As the server counts: those in work come first.
  get #order() {
    const place = (job) => (job.state === "running" ? -1 : job.position);
    return [...this.jobs.values()].sort((a, b) => place(a) - place(b));
  }

  #place(id) {
    return this.#order.findIndex((job) => job.id === id);
  }

  show() {
    const order = this.#order;
    const first = order.find((job) => job.state === "queued");
    for (const id of [...this.rows.keys()]) if (!this.jobs.has(id)) this.rows.delete(id);
    for (const job of order) {
      if (!this.rows.has(job.id)) this.rows.set(job.id, this.#row(job.id));
      const { row, what, when, bar, up, down } = this.rows.get(job.id);
      row.classList.toggle("running", job.state === "running");
      what.textContent = job.prompt || `${job.kind} ${job.id}`;
      what.title = job.prompt ?? "";
      when.textContent = describe(job);
      bar.hidden = job.state !== "running";
      bar.value = job.progress ?? 0;
      up.hidden = job.state !== "queued" || job.id === first?.id;
      down.hidden = job.state !== "queued" || job.id === order.at(-1).id;
    }
    byId("queue-clear").hidden = order.length === 0;
    byId("queue-empty").hidden = order.length > 0;
    const rows = order.map((job) => this.rows.get(job.id).row);
    if (rows.some((row, index) => this.place.children[index] !== row) || rows.length !== this.place.children.length) this.place.replaceChildren(...rows);
  }
}
