// How good a JPEG the way to the server carries, judged by how much longer frames take than the shortest trip seen.

// [JPEG quality, scale of the sides], best first.
const LADDER = [
  [0.85, 1],
  [0.75, 1],
  [0.65, 1],
  [0.5, 1],
  [0.5, 0.75],
  [0.4, 0.5],
  [0.3, 0.375],
];
const START = 1;
const SLOW = 60; // ms beyond the shortest trip: the queue grows
const STEP_DOWN = 500; // ms between steps down
const FIRST_WAIT = 4000; // ms of quiet before a step up; doubled when the step had to be taken back
const LONGEST_WAIT = 60000;
const FRAME_INTERVAL = 33; // ms
const SKIPS = 3; // in a row; one alone is only a busy moment

export class UplinkQuality {
  constructor(now = () => performance.now()) {
    this.now = now;
    this.level = START;
    this.shortest = Infinity;
    this.changed = this.quietSince = now();
    this.wait = FIRST_WAIT;
    this.rose = false;
    this.skips = 0;
  }

  get jpeg() {
    return LADDER[this.level][0];
  }

  get scale() {
    return LADDER[this.level][1];
  }

  // Frames that may be on the way: two, and those that fit into the empty connection's round trip.
  get window() {
    const trip = Number.isFinite(this.shortest) ? this.shortest : 0;
    return Math.min(10, 2 + Math.floor(trip / FRAME_INTERVAL));
  }

  arrived(roundTrip) {
    this.shortest = Math.min(this.shortest, roundTrip);
    this.skips = 0;
    if (roundTrip - this.shortest > SLOW) this.#down();
    else if (this.now() - this.quietSince > this.wait) this.#up();
  }

  // A camera frame found no room.
  skipped() {
    if (++this.skips >= SKIPS) this.#down();
  }

  #down() {
    const now = this.now();
    this.quietSince = now;
    if (now - this.changed < STEP_DOWN || this.level === LADDER.length - 1) return;
    if (this.rose) this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    this.rose = false;
    this.level++;
    this.changed = now;
  }

  #up() {
    this.quietSince = this.changed = this.now();
    if (this.level === 0) return;
    this.rose = true;
    this.level--;
  }
}
