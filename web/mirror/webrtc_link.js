// Frames over WebRTC, by webrtc-bot's POST /offer. It believes frames, not connection states: a peer that is
// "connected" but shows nothing new for FRAME_LIMIT has failed.

import { getStats } from "../common/server.js";
import { WindowStats } from "../common/window_stats.js";

const CONNECT_LIMIT = 3000; // ms from the answer to a connection
const FRAME_LIMIT = 1500; // ms without a new picture
const GATHER_LIMIT = 500; // ms; the server learns further addresses from the packets themselves
const RTP_TICKS = 90; // a millisecond
const START_KBIT = 4000; // Chrome would begin at 300 kbit/s and scale the picture down

// Tells Chrome's encoder where to start; others ignore the parameter.
export function withStartBitrate(sdp, kbit) {
  const lines = sdp.split("\r\n");
  const payloads = lines.map((line) => /^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1)\//.exec(line)?.[1]).filter(Boolean);
  for (const payload of payloads) {
    const extra = `x-google-start-bitrate=${kbit}`;
    const known = lines.findIndex((line) => line.startsWith(`a=fmtp:${payload} `));
    if (known < 0) {
      const map = lines.findIndex((line) => line.startsWith(`a=rtpmap:${payload} `));
      lines.splice(map + 1, 0, `a=fmtp:${payload} ${extra}`);
    } else if (!lines[known].includes("x-google-start-bitrate")) lines[known] += `;${extra}`;
  }
  return lines.join("\r\n");
}

// The browser's codecs with the wanted one first; the others stay behind it, for servers that do not speak it.
export function preferCodec(codecs, name) {
  const wanted = ({ mimeType }) => mimeType.toLowerCase() === `video/${name}`;
  return [...codecs.filter(wanted), ...codecs.filter((codec) => !wanted(codec))];
}

