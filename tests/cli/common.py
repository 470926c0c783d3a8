"""What the command-line tests share: running the binary as a user does, and reading pictures back."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

BINARY = os.environ.get("REVERIE", "build/reverie")
DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
# Made by the build that made the binary (tests/tools).
REFERENCE = pathlib.Path(os.environ.get("REVERIE_REFERENCE") or
                         pathlib.Path(BINARY).resolve().parents[2] / "tests" / "data" / "reference")
ROOT = DATA.parent.parent
MINI = ROOT / "models" / "mini"


def reverie(*arguments, expect=0, timeout=280, env=None, stdin=None):
    """Runs the binary; checks the exit code; a failure must be one line on stderr and nothing else."""
    result = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, timeout=timeout, input=stdin,
                            env={**os.environ, **(env or {})})
    stderr = result.stderr.decode(errors="replace")
    assert result.returncode == expect, f"{' '.join(map(str, arguments))}: exit {result.returncode}, not {expect}\n{stderr}"
    if expect not in (0, 5):
        errors = [line for line in stderr.splitlines() if line.startswith("reverie: ")]
        assert errors, f"no error line for {arguments}: {stderr!r}"
    return result


def json_lines(result):
    return [json.loads(line) for line in result.stdout.decode().splitlines()]


def read_png(source):
    """Width, height, rows of RGB bytes and the text chunks of an 8-bit RGB or RGBA PNG, by the PNG specification alone."""
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
    at, packed, texts = 8, b"", {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0], "bad checksum"
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and colour in (2, 6, 0) and interlace == 0, (depth, colour, interlace)
        elif kind == b"IDAT":
            packed += body
        elif kind == b"tEXt":
            key, text = body.split(b"\0", 1)
            texts[key.decode("latin-1")] = text.decode("latin-1")
        elif kind == b"iTXt":
            key, rest = body.split(b"\0", 1)
            texts[key.decode("latin-1")] = rest[2:].split(b"\0", 2)[2].decode()
        at += 12 + size
    channels = {0: 1, 2: 3, 6: 4}[colour]
    return width, height, unfilter(zlib.decompress(packed), width, height, channels), texts


def unfilter(raw, width, height, channels):
    stride, before, rows = width * channels, bytearray(width * channels), []
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left = row[i - channels] if i >= channels else 0
            up, corner = before[i], before[i - channels] if i >= channels else 0
            if kind == 1:
                row[i] = (row[i] + left) & 255
            elif kind == 2:
                row[i] = (row[i] + up) & 255
            elif kind == 3:
                row[i] = (row[i] + (left + up) // 2) & 255
            elif kind == 4:
                p = left + up - corner
                pa, pb, pc = abs(p - left), abs(p - up), abs(p - corner)
                row[i] = (row[i] + (left if pa <= pb and pa <= pc else up if pb <= pc else corner)) & 255
        rows.append(bytes(row))
        before = row
    if channels == 4:
        rows = [b"".join(r[i:i + 3] for i in range(0, len(r), 4)) for r in rows]
    elif channels == 1:
        rows = [bytes(v for v in r for _ in range(3)) for r in rows]
    return b"".join(rows)


def write_png(path, width, height, pixels, channels=3, texts=()):
    """`pixels`: rows of `channels` bytes each; uncompressed filters, for test inputs."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    stride = width * channels
    raw = b"".join(b"\0" + pixels[y * stride:(y + 1) * stride] for y in range(height))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0))
    for key, text in texts:
        data += chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1"))
    pathlib.Path(path).write_bytes(data + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b""))


def difference(a, b):
    """Mean and largest absolute difference of two byte strings of equal length."""
    assert len(a) == len(b)
    gaps = [abs(x - y) for x, y in zip(a, b)]
    return sum(gaps) / len(gaps), max(gaps)


def run_tests(namespace):
    """Runs every function named test_* with a fresh folder as its argument, as TAP."""
    tests = [(name, function) for name, function in namespace.items() if name.startswith("test_")]
    only = sys.argv[1:]
    tests = [t for t in tests if not only or t[0] in only]
    print(f"1..{len(tests)}", flush=True)
    failures = 0
    for number, (name, function) in enumerate(tests, 1):
        with tempfile.TemporaryDirectory(prefix="reverie-test-") as folder:
            try:
                function(pathlib.Path(folder))
                print(f"ok {number} {name}", flush=True)
            except Exception as error:  # every failure is reported, none ends the run
                failures += 1
                for line in f"{type(error).__name__}: {error}".splitlines():
                    print(f"# {line}")
                print(f"not ok {number} {name}", flush=True)
    sys.exit(1 if failures else 0)
