"""What the denoiser learns from: captions (token rows) paired with scene descriptions, and up to which timestep.

Plain captions draw the glyph large on white (`plain_scene`). The varied kinds below add backgrounds, places, colours,
painters' styles, photographs, and photographs repainted under a glyph's name. The last kind is shown at timesteps
under `REPAINT_UNTIL` only: it teaches image-to-image without blurring what a plain prompt draws from noise.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import words
from compose import COPIES, STYLE_NAMES, Material, Scene

KINDS = dict(background=0.30, place=0.08, tint=0.06, styled=0.08, photo=0.24, repaint=0.24)
REPAINT_UNTIL = 660
WIDTH = 44              # tokens of a varied caption, at the most


class Mixture:
    def __init__(self, material: Material, seed: int):
        self.m, self.random = material, np.random.default_rng(seed)
        weight = np.where(material.toned, 0.25, 1.0)
        self.weight = weight / weight.sum()
        self.by_label: dict[str, np.ndarray] = {}
        labels = np.array(material.labels)
        for label in set(material.labels) - {""}:
            self.by_label[label] = np.nonzero(labels == label)[0]
        self.languages = list(words.LANGUAGES)
        self.scenes = [k for k in words.SCENES if k in self.by_label]

    def phrase(self, bank: str, language: str = "en") -> list[int]:
        table = self.m.prompts[bank]
        texts = table.get(language) or table["en"]
        return texts[self.random.integers(len(texts))]

    def caption(self, glyph: int) -> tuple[list[int], str]:
        j = self.random.integers(self.m.tokens.shape[1])
        row = self.m.tokens[glyph, j]
        return row[row >= 0].tolist(), self.languages[self.m.languages[glyph, j]]

    def near(self, low: float, high: float) -> tuple[float, float, float]:
        scale = self.random.uniform(low, high)
        slack = (1 - scale) * 0.9
        return scale, self.random.uniform(-slack, slack), self.random.uniform(-slack, slack)

    def row(self) -> tuple[list[int], dict, int]:
        r = self.random
        kind = r.choice(list(KINDS), p=list(KINDS.values()))
        glyph = int(r.choice(len(self.weight), p=self.weight))
        ids, language = self.caption(glyph)
        photo = int(r.integers(len(self.m.labels)))
        s: dict = dict(glyph=glyph, places=[(1, 0, 0)], colour=(1, 1, 1), photo=-1, tint=(-1, -1, -1), style=-1, palette=-1)
        until = 1000
        if kind == "background":
            s["places"] = [self.near(0.5, 1.0)]
            if r.random() < 0.5:
                name = r.choice(list(words.COLOURS))
                s["colour"] = np.clip(np.array(words.COLOURS[name][0]) / 255 + r.normal(0, 0.03, 3), 0, 1)
                ids = ids + self.phrase(f"colour:{name}", language)
            elif r.random() < 0.7:
                name = r.choice(self.scenes)
                s["photo"] = int(r.choice(self.by_label[name]))
                ids = ids + self.phrase(f"scene:{name}", language)
            else:
                s["photo"] = photo
                ids = ids + self.phrase("scene:any", language)
        elif kind == "place":
            name = r.choice(list(words.PLACES))
            language = "ru" if language == "ru" else "en"
            before, after = self.m.prompts[f"place:{name}:before"], self.m.prompts[f"place:{name}:after"]
            i = r.integers(len(before[language]))
            ids = before[language][i] + ids + after[language][i]
            s["places"] = dict(small=[self.near(0.3, 0.5)], left=[(0.5, -0.48, 0)], right=[(0.5, 0.48, 0)],
                               two=[(0.48, -0.5, 0), (0.48, 0.5, 0)], three=[(0.33, -0.66, 0), (0.33, 0, 0), (0.33, 0.66, 0)])[name]
        elif kind == "tint":
            name = r.choice(list(words.TINTS))
            s["tint"] = np.array(words.TINTS[name][0]) / 255
            ids = self.phrase(f"tint:{name}", language if language == "ru" else "en") + ids
        elif kind in ("styled", "photo"):
            s["style"] = int(r.integers(len(STYLE_NAMES)))
            style = self.phrase(f"style:{STYLE_NAMES[s['style']]}", language if language == "ru" else "en")
            if kind == "photo":
                s["glyph"], s["photo"] = -1, photo
                ids = self.phrase("subjects", "ru" if r.random() < 0.2 else "en")
                if r.random() < 0.25:
                    s["style"], style = -1, []
            ids = ids + style if r.random() < 0.6 else style + ids
        else:
            until, s["photo"] = REPAINT_UNTIL, photo
            drawn = r.random() < 0.55
            if not drawn or r.random() < 0.7:
                s["palette"] = glyph
            if drawn:
                s["places"] = [self.near(0.2, 0.8) for _ in range(r.choice([1, 1, 2, 3]))]
            else:
                s["glyph"] = -1
            if r.random() < 0.1 and s["palette"] >= 0:
                s["style"] = int(r.integers(len(STYLE_NAMES)))
                ids = ids + self.phrase(f"style:{STYLE_NAMES[s['style']]}")
        s["places"] = [*s["places"], *[(0, 0, 0)] * (COPIES - len(s["places"]))]
        return ids[:WIDTH], s, until

    def batch(self, n: int, device: str) -> tuple[Tensor, Scene, Tensor]:
        rows = [self.row() for _ in range(n)]
        tokens = np.full((n, WIDTH), -1, np.int16)
        for row, (ids, _, _) in zip(tokens, rows):
            row[:len(ids)] = ids
        columns = {}
        for name in Scene.__dataclass_fields__:
            values = np.array([np.asarray(s[name]) for _, s, _ in rows])
            columns[name] = torch.from_numpy(values if values.dtype.kind == "i" and name != "places" else values.astype(np.float32)).to(device)
        return torch.from_numpy(tokens).to(device), Scene(**columns), torch.tensor([u for _, _, u in rows], device=device)
