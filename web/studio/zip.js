// Files put together as a ZIP archive (APPNOTE.TXT 6.3), stored as they are: pictures are compressed already.
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function record(bytes, fields) {
  const view = new DataView(new ArrayBuffer(bytes));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

const UTF8 = 0x800; // flag: the names are UTF-8
const FIRST_DAY = 0x21; // 1 January 1980, in the format's days

// files: [{name, bytes: Uint8Array}]; a name that comes again gets a number. Returns parts for a Blob.
export function zip(files) {
  const parts = [], directory = [], used = new Set();
  let offset = 0;
  for (const { name, bytes } of files) {
    let own = name;
    for (let n = 2; used.has(own); n++) own = name.replace(/(\.[^.]*)?$/, ` (${n})$1`);
    used.add(own);
    const text = new TextEncoder().encode(own);
    const common = [[2, 20], [2, UTF8], [2, 0], [2, 0], [2, FIRST_DAY], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, text.length], [2, 0]];
    parts.push(record(30, [[4, 0x04034b50], ...common]), text, bytes);
    directory.push(record(46, [[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), text);
    offset += 30 + text.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record(22, [[4, 0x06054b50], [2, 0], [2, 0], [2, used.size], [2, used.size], [4, size], [4, offset], [2, 0]]);
  return [...parts, ...directory, end];
}
