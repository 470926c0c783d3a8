// Turns the playing video into square, flipped, scaled frames: each is drawn once, just before use.

const REPEAT = 500; // ms: a still source (a screen, a paused film) is sent again so that new prompts show

export class Framer {
  // onframe(captureTime): called for each new video frame; captureTime is in performance.now()'s milliseconds.
  constructor(video, onframe) {
    Object.assign(this, { video, onframe, size: 512, flip: false, square: true });
    this.running = false;
    this.handle = 0;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.last = 0;
    this.timer = setInterval(() => this.#repeat(), REPEAT / 2);
    this.#next();
  }

  stop() {
    this.running = false;
    clearInterval(this.timer);
    this.video.cancelVideoFrameCallback?.(this.handle);
    cancelAnimationFrame(this.handle);
  }

  #next() {
    if (!this.running) return;
    const arrived = (now, frame) => {
      if (!this.running) return;
      this.#emit(frame?.captureTime ?? now);
      this.#next();
    };
    this.handle = this.video.requestVideoFrameCallback
      ? this.video.requestVideoFrameCallback(arrived)
      : requestAnimationFrame(arrived);
  }

  #emit(captured) {
    if (!this.video.videoWidth) return;
    this.last = performance.now();
    this.onframe(captured);
  }

  #repeat() {
    const now = performance.now();
    if (now - this.last >= REPEAT && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) this.#emit(now);
  }

  // {width, height} of what draw() makes: `size` along the shorter side, multiples of 8.
  target(shrink = 1) {
    const { videoWidth: w, videoHeight: h } = this.video;
    if (this.square) return { width: Math.round(this.size * shrink), height: Math.round(this.size * shrink) };
    const scale = (this.size * shrink) / Math.min(w, h);
    const round = (n) => Math.max(8, Math.round((n * scale) / 8) * 8);
    return { width: round(w), height: round(h) };
  }

  draw(canvas, context, shrink = 1) {
    const { width, height } = this.target(shrink);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const { videoWidth: w, videoHeight: h } = this.video;
    const scale = Math.max(width / w, height / h);
    const [cropW, cropH] = [width / scale, height / scale];
    context.setTransform(this.flip ? -1 : 1, 0, 0, 1, this.flip ? width : 0, 0);
    context.drawImage(this.video, (w - cropW) / 2, (h - cropH) / 2, cropW, cropH, 0, 0, width, height);
  }
}
