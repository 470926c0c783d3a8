// How good a JPEG the way to the server carries, judged by how many frames take longer than the shortest trip seen. Single
// ones do wherever packets get lost, and smaller pictures would not change that.

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
const LATE_GAIN = 0.125; // of the moving share of slow frames
const LATE_SHARE = 0.5; // above which the way is too thin
const STEP_DOWN = 500; // ms between steps down
const FIRST_WAIT = 4000; // ms of quiet before a step up; doubled when the step had to be taken back
const LONGEST_WAIT = 60000;
const FRAME_INTERVAL = 33; // ms
const SKIPS = 12; // in a row; fewer are only a busy moment, or a lost packet that is sent again

export class UplinkQuality {
  constructor(now = () => performance.now()) {
    this.now = now;
    this.level = START;
    this.shortest = Infinity;
    this.changed = this.quietSince = now();
    this.wait = FIRST_WAIT;
    this.rose = false;
    this.skips = 0;
    this.late = 0; // share of the last frames
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
    const isLate = roundTrip - this.shortest > SLOW;
    this.late += LATE_GAIN * (isLate - this.late);
    if (isLate) {
      if (this.late > LATE_SHARE) this.#down();
    } else if (this.now() - this.quietSince > this.wait) this.#up();
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
    this.late = 0;
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