async function postOffer({ sdp, type }, codec, signal) {
  const reply = await fetch(codec === "auto" ? "/offer" : `/offer?codec=${codec}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sdp, type }),
    signal,
  });
  if (reply.status === 404 || reply.status === 501) throw new Error("the server offers no WebRTC");
  if (!reply.ok) throw new Error(`the server refused the WebRTC offer (${reply.status})`);
  return reply.json();
}

export class WebrtcLink {
  // parts: {framer, display, stats, video, codec}; events: {onlive(), onfail(reason)}, each called at most once.
  constructor(parts, events) {
    Object.assign(this, parts, events);
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.abort = new AbortController();
    this.timers = [];
    this.ways = new WindowStats(10); // milliseconds
    this.lastPicture = 0;
    this.answered = 0;
    this.live = false;
    this.done = false;
    this.counters = { received: 0, sent: 0, dropped: 0 };
    this.work = { encoded: 0, encoding: 0, decoded: 0, receiving: 0 };
  }

  async start() {
    try {
      await this.#negotiate();
    } catch (error) {
      if (!this.done) this.#fail(error.name === "TimeoutError" ? "the server did not answer the offer" : error.message);
    }
  }

  stop() {
    this.done = true;
    this.abort.abort();
    this.timers.forEach(clearInterval);
    this.video.cancelVideoFrameCallback?.(this.callback);
    this.video.srcObject = null;
    this.track?.stop();
    this.peer?.close();
  }

  frame() {
    if (!this.track) return;
    this.framer.draw(this.canvas, this.context);
    this.track.requestFrame?.();
  }

  async #negotiate() {
    this.framer.draw(this.canvas, this.context); // a captured canvas without a size is refused
    const stream = this.canvas.captureStream(0);
    [this.track] = stream.getVideoTracks();
    this.track.contentHint = "detail"; // keeps the resolution, gives up frames instead
    this.peer = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.peer.ontrack = (event) => this.#receive(event);
    this.peer.onconnectionstatechange = () => {
      if (this.peer.connectionState === "failed" && !this.done) this.#fail("the WebRTC connection failed");
    };
    const sender = this.peer.addTrack(this.track, stream);
    this.#choose(this.peer.getTransceivers()[0]);
    await this.peer.setLocalDescription(await this.peer.createOffer());
    await this.#gather();
    const signal = AbortSignal.any([this.abort.signal, AbortSignal.timeout(8000)]);
    const answer = await postOffer(this.peer.localDescription, this.codec, signal);
    if (this.done) return;
    await this.peer.setRemoteDescription({ type: answer.type, sdp: withStartBitrate(answer.sdp, START_KBIT) });
    await this.#tune(sender);
    this.client = answer.client;
    this.answered = performance.now();
    this.timers.push(setInterval(() => this.#watch(), 100), setInterval(() => this.#measure(), 1000));
  }

  #gather() {
    if (this.peer.iceGatheringState === "complete") return null;
    return new Promise((resolve) => {
      setTimeout(resolve, GATHER_LIMIT);
      this.peer.addEventListener("icegatheringstatechange", () => {
        if (this.peer.iceGatheringState === "complete") resolve();
      });
    });
  }

  #choose(transceiver) {
    const known = globalThis.RTCRtpReceiver.getCapabilities?.("video")?.codecs;
    if (this.codec !== "auto" && known) transceiver.setCodecPreferences?.(preferCodec(known, this.codec));
  }

  async #tune(sender) {
    const parameters = sender.getParameters();
    parameters.degradationPreference = "maintain-resolution";
    for (const encoding of parameters.encodings) encoding.maxBitrate = 20e6;
    await sender.setParameters(parameters).catch(() => {}); // the defaults do as well
  }

  #receive({ track, receiver }) {
    receiver.jitterBufferTarget = 0;
    receiver.playoutDelayHint = 0;
    this.video.srcObject = new MediaStream([track]);
    this.video.play().catch(() => {}); // the watch below tells when nothing comes
    this.#nextPicture();
  }

  #nextPicture() {
    const arrived = (now, frame) => {
      if (this.done) return;
      this.#picture(frame);
      this.#nextPicture();
    };
    this.callback = this.video.requestVideoFrameCallback(arrived);
  }

  #picture(frame) {
    const [width, height] = [this.video.videoWidth, this.video.videoHeight];
    if (!width || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return; // nothing would be drawn: black
    this.lastPicture = performance.now();
    this.#noteWay(frame.rtpTimestamp);
    this.display.show(this.video, { order: frame.presentedFrames, width, height });
    if (this.live) return;
    this.live = true;
    this.onlive();
  }

  // How long the picture was on its way, less what the first one was: the server's clock is not ours, and wraps.
  #noteWay(timestamp) {
    if (timestamp === undefined) return;
    const ticks = Math.round(this.lastPicture * RTP_TICKS - timestamp);
    this.firstWay ??= ticks;
    this.ways.add(((ticks - this.firstWay) | 0) / RTP_TICKS, this.lastPicture);
  }

  #watch() {
    if (document.hidden) {
      this.hidden = performance.now(); // browsers stop the callbacks of hidden pages
      return;
    }
    const now = performance.now();
    const connected = this.peer.connectionState === "connected";
    if (!connected && !this.lastPicture && now - this.answered > CONNECT_LIMIT)
      this.#fail("not connected 3 s after the answer");
    if (connected) this.connected ??= now;
    const since = Math.max(this.lastPicture, this.hidden ?? 0, this.connected ?? now);
    const limit = this.lastPicture ? FRAME_LIMIT : Math.max(FRAME_LIMIT, CONNECT_LIMIT - (since - this.answered));
    if (!this.done && now - since > limit) this.#fail("no new picture for 1.5 s");
  }

  async #measure() {
    const before = this.counters;
    const now = { received: 0, sent: 0, dropped: 0 };
    const work = { encoded: 0, encoding: 0, decoded: 0, receiving: 0 };
    const reports = await this.peer.getStats();
    for (const report of reports.values()) {
      if (report.type === "inbound-rtp") {
        this.stats.codec = reports.get(report.codecId)?.mimeType.replace("video/", "") ?? null;
        now.received += report.bytesReceived;
        now.dropped += report.framesDropped ?? 0;
        work.decoded += report.framesDecoded ?? 0;
        work.receiving += report.totalProcessingDelay ?? 0;
      } else if (report.type === "outbound-rtp") {
        now.sent += report.bytesSent;
        work.encoded += report.framesEncoded ?? 0;
        work.encoding += report.totalEncodeTime ?? 0;
      } else if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime)
        this.stats.roundTrip = report.currentRoundTripTime * 1000;
    }
    this.stats.received.add(now.received - before.received);
    this.stats.sent.add(now.sent - before.sent);
    this.stats.dropped += Math.max(0, now.dropped - before.dropped);
    this.counters = now;
    await this.#estimateAge(work);
  }

  // A frame over WebRTC does not say when it was captured: its age is put together from encoding here, the round trip,
  // the server's own age of this session's frames, and what receiving and decoding take. What its slowest add: the
  // server's slowest, and those on the way here.
  async #estimateAge(work) {
    const [before, since] = [this.work, (name) => work[name] - this.work[name]];
    const encoding = (1000 * since("encoding")) / since("encoded");
    const receiving = (1000 * since("receiving")) / since("decoded");
    this.work = work;
    if (!this.stats.isWatched || !before.encoded || this.client === undefined) return;
    const { sessions } = await getStats().catch(() => ({ sessions: [] }));
    const own = sessions.find((session) => session.id === this.client);
    if (!own || this.done) return;
    const way = this.ways.summary();
    const age = encoding + (this.stats.roundTrip ?? 0) + own.age_ms.p50 + receiving;
    const spread = own.age_ms.p99 - own.age_ms.p50 + (way ? way.p99 - way.p50 : 0);
    this.stats.estimate = Number.isFinite(age) ? { p50: age, p99: age + spread } : null;
    for (const [name, stage] of [["wait", "wait"], ["device", "service"], ["pace", "hold"]])
      this.stats.stage(name, own.stages_ms[stage].p50);
  }

  #fail(reason) {
    if (this.done) return;
    this.stop();
    this.onfail(reason);
  }
}
