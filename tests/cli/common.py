"""What the command-line tests share: running the binary as a user does, and reading pictures back."""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

BINARY = os.environ.get("REVERIE", "build/reverie")
DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
# Made by the build that made the binary (tests/tools).
REFERENCE = pathlib.Path(os.environ.get("REVERIE_REFERENCE") or
                         pathlib.Path(BINARY).resolve().parent / "tests" / "data" / "reference")
ROOT = DATA.parent.parent
MINI = ROOT / "models" / "mini"


MODEL = REFERENCE / "tiny-sd15"
FAST = ["--model", MODEL, "--steps", 2, "--width", 64, "--height", 64, "--seed", 7, "--sampler", "euler", "--threads", 1,
        "-p", "a red fox"]
SANITIZED = os.environ.get("REVERIE_SANITIZER", "none") != "none"
SANITIZER_OPTIONS = {"ASAN_OPTIONS": "exitcode=99", "LSAN_OPTIONS": f"suppressions={DATA.parent / 'sanitizers.supp'}:print_suppressions=0",
                     "UBSAN_OPTIONS": "halt_on_error=1:exitcode=98:print_stacktrace=1"}
ERROR_LINE = re.compile(r"reverie: [^\n]+ \([^\n]+\): [^\n]+")


def environment(extra=None, arguments=()):
    """Threads that wait without spinning: tests share the cores with other work. GStreamer makes so many quarks that
    GLib grows its table of them and leaks the old one by design, which no suppression can tell from other leaks."""
    film = any(str(word).endswith((".mp4", ".mkv", ".webm")) for word in arguments)
    options = {**SANITIZER_OPTIONS, "ASAN_OPTIONS": "exitcode=99:detect_leaks=0"} if film else SANITIZER_OPTIONS
    return {**os.environ, "OMP_WAIT_POLICY": "passive", **options, **(extra or {})}


def reverie(*arguments, expect=0, timeout=280, env=None, stdin=None, **options):
    """Runs the binary and checks the exit code; a failure must be one line on stderr and nothing else."""
    result = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, timeout=timeout, input=stdin,
                            env=environment(env, arguments), **options)
    result.error = result.stderr.decode(errors="replace").strip()
    assert result.returncode == expect, f"{' '.join(map(str, arguments))}: exit {result.returncode}, not {expect}\n{result.error}"
    check_stderr(result.error, expect, arguments)
    return result


def check_stderr(text, code, arguments):
    """Notes and errors alike start with the name; an error is the last line: WHAT (WHERE): WHAT TO DO."""
    lines = text.splitlines()
    assert all(line.startswith("reverie: ") for line in lines), f"{arguments}: {text!r}"
    if code not in (0, 5):
        assert lines and ERROR_LINE.fullmatch(lines[-1]), f"{arguments}: no \"WHAT (WHERE): WHAT TO DO\": {text!r}"
        assert len([line for line in lines if not line.startswith("reverie: sizes are multiples")]) == 1, f"{arguments}: {text!r}"


def refuse(folder, code, *arguments, says=None, env=None, **options):
    """The command fails with `code` and one line that holds each of `says`, and leaves `folder` as it was."""
    before = tree(folder)
    result = reverie(*arguments, expect=code, env=env, **options)
    for words in [says] if isinstance(says, str) else says or []:
        assert words in result.error, f"{arguments}: {words!r} is not in {result.error!r}"
    assert tree(folder) == before, f"{arguments} left {tree(folder) ^ before}"
    return result.error


