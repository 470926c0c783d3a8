// Jobs on their way to the server. One that does not get through is kept and sent once the server is there again; each
// has a name of its own, so that one whose answer was lost is found in the server's list instead of being drawn twice.
import { Backoff } from "../common/backoff.js";
import { jobs } from "./api.js";

const SLOW = 700; // ms until a job that is on its way is said to be

export class Sender {
  // onAccepted(id): the server has it. onRefused(text). onWaiting(isWaiting): it is tried again, or no longer.
  // onSlow(isSlow): an answer takes long.
  constructor({ onAccepted, onRefused, onWaiting, onSlow }) {
    Object.assign(this, { onAccepted, onRefused, onWaiting, onSlow, unsent: null, timer: 0, backoff: new Backoff({ first: 1000, most: 10000 }) });
  }

  // Returns whether the server took it.
  send(kind, body) {
    this.forget();
    const name = `page-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`;
    return this.#deliver({ kind, name, body: kind === "extras" ? { ...body, name } : { ...body, force_task_id: name } });
  }

  async #deliver(job) {
    const slow = setTimeout(() => this.onSlow(true), SLOW);
    try {
      const { id } = job.kind === "extras" ? await jobs.enlarge(job.body) : await jobs.draw(job.kind, job.body);
      await this.onAccepted(id);
      return true;
    } catch (error) {
      this.#failed(job, error);
      return false;
    } finally {
      clearTimeout(slow);
      this.onSlow(false);
    }
  }

  #failed(job, error) {
    if (!error.isAway) return this.onRefused(error.message);
    this.unsent = job;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retry(), this.backoff.next());
    return this.onWaiting(true);
  }

  forget() {
    if (this.unsent === null) return;
    this.unsent = null;
    clearTimeout(this.timer);
    this.backoff.reset();
    this.onWaiting(false);
  }

  async retry() {
    const job = this.unsent;
    if (job === null) return;
    try {
      const { jobs: list } = await jobs.list();
      if (this.unsent !== job) return;
      this.forget();
      const found = list.find(({ name }) => name === job.name);
      if (found === undefined) await this.#deliver(job);
      else await this.onAccepted(found.id);
    } catch (error) {
      if (this.unsent === job) this.#failed(job, error);
    }
  }
}
