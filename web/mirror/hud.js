// The live figures: numbers twice a second, and a chart of the last frames with one bar for each.

const BARS = 160;
const TOP = 250; // ms: the fixed axis on which providers are compared

const ms = (value) => (value === null || value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

export class Hud {
  constructor(panel, chart, figures, stats) {
    Object.assign(this, { panel, chart, figures, stats });
    this.context = chart.getContext("2d");
    this.link = { transport: null };
    this.values = new Map();
    setInterval(() => {
      if (!panel.hidden && !document.hidden) this.#draw();
    }, 200);
  }

  show(on) {
    this.panel.hidden = !on;
    this.stats.isWatched = on;
    if (on) this.#draw();
  }

  #draw() {
    const now = this.stats.snapshot();
    this.#text("shown", `${now.fps.toFixed(1)} fps, every ${ms(now.interval?.p50)}, p99 ${ms(now.interval?.p99)}`);
    const age = now.age ?? now.estimate;
    this.#text("age of the frame", `${now.age ? "" : "about "}p50 ${ms(age?.p50)}, p99 ${ms(age?.p99)}`);
    this.#text("server", now.stages.map(({ name, p50 }) => `${name} ${p50.toFixed(1)}`).join(" · ") || "–");
    this.#text("network", `↑ ${now.up.toFixed(1)} ↓ ${now.down.toFixed(1)} Mb/s, trip ${ms(now.roundTrip)}${now.codec ? `, ${now.codec}` : ""}`);
    this.#text("left out, late", `${now.dropped}, ${now.late}`);
    this.#drawChart();
  }

  #text(name, value) {
    if (!this.values.has(name)) {
      const term = document.createElement("dt");
      const definition = document.createElement("dd");
      term.textContent = name;
      this.figures.append(term, definition);
      this.values.set(name, definition);
    }
    this.values.get(name).textContent = value;
  }

  #drawChart() {
    const scale = devicePixelRatio || 1;
    const width = Math.round(this.chart.clientWidth * scale);
    const height = Math.round((this.chart.clientWidth * scale * 92) / 320);
    if (!width) return;
    if (this.chart.width !== width) Object.assign(this.chart, { width, height });
    const c = this.context;
    c.clearRect(0, 0, width, height);
    this.#grid(c, width, height, scale);
    const y = (value) => height - Math.min(1, value / TOP) * (height - 4 * scale);
    const step = width / BARS;
    const bars = this.stats.shown.samples.slice(-BARS);
    c.fillStyle = "#3d6f96";
    bars.forEach((sample, i) => {
      const top = y(sample.value);
      c.fillRect(width - (bars.length - i) * step, top, Math.max(1, step - scale * 0.4), height - top);
    });
    c.fillStyle = "#ffc466";
    const ages = this.stats.age.samples.slice(-BARS);
    ages.forEach((sample, i) => {
      c.fillRect(width - (ages.length - i) * step, y(sample.value) - scale, Math.max(1.5, step), 2 * scale);
    });
    this.#legend(c, scale);
  }

  #grid(c, width, height, scale) {
    c.strokeStyle = "#2c343d";
    c.lineWidth = scale;
    c.fillStyle = "#98a4b0";
    c.font = `${9 * scale}px system-ui, sans-serif`;
    for (const value of [50, 100, 150, 200]) {
      const y = Math.round(height - (value / TOP) * (height - 4 * scale)) + 0.5;
      c.beginPath();
      c.moveTo(0, y);
      c.lineTo(width, y);
      c.stroke();
      if (value % 100 === 0) c.fillText(`${value} ms`, 2 * scale, y - 2 * scale);
    }
  }

  #legend(c, scale) {
    c.font = `${9 * scale}px system-ui, sans-serif`;
    c.textAlign = "right";
    c.fillStyle = "#7cc4ff";
    c.fillText("interval", this.chart.width - 34 * scale, 10 * scale);
    c.fillStyle = "#ffc466";
    c.fillText("age", this.chart.width - 8 * scale, 10 * scale);
    c.textAlign = "left";
  }
}
