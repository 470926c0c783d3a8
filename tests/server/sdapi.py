"""What the tests of the picture API share. Standard library only: pictures are read by a reader of their own."""
import base64
import json
import re
import struct
import zlib

import serve
from serve import Server

serve.PATIENCE = 120  # requests wait for their pictures

SMALL = {"prompt": "a red fox", "steps": 1, "width": 64, "height": 64, "seed": 7, "sampler_name": "Euler"}


class Studio(Server):
    """A server that draws with the smallest model."""

    def __init__(self, *options, **more):
        super().__init__("--model", "mini", "--size", "64x64", "--threads", "1", *options, effect=False,
                         env={"OMP_WAIT_POLICY": "passive", **more.pop("env", {})}, **more)

    def call(self, path, body=None, headers=None, method=None):
        """Status and JSON."""
        data = None if body is None else body if isinstance(body, (bytes, str)) else json.dumps(body)
        method = method or ("GET" if body is None else "POST")
        sent = {"Content-Type": "application/json", **(headers or {})} if data is not None else headers
        status, _, text = self.request(path, method, data, sent)
        return status, json.loads(text)

    def ok(self, path, body=None, **more):
        status, answer = self.call(path, body, **more)
        assert status == 200, (path, status, answer)
        return answer

    def form(self, path, fields, files):
        """Posted as a browser's form: status and JSON."""
        body = b"".join(f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items())
        body += b"".join(f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'.encode()
                         + data + b"\r\n" for name, data in files)
        status, _, text = self.request(path, "POST", body + b"--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"})
        return status, json.loads(text)

    def txt2img(self, **fields):
        return self.ok("/sdapi/v1/txt2img", {**SMALL, **fields})

    def img2img(self, **fields):
        return self.ok("/sdapi/v1/img2img", {**SMALL, **fields})


def info(answer):
    return json.loads(answer["info"])


# ---- PNG, as its specification has it ----

def chunks(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        yield kind, body
        at += 12 + size


def png_texts(data):
    texts = {}
    for kind, body in chunks(data):
        if kind == b"tEXt":
            key, _, value = body.partition(b"\0")
            texts[key.decode("latin-1")] = value.decode("latin-1")
        elif kind == b"iTXt":
            key, _, rest = body.partition(b"\0")
            packed, rest = rest[0], rest[2:]
            value = rest.split(b"\0", 2)[2]
            texts[key.decode("latin-1")] = (zlib.decompress(value) if packed else value).decode()
    return texts


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


def pixels(text):
    """Width, height and rows of RGB bytes of a base64 PNG."""
    data = base64.b64decode(text)
    parts = list(chunks(data))
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", parts[0][1])
    assert (depth, interlace) == (8, 0) and colour in (2, 6)
    count = 3 if colour == 2 else 4
    raw = zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
    rows, before, stride = [], bytes(width * count), width * count + 1
    for y in range(height):
        how, line = raw[y * stride], bytearray(raw[y * stride + 1:(y + 1) * stride])
        for x in range(len(line)):
            left, up = line[x - count] if x >= count else 0, before[x]
            corner = before[x - count] if x >= count else 0
            line[x] = (line[x] + (0, left, up, (left + up) // 2, paeth(left, up, corner))[how]) & 255
        rows.append(bytes(line))
        before = rows[-1]
    if count == 4:
        rows = [bytes(v for i, v in enumerate(row) if i % 4 < 3) for row in rows]
    return width, height, rows


def size(text):
    return struct.unpack(">II", base64.b64decode(text[:64])[16:24])


def make_png(width, height, colour):
    """Base64 of a picture; `colour` (x, y) -> RGB or RGBA."""
    raw = b"".join(b"\0" + bytes(v for x in range(width) for v in colour(x, y)) for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    data = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if len(colour(0, 0)) == 3 else 6, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
    return base64.b64encode(data).decode()


def gradient(width=64, height=64):
    return make_png(width, height, lambda x, y: (4 * x & 255, 4 * y & 255, 128))


def box_mask(width, height, left, top, right, bottom):
    return make_png(width, height, lambda x, y: (255,) * 3 if left <= x < right and top <= y < bottom else (0,) * 3)


# ---- infotext: an independent reader, after A1111's grammar ----

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def read_infotext(text):
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], []
    prompt, negative, target = [], [], None
    target = prompt
    for line in (line.strip() for line in lines):
        if line.startswith("Negative prompt:"):
            target, line = negative, line[len("Negative prompt:"):].strip()
        target.append(line)
    values = {key: json.loads(value) if value[:1] == '"' == value[-1:] else value for key, value in pairs}
    return "\n".join(prompt), "\n".join(negative), values
