// Plays a cue list, by its own clock or by the audio file's; Go and Back step through it by hand.
import { cueAt, lengthOf } from "./cue_list.js";

const TICK = 20; // ms

export class CuePlayer {
  // oncue(cue, index) sends a cue; onstate() tells that playing, index or time changed.
  constructor(audio, oncue, onstate) {
    Object.assign(this, { audio, oncue, onstate, list: { loop: false, cues: [] }, index: -1 });
    this.playing = false;
    this.offset = 0; // seconds at `began`
    this.began = 0;
  }

  setList(list) {
    this.list = list;
    this.index = Math.min(this.index, list.cues.length - 1);
    this.onstate();
  }

  get hasAudio() {
    return Boolean(this.audio.src) && !this.audio.error; // a file that is no sound does not stop the show
  }

  seconds() {
    if (!this.playing) return this.offset;
    return this.hasAudio ? this.audio.currentTime : this.offset + (performance.now() - this.began) / 1000;
  }

  async play() {
    if (this.playing || !this.list.cues.length) return;
    if (this.offset >= this.#end()) this.#seek(0);
    if (this.hasAudio) {
      this.audio.currentTime = this.offset;
      await this.audio.play();
    }
    this.began = performance.now();
    this.playing = true;
    this.timer = setInterval(() => this.#tick(), TICK);
    this.#tick();
  }

  pause() {
    if (!this.playing) return;
    this.offset = this.seconds();
    this.playing = false;
    this.audio.pause();
    clearInterval(this.timer);
    this.onstate();
  }

  stop() {
    this.pause();
    this.#seek(0);
    this.index = -1;
    this.onstate();
  }

  // Cue by cue; while playing, the clock jumps along.
  step(by) {
    const { cues } = this.list;
    if (!cues.length) return;
    const wanted = this.index + by;
    const wrapped = this.list.loop ? (wanted + cues.length) % cues.length : Math.min(cues.length - 1, Math.max(0, wanted));
    this.jump(wrapped);
  }

  jump(index) {
    this.#seek(this.list.cues[index].at);
    this.#fire(index);
  }

  #seek(seconds) {
    this.offset = seconds;
    this.began = performance.now();
    if (this.hasAudio) this.audio.currentTime = seconds;
  }

  #end() {
    const own = lengthOf(this.list.cues);
    return this.hasAudio && Number.isFinite(this.audio.duration) ? this.audio.duration : own;
  }

  #fire(index) {
    this.index = index;
    this.oncue(this.list.cues[index], index);
    this.onstate();
  }

  #tick() {
    const now = this.seconds();
    const index = cueAt(this.list.cues, now);
    if (index >= 0 && index !== this.index) this.#fire(index);
    if (now >= this.#end() || (this.hasAudio && this.audio.ended)) this.#atEnd();
    this.onstate();
  }

  #atEnd() {
    if (!this.list.loop) {
      this.pause();
      return;
    }
    this.#seek(0);
    this.index = -1;
    if (this.hasAudio) this.audio.play().catch(() => this.pause());
  }
}
