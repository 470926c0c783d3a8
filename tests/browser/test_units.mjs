// The parts of the pages that need no browser.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Backoff } from "../../web/common/backoff.js";
import { ACK, FRAME, PONG, decodeMessage, encodeHeader } from "../../web/common/reverie1.js";
import { WindowStats, summarise } from "../../web/common/window_stats.js";
import { CueError, cueAt, formatCueList, lengthOf, parseCueList } from "../../web/mirror/cue_list.js";
import { readFlags } from "../../web/mirror/flags.js";
import { readMidi } from "../../web/mirror/midi.js";
import { UplinkQuality } from "../../web/mirror/uplink_quality.js";
import { parseInfotext, toForm } from "../../web/studio/infotext.js";
import { trainedWords } from "../../web/studio/network_sheet.js";
import { pieceAt } from "../../web/studio/prompt_completion.js";
import { zip } from "../../web/studio/zip.js";
import { preferCodec, withStartBitrate } from "../../web/mirror/webrtc_link.js";

test("reverie.1 headers: fields lie where docs/protocol.md says", () => {
  const bytes = new Uint8Array(encodeHeader({ kind: FRAME, sequence: 0x01020304, micros: 2 ** 40 + 5 }));
  assert.equal(bytes.length, 32);
  assert.equal(String.fromCharCode(...bytes.slice(0, 4)), "RVR1");
  assert.deepEqual([...bytes.slice(4, 16)], [1, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
  assert.deepEqual([...bytes.slice(16, 24)], [5, 0, 0, 0, 0, 1, 0, 0]);
  const ack = new DataView(encodeHeader({ kind: ACK, sequence: 9, ageMicros: 40000.4 }));
  assert.deepEqual([ack.getUint32(24, true), ack.getUint32(28, true)], [40000, 0]);
  const pong = new DataView(encodeHeader({ kind: PONG, sequence: 9, micros: 1, clockMicros: 2 ** 33 }));
  assert.equal(pong.getBigUint64(24, true), 2n ** 33n);
});

test("reverie.1 messages: times and stages are read, foreign bytes refused", () => {
  const message = new Uint8Array(40);
  message.set(new Uint8Array(encodeHeader({ kind: FRAME, sequence: 7, micros: 123456 })));
  const view = new DataView(message.buffer);
  view.setUint8(5, 1);
  view.setUint16(6, 80, true);
  view.setUint32(12, 3, true);
  [10, 312, 0, 25].forEach((value, i) => view.setUint16(24 + 2 * i, value, true));
  const frame = decodeMessage(message.buffer);
  assert.deepEqual(frame.stages.map((s) => s.ms), [1, 31.2, 0, 2.5]);
  assert.deepEqual([frame.sequence, frame.micros, frame.quality, frame.revision, frame.passthrough], [7, 123456, 80, 3, true]);
  assert.equal(frame.jpeg.length, 8);
  assert.equal(decodeMessage(new ArrayBuffer(31)), null);
  assert.equal(decodeMessage(new ArrayBuffer(40)), null);
});

test("percentiles are nearest-rank and windows forget", () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.deepEqual(summarise(values), { count: 100, mean: 50.5, p50: 50, p95: 95, p99: 99, max: 100 });
  assert.equal(summarise([]), null);
  const window = new WindowStats(10);
  for (let t = 0; t < 20000; t += 100) window.add(1, t);
  assert.equal(window.summary(19900).count, 101);
  assert.ok(Math.abs(window.perSecond(19900) - 10.1) < 0.01);
  assert.equal(window.summary(60000), null);
  const bounded = new WindowStats(10, 5);
  for (let i = 0; i < 50; i++) bounded.add(i, 0);
  assert.equal(bounded.samples.length, 5);
});

test("waiting times double up to the most, and start anew", () => {
  const backoff = new Backoff({ first: 100, most: 1000, random: () => 0.5 });
  assert.deepEqual(Array.from({ length: 6 }, () => backoff.next()), [100, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  assert.equal(backoff.next(), 100);
  for (let i = 0; i < 2000; i++) assert.ok(backoff.next() <= 1000, "never infinite");
});

test("URL flags as transformirror-web writes them", () => {
  assert.deepEqual(readFlags(""), { autoconnect: false, camera: null, debug: null, prompt: null, transport: null, codec: null });
  assert.deepEqual(readFlags("?autoconnect=true&camera=false&debug&prompt=TRUE&transport=ws&codec=h264"), {
    autoconnect: true, camera: false, debug: true, prompt: true, transport: "ws", codec: "h264",
  });
  const odd = readFlags("?transport=carrier-pigeon&codec=mjpeg");
  assert.deepEqual([odd.transport, odd.codec], [null, null]);
});

test("the wanted codec comes first, none is lost", () => {
  const codecs = ["video/VP8", "video/rtx", "video/H264", "video/H264", "video/AV1"].map((mimeType, i) => ({ mimeType, i }));
  assert.deepEqual(preferCodec(codecs, "h264").map(({ i }) => i), [2, 3, 0, 1, 4]);
  assert.deepEqual(preferCodec(codecs, "vp8").map(({ i }) => i), [0, 1, 2, 3, 4]);
});

test("cue lists: read, written, and faults named", () => {
  const text = '{"loop":true,"cues":[{"at":5,"fade":1,"prompt":" b ","strength":0.4},{"prompt":"a"},{"at":9,"prompts":[{"text":"x","weight":1},{"text":"y","weight":3}]}]}';
  const list = parseCueList(text);
  assert.deepEqual(list.cues.map((cue) => cue.prompts[0].text), ["a", "b", "x"]);
  assert.equal(list.cues[1].strength, 0.4);
  assert.deepEqual(parseCueList(formatCueList(list)), list);
  const faults = {
    "{": /not JSON/, "{}": /no list/, '{"cues":[null]}': /cue 1 is not/, '{"cues":[{}]}': /"prompt" is missing/,
    '{"cues":[{"prompt":"a"},{"prompt":"b","at":-1}]}': /cue 2: "at"/, '{"cues":[{"prompt":"a","fade":"2"}]}': /"fade"/,
    '{"cues":[{"prompts":[{"text":"a","weight":0}]}]}': /weight above 0/, "null": /no list/,
  };
  for (const [bad, wanted] of Object.entries(faults)) assert.throws(() => parseCueList(bad), (e) => e instanceof CueError && wanted.test(e.message), bad);
  assert.throws(() => parseCueList(JSON.stringify({ cues: Array(1001).fill({ prompt: "a" }) })), CueError);
});

test("cue lists: which cue holds when", () => {
  const { cues } = parseCueList('[{"at":1,"prompt":"a"},{"at":2,"fade":3,"prompt":"b"}]');
  assert.deepEqual([0, 1, 1.9, 2, 99].map((t) => cueAt(cues, t)), [-1, 0, 0, 1, 1]);
  assert.equal(lengthOf(cues), 6);
  assert.equal(lengthOf([]), 0);
});

test("MIDI: controllers and pressed notes, nothing else", () => {
  assert.deepEqual(readMidi([0xb2, 7, 127]), { key: "cc 3/7", value: 1 });
  assert.deepEqual(readMidi([0x90, 60, 127]), { key: "note 1/60", value: 1 });
  for (const other of [[0x90, 60, 0], [0x80, 60, 64], [0xf8], [0xe0, 0, 64]]) assert.equal(readMidi(other), null);
});

test("start bitrate: added to every video codec, once, nothing else changed", () => {
  const sdp = ["v=0", "a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=rtpmap:102 H264/90000", "a=fmtp:102 packetization-mode=1", ""].join("\r\n");
  const changed = withStartBitrate(sdp, 4000).split("\r\n");
  assert.ok(changed.includes("a=fmtp:96 x-google-start-bitrate=4000"));
  assert.ok(changed.includes("a=fmtp:102 packetization-mode=1;x-google-start-bitrate=4000"));
  assert.ok(changed.includes("a=fmtp:97 apt=96"));
  assert.equal(withStartBitrate(changed.join("\r\n"), 4000), changed.join("\r\n"));
});

test("uplink quality: falls while trips grow, rises when quiet, and more slowly after a rise that failed", () => {
  let now = 0;
  const quality = new UplinkQuality(() => now);
  const run = (seconds, trip) => {
    for (const end = now + seconds * 1000; now < end; now += 33) quality.arrived(trip);
  };
  run(1, 10);
  const first = quality.level;
  run(3, 200);
  assert.ok(quality.level >= first + 3, `level ${quality.level}`);
  const bottom = quality.level;
  run(5, 10);
  assert.equal(quality.level, bottom - 1);
  run(1, 200);
  assert.equal(quality.level, bottom);
  run(6, 10);
  assert.equal(quality.level, bottom, "the second rise waits twice as long");
  run(3, 10);
  assert.equal(quality.level, bottom - 1);
  const level = quality.level;
  for (let i = 0; i < 300; i++, now += 33) {
    quality.arrived(i % 4 ? 10 : 150);
    if (i % 40 < 8) quality.skipped();
    assert.ok(quality.level <= level, "frames that are late one by one are no reason");
  }
});

test("uplink quality: the window covers the round trip", () => {
  const quality = new UplinkQuality();
  assert.equal(quality.window, 2);
  quality.arrived(100);
  assert.equal(quality.window, 5);
  quality.arrived(5);
  assert.equal(quality.window, 2);
});

test("archives are read by another program, names that come twice included", () => {
  const folder = mkdtempSync(join(tmpdir(), "reverie-zip-"));
  try {
    const bytes = (text) => new TextEncoder().encode(text);
    const path = join(folder, "x.zip");
    writeFileSync(path, Buffer.concat(zip([{ name: "a.png", bytes: bytes("one") }, { name: "a.png", bytes: bytes("two, longer") }, { name: "übung", bytes: bytes("") }])));
    const script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nprint(z.testzip(), *[f'{i.filename}={z.read(i).decode()}' for i in z.infolist()], sep='|')";
    assert.equal(execFileSync("python3", ["-X", "utf8", "-c", script, path], { encoding: "utf8" }).trim(), "None|a.png=one|a (2).png=two, longer|übung=");
    writeFileSync(path, Buffer.concat(zip([])));
    assert.equal(execFileSync("python3", ["-c", script, path], { encoding: "utf8" }).trim(), "None");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("what is typed before the cursor is completed: LoRAs after a bracket, names after two letters", () => {
  const piece = (text) => pieceAt(text, text.length);
  assert.deepEqual(piece("a cat, <"), { from: 7, text: "", isTag: true });
  assert.deepEqual(piece("a cat, <lora:in"), { from: 7, text: "in", isTag: true });
  assert.deepEqual(piece("(easy"), { from: 1, text: "easy", isTag: false });
  for (const text of ["", "a", "cat, ", "<lora:ink:1>", "<lora:ink:0."]) assert.equal(piece(text), null, text);
});

test("words a LoRA was trained with come from kohya's table, most frequent first; damaged tables give none", () => {
  assert.deepEqual(trainedWords({ ss_tag_frequency: { a: { " ink": 3, paper: 9 }, b: { ink: 7, "": 5, none: 0 } } }), ["ink", "paper"]);
  for (const metadata of [undefined, {}, { ss_tag_frequency: "no table" }, { ss_tag_frequency: { a: null } }]) assert.deepEqual(trainedWords(metadata), []);
});

test("infotext: the second pass's own settings, and what is absent is as usual; a broken string is taken as it stands", () => {
  const { form, vae } = toForm(parseInfotext('x\nSteps: 4, Sampler: Euler, Seed: 1, VAE: soft.safetensors, Hires upscale: 2, Hires sampler: DDIM, Hires prompt: "a, b"'));
  assert.deepEqual([form.hr_sampler_name, form.hr_scheduler, form.hr_prompt, form.hr_negative_prompt, vae], ["DDIM", "Use same scheduler", "a, b", "", "soft.safetensors"]);
  assert.equal(parseInfotext('x\nSteps: 4, Seed: 1, Note: "a \\q, b"').settings.Note, "a \\q, b");
});
