// Waiting times between attempts to connect: doubling, capped, spread so that many pages do not return at once.

export class Backoff {
  constructor({ first = 250, most = 5000, spread = 0.3, random = Math.random } = {}) {
    Object.assign(this, { first, most, spread, random, attempts: 0 });
  }

  next() {
    const plain = Math.min(this.most, this.first * 2 ** this.attempts);
    this.attempts++;
    return plain * (1 - this.spread + 2 * this.spread * this.random());
  }

  reset() {
    this.attempts = 0;
  }
}
