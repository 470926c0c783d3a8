// What the HUD shows, collected by the transports and the display.
import { WindowStats } from "../common/window_stats.js";

const STAGES = 8;

export class Stats {
  constructor() {
    this.shown = new WindowStats(10); // milliseconds since the frame before
    this.age = new WindowStats(10); // milliseconds from camera to screen
    this.sent = new WindowStats(5); // bytes
    this.received = new WindowStats(5); // bytes
    this.stages = new Map(); // name -> WindowStats of milliseconds
    this.dropped = 0; // frames that the page or the server left out
    this.late = 0; // frames that came after a newer one
    this.roundTrip = null;
    this.codec = null; // of the pictures that come, as WebRTC names it
    this.estimate = null; // {p50, p99} of the age, in milliseconds, where frames do not tell theirs
    this.isWatched = false; // somebody looks at the figures
    this.last = null;
  }

  frameShown(age) {
    const now = performance.now();
    if (this.last !== null) this.shown.add(now - this.last, now);
    this.last = now;
    if (age !== null && age >= 0) this.age.add(age, now);
  }

  stage(name, milliseconds) {
    if (!this.stages.has(name)) {
      if (this.stages.size >= STAGES) return;
      this.stages.set(name, new WindowStats(5));
    }
    this.stages.get(name).add(milliseconds);
  }

  // Milliseconds since the last new picture; null before the first.
  silence(now = performance.now()) {
    return this.last === null ? null : now - this.last;
  }

  // Ages and stages of one transport say nothing about the next.
  newConnection() {
    this.age.clear();
    this.stages.clear();
    this.roundTrip = null;
    this.codec = null;
    this.estimate = null;
  }

  snapshot() {
    const now = performance.now();
    return {
      fps: this.shown.perSecond(now),
      interval: this.shown.summary(now),
      age: this.age.summary(now),
      estimate: this.estimate,
      up: (this.sent.sumPerSecond(now) * 8) / 1e6,
      down: (this.received.sumPerSecond(now) * 8) / 1e6,
      stages: [...this.stages].map(([name, window]) => ({ name, ...window.summary(now) })).filter((s) => s.count),
      dropped: this.dropped,
      late: this.late,
      roundTrip: this.roundTrip,
      codec: this.codec,
      silence: this.silence(now),
    };
  }
}
