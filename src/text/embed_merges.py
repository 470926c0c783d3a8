#!/usr/bin/env python3
"""Writes the merges of data/clip/merges.u16 as a C array, so that the binary needs no data file."""
import struct
import sys

source, output = sys.argv[1:]
with open(source, "rb") as file:
    data = file.read()
numbers = struct.unpack(f"<{len(data) // 2}H", data)
with open(output, "w") as file:
    file.write('#include "text/tokenizer_internal.h"\n')
    file.write(f"const guint16 rv_clip_merges[] = {{\n")
    for i in range(0, len(numbers), 16):
        file.write(",".join(map(str, numbers[i : i + 16])) + ",\n")
    file.write(f"}};\nconst guint rv_clip_merge_count = {len(numbers) // 2};\n")
