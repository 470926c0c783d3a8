// Runs in the page before its own code: a camera whose frames carry their number, and a reader of what is shown.
// The number stands in a row of 16 blocks, black for 0 and white for 1, most significant first; below is one colour.
(() => {
  const BITS = 16;
  const SIDE = 512;
  const BLOCK = SIDE / BITS;
  const COLOUR = [200, 60, 110];
  const { fps = 30, flip = false } = globalThis.reverieTest ?? {};
  const test = (globalThis.reverieTest = { drawn: new Map(), shown: [], colour: COLOUR });
  localStorage.setItem("reverie.flip", JSON.stringify(flip));

  function draw(context, number) {
    context.fillStyle = `rgb(${COLOUR})`;
    context.fillRect(0, 0, SIDE, SIDE);
    for (let bit = 0; bit < BITS; bit++) {
      context.fillStyle = (number >> (BITS - 1 - bit)) & 1 ? "#fff" : "#000";
      context.fillRect(bit * BLOCK, 0, BLOCK, BLOCK);
    }
  }

  navigator.mediaDevices.getUserMedia = async () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    const context = canvas.getContext("2d", { alpha: false });
    let number = 0;
    const tick = () => {
      draw(context, ++number);
      test.drawn.set(number, performance.now());
    };
    tick();
    const stream = canvas.captureStream(fps);
    setInterval(tick, 1000 / fps);
    return stream;
  };

  // The effect inverts, so a black block is shown white.
  function read(context) {
    const { width } = context.canvas;
    const { data } = context.getImageData(0, Math.round(width / 32), width, 1);
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) number = number * 2 + (data[4 * Math.round(((bit + 0.5) * width) / BITS) + 1] < 128 ? 1 : 0);
    return number;
  }

  const drawImage = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (...args) {
    drawImage.apply(this, args);
    if (this.canvas.id !== "picture") return;
    const at = performance.now();
    const number = read(this);
    test.shown.push({ number, at, age: at - (test.drawn.get(number) ?? NaN) });
  };
})();
