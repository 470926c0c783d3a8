// Runs in the page before its own code: a camera whose frames carry their number, and a reader of what is shown.
// The number stands in a row of 16 blocks, black for 0 and white for 1, most significant first; below is one colour.
(() => {
  const BITS = 16;
  const COLOUR = [200, 60, 110];
  // rich: below the blocks a picture that moves and is as hard to compress as a camera's; or a palette: rows of colours.
  const { fps = 30, flip = false, side: SIDE = 512, rich = false, palette = null } = globalThis.reverieTest ?? {};
  const BLOCK = SIDE / BITS;
  const test = (globalThis.reverieTest = { drawn: new Map(), shown: [], colour: COLOUR });
  localStorage.setItem("reverie.flip", JSON.stringify(flip));

  function texture() {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 2 * SIDE;
    const context = canvas.getContext("2d", { alpha: false });
    const picture = context.createImageData(2 * SIDE, 2 * SIDE);
    for (let i = 0; i < picture.data.length; i += 4) {
      const [x, y] = [(i / 4) % (2 * SIDE), Math.floor(i / 8 / SIDE)];
      for (let c = 0; c < 3; c++)
        picture.data[i + c] = 128 + 50 * Math.sin(x * 0.013 + c) + 40 * Math.sin(y * 0.07 + x * 0.05 * c) + 16 * Math.random();
      picture.data[i + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    return canvas;
  }
  const background = rich ? texture() : null;

  function draw(context, number) {
    context.fillStyle = `rgb(${COLOUR})`;
    context.fillRect(0, 0, SIDE, SIDE);
    for (const [y, row] of (palette ?? []).entries())
      for (const [x, colour] of row.entries()) {
        context.fillStyle = `rgb(${colour})`;
        const [width, height] = [SIDE / row.length, (SIDE - BLOCK) / palette.length];
        context.fillRect(Math.floor(x * width), Math.floor(BLOCK + y * height), Math.ceil(width), Math.ceil(height));
      }
    if (background) context.drawImage(background, -((3 * number) % SIDE), -((2 * number) % SIDE));
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

  // The effect inverts, so a black block is shown white. clear: every block is nearly black or nearly white.
  function read(context) {
    const { width } = context.canvas;
    const { data } = context.getImageData(0, Math.round(width / 32), width, 1);
    let number = 0;
    let clear = true;
    for (let bit = 0; bit < BITS; bit++) {
      const green = data[4 * Math.round(((bit + 0.5) * width) / BITS) + 1];
      number = number * 2 + (green < 128 ? 1 : 0);
      clear &&= green < 64 || green > 192;
    }
    return { number, clear };
  }

  const drawImage = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (...args) {
    drawImage.apply(this, args);
    if (this.canvas.id !== "picture") return;
    const at = performance.now();
    const { number, clear } = read(this);
    test.shown.push({ number, clear, width: this.canvas.width, ready: args[0].readyState, at, age: at - (test.drawn.get(number) ?? NaN) });
  };
})();
