#!/usr/bin/env python3
"""A full-size model of random weights as files: `draw_full_model.py sd15|sd21|sdxl FOLDER`.

Writes FOLDER/FAMILY.safetensors (one file, original names, float16, every tensor of the published model) and FOLDER/taesd.safetensors.
What is timed with them is the real thing from disk to picture; what is drawn is noise. Standard library only.
"""
import gzip
import json
import math
import os
import pathlib
import struct
import sys

SHAPES = pathlib.Path(__file__).resolve().parent.parent / "data" / "reference" / "shapes.json.gz"
PERIOD = 1048573  # prime, so that rows of a matrix differ although the signs repeat


def halves(value, count):
    return struct.pack("<e", value) * count


def signs():
    return [byte & 1 for byte in os.urandom(PERIOD)]


class Drawer:
    """Weights are +s or -s, which keeps the size of what passes through: s^2 = 1 / inputs."""

    def __init__(self):
        self.signs, self.blocks = signs(), {}

    def block(self, scale):
        if scale not in self.blocks:
            pair = (struct.pack("<e", scale), struct.pack("<e", -scale))
            self.blocks[scale] = b"".join(pair[sign] for sign in self.signs)
        return self.blocks[scale]

    def tensor(self, name, shape):
        count = math.prod(shape)
        if len(shape) < 2:
            is_scale = name.endswith("weight") or name.endswith(".gamma")
            yield halves(1.0 if is_scale else 0.0, count)
            return
        block, left = self.block(2.0 ** round(-0.5 * math.log2(math.prod(shape[1:])))), 2 * count
        while left > 0:
            part = block[:left]
            yield part
            left -= len(part)


def write(path, shapes):
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    drawer = Drawer()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            for part in drawer.tensor(name, shape):
                file.write(part)
    print(f"{path}: {(at + len(text) + 8) / 1e9:.2f} GB, {len(shapes)} tensors")


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("sd15", "sd21", "sdxl"):
        sys.exit(__doc__)
    family, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    published = json.loads(gzip.decompress(SHAPES.read_bytes()))
    layouts = published[family]
    single = layouts["single_file"]
    write(folder / f"{family}.safetensors", single)
    write(folder / "taesd.safetensors", published["taesd"]["diffusers"])


main()