def tree(folder):
    return {str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*")}


def draw(out, *arguments, task="txt2img", base=FAST, **options):
    """Draws into `out` and gives width, height, pixels, texts."""
    reverie(task, *base, "-o", out, *arguments, **options)
    return read_png(out)


def copy_model(model, to):
    """A copy whose files may be changed."""
    shutil.copytree(model, to, copy_function=lambda a, b: shutil.copyfile(os.path.realpath(a), b))
    return to


def read_safetensors(path):
    """The header as a dict and the bytes after it."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), bytearray(data[8 + size:])


def write_safetensors(path, header, body):
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))


def scale(halves, factors):
    """float16 numbers, each times its factor."""
    values = struct.unpack(f"<{len(factors)}e", halves)
    return struct.pack(f"<{len(factors)}e", *(a * b for a, b in zip(values, factors)))


def columns(header, body, name, change, keep):
    """Changes each row of a float16 matrix, and keeps `keep` (from, to) of its columns."""
    rows, width = header[name]["shape"]
    at, size = header[name]["data_offsets"][0], 2 * width
    out = b"".join(change(bytes(body[at + i * size:at + (i + 1) * size]))[2 * keep[0]:2 * keep[1]] for i in range(rows))
    return out, [rows, keep[1] - keep[0]]


def make_refiner(folder):
    """From the tiny SDXL: a base whose UNet is deaf to the first text encoder and to the target's size, and what is left
    of it as a refiner, which has only the second encoder and a score in place of that size. The score's weights are zeros
    in `refiner`, so that it continues a picture as `base` does, and others in `scored`."""
    xl, made = REFERENCE / "tiny-sdxl", {}
    first, text, ids, each = 64, 128, 6, 32
    file = pathlib.Path("unet") / "diffusion_pytorch_model.safetensors"
    for name in "base", "refiner", "scored":
        to = made[name] = copy_model(xl, folder / name)
        header, body = read_safetensors(to / file)
        tensors = {key: (bytes(body[slice(*value["data_offsets"])]), value) for key, value in header.items() if key != "__metadata__"}
        for key in list(tensors):
            if key.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
                data, shape = columns(header, body, key, lambda row: bytes(2 * first) + row[2 * first:],
                                      (0 if name == "base" else first, first + text))
            elif key == "add_embedding.linear_1.weight":
                score, whole = 2 * (text + 4 * each), text + ids * each
                louder = [64 if name == "scored" else 0] * each
                data, shape = columns(header, body, key, lambda row: row[:score] + scale(row[score:score + 2 * each], louder) + bytes(2 * each),
                                      (0, whole if name == "base" else whole - each))
            else:
                continue
            tensors[key] = data, {"dtype": "F16", "shape": shape}
        new, at = {}, 0
        for key, (data, value) in tensors.items():
            new[key] = {"dtype": value["dtype"], "shape": value["shape"], "data_offsets": [at, at + len(data)]}
            at += len(data)
        write_safetensors(to / file, new, b"".join(data for data, _ in tensors.values()))
        if name == "base":
            continue
        config = json.loads((to / "unet" / "config.json").read_text())
        config.update(cross_attention_dim=text, projection_class_embeddings_input_dim=text + 5 * each)
        (to / "unet" / "config.json").write_text(json.dumps(config))
        index = json.loads((to / "model_index.json").read_text())
        index.update(text_encoder=[None, None], tokenizer=[None, None])
        (to / "model_index.json").write_text(json.dumps(index))
        shutil.rmtree(to / "text_encoder")
        shutil.rmtree(to / "tokenizer")
    return made


def make_picture(path, width=64, height=64, shift=0):
    """A picture with gradients and edges."""
    write_png(path, width, height, bytes((x * 3 + shift, y * 3, (x // 8 + y // 8) % 2 * 200)[c] & 255
                                         for y in range(height) for x in range(width) for c in range(3)))
    return path


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


class Skip(Exception):
    """A test that cannot run here; its text says why."""


def run_tests(namespace):
    """Runs every function named test_* with a fresh folder as its argument, as TAP."""
    tests = [(name, function) for name, function in namespace.items() if name.startswith("test_")]
    only = sys.argv[1:]
    tests = [t for t in tests if not only or t[0] in only]
    print(f"1..{len(tests)}", flush=True)
    failures = 0
    for number, (name, function) in enumerate(tests, 1):
        with tempfile.TemporaryDirectory(prefix="reverie-test-") as folder:
            start = time.monotonic()
            try:
                function(pathlib.Path(folder))
                print(f"# {name}: {time.monotonic() - start:.1f} s\nok {number} {name}", flush=True)
            except Skip as reason:
                print(f"ok {number} {name} # SKIP {reason}", flush=True)
            except Exception as error:  # every failure is reported, none ends the run
                failures += 1
                place = traceback.extract_tb(error.__traceback__)[1]
                for line in f"{function.__name__}, line {place.lineno}: {type(error).__name__}: {error}".splitlines():
                    print(f"# {line}")
                print(f"not ok {number} {name}", flush=True)
    sys.exit(1 if failures else 0)
