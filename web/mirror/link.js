// Keeps the page connected: chooses the transport, falls back from WebRTC to WebSocket by itself, reconnects.
import { Backoff } from "../common/backoff.js";
import { SocketLink } from "./socket_link.js";
import { WebrtcLink } from "./webrtc_link.js";

const WEBRTC_REST = 60000; // ms after a failure before WebRTC is tried at a new connection

export const NAMES = { webrtc: "WebRTC", ws: "WebSocket" };

export class Link {
  // parts as for the transports; onstatus({state, transport, why}), state one of idle connecting live waiting.
  constructor(parts, onstatus) {
    this.parts = parts;
    this.onstatus = onstatus;
    this.mode = "auto";
    this.codec = "auto"; // of WebRTC: "vp8", "h264"
    this.backoff = new Backoff();
    this.transport = null;
    this.webrtcFailed = { at: -Infinity, reason: "" };
    this.status = { state: "idle", transport: null, why: "" };
    addEventListener("online", () => this.#hurry());
  }

  start(mode = this.mode, codec = this.codec) {
    this.stop();
    Object.assign(this, { mode, codec });
    this.webrtcFailed.at = -Infinity;
    this.backoff.reset();
    this.#connect();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.transport?.stop();
    this.transport = null;
    this.#tell("idle", null, "");
  }

  // A new camera frame is in the video.
  frame(captured) {
    this.transport?.frame(captured);
  }

  #tell(state, transport, why) {
    this.status = { state, transport, why };
    this.onstatus(this.status);
  }

  #choose() {
    if (this.mode !== "auto") return { kind: this.mode, why: "chosen" };
    if (!globalThis.RTCPeerConnection) return { kind: "ws", why: "this browser has no WebRTC" };
    if (performance.now() - this.webrtcFailed.at < WEBRTC_REST)
      return { kind: "ws", why: `WebRTC: ${this.webrtcFailed.reason}` };
    return { kind: "webrtc", why: "first choice" };
  }

  #connect() {
    const { kind, why } = this.#choose();
    this.parts.display.restart();
    this.parts.stats.newConnection();
    this.#tell("connecting", kind, why);
    const Transport = kind === "webrtc" ? WebrtcLink : SocketLink;
    this.transport = new Transport({ ...this.parts, codec: this.codec }, {
      onlive: () => {
        this.backoff.reset();
        this.#tell("live", kind, why);
      },
      onfail: (reason) => this.#failed(kind, reason),
    });
    this.transport.start();
  }

  #failed(kind, reason) {
    this.transport = null;
    if (kind === "webrtc" && this.mode === "auto") {
      this.webrtcFailed = { at: performance.now(), reason };
      this.#connect();
      return;
    }
    this.#tell("waiting", kind, reason);
    this.timer = setTimeout(() => this.#connect(), this.backoff.next());
  }

  // The network is back: no reason to sit out the wait.
  #hurry() {
    if (this.status.state !== "waiting") return;
    clearTimeout(this.timer);
    this.#connect();
  }
}
