#!/usr/bin/env python3
"""Writes the files below web/ as a C table: embed_web.py WEB OUT.c DEPFILE. Ninja learns from DEPFILE which files and
folders (new files) to watch."""
import pathlib
import sys

web, out, depfile = map(pathlib.Path, sys.argv[1:4])
ENDINGS = {".html", ".js", ".mjs", ".css", ".json", ".svg", ".png", ".jpg", ".ico", ".woff2", ".webmanifest", ".wasm", ".mp3", ".wav"}
files = sorted(p for p in web.rglob("*") if p.is_file() and p.suffix in ENDINGS) if web.is_dir() else []
folders = [web, *(p for p in web.rglob("*") if p.is_dir())] if web.is_dir() else []
lines = ['#include "server/pages.h"', ""]
for number, path in enumerate(files):
    data = path.read_bytes()
    lines.append(f"static const unsigned char file_{number}[] = {{")
    lines += [" " + ",".join(map(str, data[i:i + 64])) + "," for i in range(0, len(data), 64)]
    lines.append("0};")
lines.append("const RvWebFile rv_web_files[] = {")
lines += [f'    {{ "{path.relative_to(web).as_posix()}", file_{number}, sizeof file_{number} - 1 }},' for number, path in enumerate(files)]
lines += ["    { 0 },", "};", ""]
out.write_text("\n".join(lines))
escaped = [str(p).replace(" ", "\\ ") for p in [*files, *folders]]
depfile.write_text(f"{out}: {' '.join(escaped)}\n")
