"""A byte-level byte-pair tokenizer in CLIP's file layout: training, encoding, files.

Encoding gives what transformers' CLIPTokenizer gives with the files that `write` makes.
"""
from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import regex

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
                      regex.IGNORECASE)
CONTEXT = 77


def byte_letters() -> list[str]:
    """A printable letter for each byte, in the order of CLIP's vocabulary and, as a table, by byte."""
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table = {b: chr(b) for b in shown}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(shown))
    return [table[b] for b in shown] + [table[b] for b in range(256) if b not in shown], table


LETTERS, BYTE = byte_letters()


def split(text: str) -> list[str]:
    text = " ".join(unicodedata.normalize("NFC", text).split()).lower()
    return ["".join(BYTE[b] for b in word.encode()) for word in WORDS.findall(text)]


def train(texts: dict[str, float], size: int) -> list[tuple[str, str]]:
    """The merges of a vocabulary of `size` tokens, from texts with weights."""
    words: Counter[str] = Counter()
    for text, weight in texts.items():
        for word in split(text):
            words[word] += weight
    symbols = {w: [*w[:-1], w[-1] + "</w>"] for w in words}
    pairs: dict[tuple[str, str], float] = defaultdict(float)
    where: dict[tuple[str, str], set[str]] = defaultdict(set)
    for word, parts in symbols.items():
        for pair in zip(parts, parts[1:]):
            pairs[pair] += words[word]
            where[pair].add(word)
    merges = []
    while len(merges) < size - 2 * len(LETTERS) - 2 and pairs:
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] <= 0:
            break
        merges.append(best)
        for word in where.pop(best):
            parts, out, i = symbols[word], [], 0
            for pair in zip(parts, parts[1:]):
                pairs[pair] -= words[word]
            while i < len(parts):
                joined = i + 1 < len(parts) and (parts[i], parts[i + 1]) == best
                out.append(parts[i] + parts[i + 1] if joined else parts[i])
                i += 2 if joined else 1
            symbols[word] = out
            for pair in zip(out, out[1:]):
                pairs[pair] += words[word]
                where[pair].add(word)
        del pairs[best]
    return merges


class Tokenizer:
    def __init__(self, merges: list[tuple[str, str]]):
        self.merges = merges
        self.vocab = LETTERS + [c + "</w>" for c in LETTERS] + ["".join(m) for m in merges] + [START, END]
        self.ids = {t: i for i, t in enumerate(self.vocab)}
        self.rank = {m: i for i, m in enumerate(merges)}
        self.start, self.end, self.cache = self.ids[START], self.ids[END], {}

    @classmethod
    def read(cls, folder: Path) -> "Tokenizer":
        lines = (folder / "merges.txt").read_text().splitlines()[1:]
        return cls([tuple(line.split(" ")) for line in lines if line])

    def word(self, word: str) -> list[int]:
        if word not in self.cache:
            parts = [*word[:-1], word[-1] + "</w>"]
            while len(parts) > 1:
                at = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
                pair = (parts[at], parts[at + 1])
                if pair not in self.rank:
                    break
                out, i = [], 0
                while i < len(parts):
                    joined = i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair
                    out.append(parts[i] + parts[i + 1] if joined else parts[i])
                    i += 2 if joined else 1
                parts = out
            self.cache[word] = [self.ids[p] for p in parts]
        return self.cache[word]

    def encode(self, text: str) -> list[int]:
        """The ids of a text without the start and end tokens."""
        return [i for word in split(text) for i in self.word(word)]

    def row(self, ids: list[int]) -> list[int]:
        """A full row of the text encoder: start, ids, end, padded with ends."""
        row = [self.start, *ids[:CONTEXT - 2], self.end]
        return row + [self.end] * (CONTEXT - len(row))

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(self.ids, ensure_ascii=False, separators=(",", ":")))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in self.merges))
        names = dict(bos_token=START, eos_token=END, unk_token=END, pad_token=END)
        (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=1))
        (folder / "tokenizer_config.json").write_text(json.dumps(dict(
            tokenizer_class="CLIPTokenizer", model_max_length=CONTEXT, **names, add_prefix_space=False, do_lower_case=True), indent=1))
