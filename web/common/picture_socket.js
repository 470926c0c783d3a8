// A reverie.1 WebSocket that receives pictures: decodes them one at a time, newest first, in order, and
// acknowledges each. The mirror adds sending; the clean view only looks.
import { ACK, FRAME, PING, PONG, PROTOCOL, decodeMessage, encodeHeader } from "./reverie1.js";

const SILENCE_LIMIT = 12000; // ms: the server says something at least every 5 s
const OPEN_LIMIT = 5000; // ms

const micros = () => performance.now() * 1000;

export class PictureSocket {
  // events: onpicture(bitmap, frame) draws and returns the age in ms or null; onfail(reason), called once;
  // onopen(), onpong(sequence, roundTripMs), ondropped(n), onbytes(n) may be left out.
  constructor(url, events) {
    this.events = events;
    this.lastSequence = null;
    this.waiting = null; // the newest frame not yet decoded
    this.decoding = false;
    this.done = false;
    this.heard = performance.now();
    this.socket = new WebSocket(url, PROTOCOL);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => events.onopen?.();
    this.socket.onmessage = ({ data }) => this.#message(data);
    this.socket.onclose = ({ code, reason }) => this.#fail(reason || closeText(code));
    this.timer = setInterval(() => this.#watch(), 500);
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  get bufferedAmount() {
    return this.socket.bufferedAmount;
  }

  send(...parts) {
    if (this.isOpen) this.socket.send(parts.length === 1 ? parts[0] : joined(parts));
  }

  ping(sequence) {
    this.send(encodeHeader({ kind: PING, sequence, micros: micros() }));
  }

  close() {
    this.done = true;
    clearInterval(this.timer);
    this.socket.onclose = null;
    this.socket.close();
  }

  #fail(reason) {
    if (this.done) return;
    this.close();
    this.events.onfail(reason);
  }

  #watch() {
    const silent = performance.now() - this.heard;
    if (this.socket.readyState === WebSocket.CONNECTING && silent > OPEN_LIMIT) this.#fail("the server does not answer");
    else if (this.isOpen && silent > SILENCE_LIMIT) this.#fail(`nothing heard for ${SILENCE_LIMIT / 1000} s`);
  }

  #message(data) {
    this.heard = performance.now();
    const message = data instanceof ArrayBuffer ? decodeMessage(data) : null;
    if (!message) return;
    if (message.kind === FRAME) this.#frame(message, data.byteLength);
    else if (message.kind === PING)
      this.send(encodeHeader({ kind: PONG, sequence: message.sequence, micros: message.micros, clockMicros: micros() }));
    else if (message.kind === PONG) this.events.onpong?.(message.sequence, performance.now() - message.micros / 1000);
  }

  #frame(frame, bytes) {
    this.events.onbytes?.(bytes);
    if (this.lastSequence !== null && frame.sequence > this.lastSequence + 1)
      this.events.ondropped?.(frame.sequence - this.lastSequence - 1);
    this.lastSequence = frame.sequence;
    if (this.waiting) {
      this.#acknowledge(this.waiting, null);
      this.events.ondropped?.(1);
    }
    this.waiting = frame;
    if (!this.decoding) this.#decode();
  }

  async #decode() {
    this.decoding = true;
    while (this.waiting && !this.done) {
      const frame = this.waiting;
      this.waiting = null;
      let age = null;
      try {
        const bitmap = await createImageBitmap(new Blob([frame.jpeg], { type: "image/jpeg" }));
        if (!this.done) age = this.events.onpicture(bitmap, frame);
        bitmap.close();
      } catch {
        this.events.ondropped?.(1); // a picture that cannot be decoded leaves the last one standing
      }
      this.#acknowledge(frame, age);
    }
    this.decoding = false;
  }

  #acknowledge(frame, age) {
    const header = { kind: ACK, sequence: frame.sequence, micros: micros(), ageMicros: (age ?? 0) * 1000 };
    if (!this.done) this.send(encodeHeader(header));
  }
}

function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return bytes;
}

function closeText(code) {
  const texts = {
    1001: "the server stops",
    1008: "the server found this page too fast",
    1009: "the picture was too large for the server",
    1013: "the server has too many clients",
  };
  return texts[code] ?? "the connection was lost";
}
