// Numbers of the last seconds: counts per second and percentiles, over a sliding window.

export class WindowStats {
  constructor(seconds = 10, most = 2000) {
    this.span = seconds * 1000;
    this.most = most;
    this.samples = []; // {at, value}, oldest first
  }

  add(value, at = performance.now()) {
    this.samples.push({ at, value });
    this.#forget(at);
  }

  #forget(now) {
    let stale = Math.max(0, this.samples.length - this.most);
    while (stale < this.samples.length && this.samples[stale].at < now - this.span) stale++;
    if (stale) this.samples.splice(0, stale);
  }

  clear() {
    this.samples.length = 0;
  }

  // Of the window's own span, or of the time since the first sample when that is shorter.
  perSecond(now = performance.now()) {
    this.#forget(now);
    if (!this.samples.length) return 0;
    const span = Math.min(this.span, Math.max(1000, now - this.samples[0].at));
    return (this.samples.length * 1000) / span;
  }

  sumPerSecond(now = performance.now()) {
    this.#forget(now);
    if (!this.samples.length) return 0;
    const span = Math.min(this.span, Math.max(1000, now - this.samples[0].at));
    return (this.samples.reduce((sum, sample) => sum + sample.value, 0) * 1000) / span;
  }

  // {count, mean, p50, p95, p99, max}, or null when nothing is known.
  summary(now = performance.now()) {
    this.#forget(now);
    return summarise(this.samples.map((sample) => sample.value));
  }
}

// Nearest-rank percentiles.
export function summarise(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
  return {
    count: sorted.length,
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p50: rank(0.5),
    p95: rank(0.95),
    p99: rank(0.99),
    max: sorted[sorted.length - 1],
  };
}
