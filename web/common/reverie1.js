// The 32 bytes before every message of the WebSocket subprotocol reverie.1 (docs/protocol.md).

export const PROTOCOL = "reverie.1";
export const HEADER = 32;
export const FRAME = 1;
export const ACK = 2;
export const PING = 3;
export const PONG = 4;

const MAGIC = 0x31525652; // "RVR1", little-endian
const STAGES = ["wait", "device", "pace", "encode"];

// `micros`: microseconds, a Number. Returns the header alone; a JPEG may follow it.
export function encodeHeader({ kind, sequence, micros = 0, ageMicros = 0, clockMicros = null }) {
  const bytes = new ArrayBuffer(HEADER);
  const view = new DataView(bytes);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, kind);
  view.setUint32(8, sequence, true);
  view.setBigUint64(16, BigInt(Math.max(0, Math.round(micros))), true);
  if (clockMicros !== null) view.setBigUint64(24, BigInt(Math.max(0, Math.round(clockMicros))), true);
  else view.setUint32(24, Math.min(0xffffffff, Math.max(0, Math.round(ageMicros))), true);
  return bytes;
}

// ArrayBuffer -> {kind, passthrough, quality, sequence, revision, micros, stages: [{name, ms}], jpeg}, or null.
export function decodeMessage(bytes) {
  if (bytes.byteLength < HEADER) return null;
  const view = new DataView(bytes);
  if (view.getUint32(0, true) !== MAGIC) return null;
  return {
    kind: view.getUint8(4),
    passthrough: (view.getUint8(5) & 1) !== 0,
    quality: view.getUint16(6, true),
    sequence: view.getUint32(8, true),
    revision: view.getUint32(12, true),
    micros: Number(view.getBigUint64(16, true)),
    stages: STAGES.map((name, index) => ({ name, ms: view.getUint16(24 + 2 * index, true) / 10 })),
    jpeg: new Uint8Array(bytes, HEADER),
  };
}
