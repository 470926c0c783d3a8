// The picture on the screen. It holds the last one for ever: nothing else is ever drawn here.

export class Display {
  constructor(canvas, stats) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.stats = stats;
    this.shown = 0;
    this.newest = -1;
  }

  // A new connection counts its frames anew.
  restart() {
    this.newest = -1;
  }

  // Draws an ImageBitmap or <video>; `order` must grow, an older frame is refused and counted as late.
  show(picture, { order, captured = null, width = picture.width, height = picture.height }) {
    if (order <= this.newest) {
      this.stats.late++;
      return false;
    }
    this.newest = order;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(picture, 0, 0, width, height);
    this.shown++;
    this.stats.frameShown(captured === null ? null : performance.now() - captured);
    return true;
  }
}
