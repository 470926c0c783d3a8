// Frames over WebSocket. A WebSocket hides its queue, so a ping follows every frame: its pong says that the frame
// has arrived. Few frames may be on the way; when more would be, the camera's frame is skipped, and quality and then
// size go down.
import { PictureSocket } from "../common/picture_socket.js";
import { socketUrl } from "../common/server.js";
import { FRAME, encodeHeader } from "../common/reverie1.js";
import { UplinkQuality } from "./uplink_quality.js";

export class SocketLink {
  // parts: {framer, display, stats}; events: {onlive(), onfail(reason)}.
  constructor({ framer, display, stats }, { onlive, onfail }) {
    Object.assign(this, { framer, display, stats, onlive, onfail });
    this.canvas = new OffscreenCanvas(16, 16);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.quality = new UplinkQuality();
    this.sequence = 0;
    this.arrived = 0; // newest sequence number that a pong told of
    this.busy = false;
    this.wanted = null; // capture time of a frame that found the encoder busy
    this.live = false;
  }

  start() {
    this.socket = new PictureSocket(socketUrl("/ws"), {
      onpicture: (bitmap, frame) => this.#picture(bitmap, frame),
      onpong: (sequence, roundTrip) => this.#pong(sequence, roundTrip),
      ondropped: (n) => (this.stats.dropped += n),
      onbytes: (n) => this.stats.received.add(n),
      onfail: (reason) => this.onfail(reason),
    });
  }

  stop() {
    this.socket.close();
  }

  frame(captured) {
    if (!this.socket.isOpen) return;
    if (this.busy) {
      if (this.wanted !== null) this.stats.dropped++;
      this.wanted = captured;
    } else if (this.#mayNotSend()) {
      this.stats.dropped++;
      this.quality.skipped();
    } else this.#send(captured);
  }

  #mayNotSend() {
    return this.socket.bufferedAmount > 0 || this.sequence - this.arrived >= this.quality.window;
  }

  async #send(captured) {
    this.busy = true;
    try {
      const jpeg = await this.#encode();
      this.sequence++;
      const header = encodeHeader({ kind: FRAME, sequence: this.sequence, micros: captured * 1000 });
      this.socket.send(header, jpeg);
      this.socket.ping(this.sequence);
      this.stats.sent.add(header.byteLength + jpeg.byteLength);
    } catch {
      this.stats.dropped++; // the video had no picture at this moment
    }
    this.busy = false;
    const next = this.wanted;
    this.wanted = null;
    if (next !== null) this.frame(next);
  }

  async #encode() {
    this.framer.draw(this.canvas, this.context, this.quality.scale);
    const blob = await this.canvas.convertToBlob({ type: "image/jpeg", quality: this.quality.jpeg });
    return blob.arrayBuffer();
  }

  #pong(sequence, roundTrip) {
    this.arrived = Math.max(this.arrived, sequence);
    this.stats.roundTrip = roundTrip;
    this.quality.arrived(roundTrip);
  }

  #picture(bitmap, frame) {
    const captured = frame.micros ? frame.micros / 1000 : null;
    const shown = this.display.show(bitmap, { order: frame.sequence, captured });
    for (const stage of frame.stages) this.stats.stage(stage.name, stage.ms);
    if (!this.live) {
      this.live = true;
      this.onlive();
    }
    return shown && captured !== null ? performance.now() - captured : null;
  }
}
