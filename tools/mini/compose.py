"""Draws training pictures on the GPU: glyphs over backgrounds, photographs, and both in a painter's styles.

A `Scene` is a batch of descriptions; `Painter.draw` turns it into pictures in 0..1, [batch, 3, 256, 256].
"""
from __future__ import annotations

import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import words

SIZE = 256
GLYPH = 136            # a glyph's square cell, in font pixels
STYLE_NAMES = list(words.STYLES)
LUMA = (0.299, 0.587, 0.114)
COPIES = 3


@dataclass
class Scene:
    """One row a picture. Glyph placements are (scale, centre x, centre y), scale 1 filling the picture; glyph -1 is none."""
    glyph: Tensor        # [B] long
    places: Tensor       # [B, COPIES, 3], scale 0 for an absent copy
    colour: Tensor       # [B, 3] background colour
    photo: Tensor        # [B] long, -1 for the plain colour
    tint: Tensor         # [B, 3], negative for none
    style: Tensor        # [B] long, -1 for none
    palette: Tensor      # [B] long: the glyph whose colours the photograph takes, -1 for none

    def __getitem__(self, rows: Tensor | slice) -> "Scene":
        return Scene(*(getattr(self, f)[rows] for f in self.__dataclass_fields__))


def plain_scene(glyph: Tensor) -> Scene:
    """The canonical picture: the glyph, filling the frame, on white."""
    n, device = len(glyph), glyph.device
    places = torch.zeros(n, COPIES, 3, device=device)
    places[:, 0, 0] = 1
    none = torch.full((n,), -1, dtype=torch.long, device=device)
    return Scene(glyph, places, torch.ones(n, 3, device=device), none, none[:, None].expand(n, 3).float(), none, none)


def unpack(blob: np.ndarray, ends: np.ndarray, mode: str) -> list[np.ndarray]:
    def one(i: int) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(blob[ends[i]:ends[i + 1]].tobytes())).convert(mode))
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, range(len(ends) - 1)))


class Material:
    """What `prepare.py` collected, with the pictures on the device."""

    def __init__(self, folder: Path, device: str):
        glyphs, captions, photos = (np.load(folder / f"{n}.npz") for n in ("glyphs", "captions", "photos"))
        info = json.loads((folder / "glyphs.json").read_text())
        self.names, self.emoji, self.prompts = info["names"], info["emoji"], info["prompts"]
        self.toned = np.array(info["toned"])
        self.tokens, self.languages = captions["tokens"], captions["languages"]
        cells = np.zeros((len(self.names), GLYPH, GLYPH, 4), np.uint8)
        for cell, picture in zip(cells, unpack(glyphs["blob"], glyphs["ends"], "RGBA")):
            h, w = picture.shape[:2]
            y, x = (GLYPH - h) // 2, (GLYPH - w) // 2
            cell[y:y + h, x:x + w] = picture
        self.palettes = torch.from_numpy(palettes(cells)).to(device)
        self.cells = torch.from_numpy(cells).permute(0, 3, 1, 2).contiguous().to(device)
        self.photos = torch.from_numpy(np.stack(unpack(photos["blob"], photos["ends"], "RGB"))).permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = [str(x) for x in photos["labels"]]
        self.held = torch.from_numpy(np.stack(unpack(photos["held"], photos["held_ends"], "RGB"))).permute(0, 3, 1, 2).float().div(255).to(device)
        self.held_names = [str(x) for x in photos["held_names"]]


def palettes(cells: np.ndarray) -> np.ndarray:
    """Eight colours of each glyph, dark to light, with a darker and a paler one at the ends."""
    out = np.zeros((len(cells), 8, 3), np.float32)
    small = cells[:, 4::8, 4::8].reshape(len(cells), -1, 4).astype(np.float32)
    for row, pixels in zip(out, small):
        colours = pixels[pixels[:, 3] > 128, :3] / 255
        if len(colours) < 6:
            colours = np.linspace(0, 1, 8)[:, None].repeat(3, 1)
        colours = colours[np.argsort(colours @ LUMA)]
        parts = np.array_split(colours, 6)
        row[1:7] = [p.mean(0) * 0.6 + p[len(p) // 2] * 0.4 for p in parts]
        row[0], row[7] = row[1] * 0.25, 0.35 * row[6] + 0.65
    return out


# ---------------------------------------------------------------------------------------------- painting
def box(x: Tensor, r: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (r, r, r, r), mode="replicate"), 2 * r + 1, 1)


def luma(x: Tensor) -> Tensor:
    return (x * torch.tensor(LUMA, device=x.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def kuwahara(x: Tensor, r: int) -> Tensor:
    """The mean of the calmest of four neighbouring squares: flat patches with sharp borders, as of a brush."""
    pad = F.pad(torch.cat([x, luma(x) ** 2, luma(x)], 1), (r, r, r, r), mode="replicate")
    means = F.avg_pool2d(pad, r + 1, 1)
    h, w = x.shape[-2:]
    views = torch.stack([means[:, :, dy:dy + h, dx:dx + w] for dy in (0, r) for dx in (0, r)])
    calm = (views[:, :, 3] - views[:, :, 4] ** 2).argmin(0)
    return views[:, :, :3].gather(0, calm[None, :, None].expand(1, -1, 3, -1, -1))[0]


def edges(x: Tensor) -> Tensor:
    y = box(luma(x), 1)
    gx, gy = y[..., :, 2:] - y[..., :, :-2], y[..., 2:, :] - y[..., :-2, :]
    return (F.pad(gx, (1, 1, 0, 0)) ** 2 + F.pad(gy, (0, 0, 1, 1)) ** 2).sqrt()


def saturate(x: Tensor, k: float) -> Tensor:
    grey = luma(x)
    return (grey + (x - grey) * k).clamp(0, 1)


def styled(x: Tensor, style: str) -> Tensor:
    if style == "oil":
        return saturate(kuwahara(kuwahara(x, 5), 4), 1.5)
    if style == "watercolor":
        return (saturate(kuwahara(x, 4), 1.2) * 0.75 + 0.25 - edges(kuwahara(x, 4)) * 0.4).clamp(0, 1)
    if style == "sketch":
        grey = luma(x)
        return (grey / (box(box(grey, 5), 5) + 0.03)).clamp(0, 1).pow(2.2).expand(-1, 3, -1, -1)
    if style == "cartoon":
        flat = kuwahara(x, 4)
        return ((saturate(flat, 1.6) * 5).round() / 5 * (1 - (edges(flat) * 4).clamp(0, 1) * 0.9)).clamp(0, 1)
    if style == "pixel":
        return F.interpolate((saturate(F.avg_pool2d(x, 8), 1.3) * 7).round() / 7, scale_factor=8.0, mode="nearest").clamp(0, 1)
    if style == "neon":
        glow = (edges(kuwahara(x, 3)) * 5).clamp(0, 1)
        hue = saturate(box(x, 6) * 0.6 + 0.4, 5.0)
        return (hue * (glow + 0.7 * box(box(glow, 4), 4)) + torch.tensor([0.03, 0.01, 0.09], device=x.device).view(1, 3, 1, 1)).clamp(0, 1)
    if style == "mono":
        return luma(x).expand(-1, 3, -1, -1)
    if style == "sepia":
        return luma(x) ** 0.9 * torch.tensor([1.0, 0.85, 0.62], device=x.device).view(1, 3, 1, 1)
    shift = torch.tensor([0.0, 1 / 3, 2 / 3], device=x.device).view(1, 3, 1, 1)
    return 0.5 + 0.5 * torch.sin(2 * math.pi * (luma(kuwahara(x, 4)) * 1.6 + shift))


def recoloured(x: Tensor, palette: Tensor) -> Tensor:
    """The picture repainted with eight colours by its brightness. palette is [B, 8, 3]."""
    y = luma(kuwahara(kuwahara(x, 4), 3))
    low, high = (y.flatten(1).quantile(q, dim=1).view(-1, 1, 1, 1) for q in (0.02, 0.98))
    level = ((y - low) / (high - low + 0.05)).clamp(0, 1) * 7
    near = level.floor() + ((level - level.floor() - 0.5) * 4 + 0.5).clamp(0, 1)      # soft steps between the colours
    base = near.floor().clamp(0, 6)
    part = near - base
    table = palette.transpose(1, 2)
    pick = base.flatten(1).long()[:, None].expand(-1, 3, -1)
    return (table.gather(2, pick) * (1 - part.flatten(2)) + table.gather(2, pick + 1) * part.flatten(2)).view_as(x)


class Painter:
    def __init__(self, material: Material, device: str):
        self.m, self.device = material, device
        self.random = torch.Generator(device).manual_seed(7)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=self.random, device=self.device) * (high - low) + low

    def view(self, picture: Tensor, scale: Tensor, x: Tensor, y: Tensor, flip: Tensor | None = None, mode: str = "bilinear") -> Tensor:
        """`picture` drawn `scale` as large as the frame, its centre at (x, y) in -1..1."""
        theta = torch.zeros(len(picture), 2, 3, device=self.device)
        theta[:, 0, 0] = 1 / scale if flip is None else flip / scale
        theta[:, 1, 1] = 1 / scale
        theta[:, 0, 2], theta[:, 1, 2] = -x * theta[:, 0, 0], -y / scale
        grid = F.affine_grid(theta, [len(picture), 1, SIZE, SIZE], align_corners=False)
        return F.grid_sample(picture, grid, mode=mode, padding_mode="zeros", align_corners=False)

    def photograph(self, index: Tensor) -> Tensor:
        n = len(index)
        zoom = self.uniform(n, low=1.0, high=1.45)
        slack = (zoom - 1) * 0.98
        x, y = self.uniform(n, low=-1, high=1) * slack, self.uniform(n, low=-1, high=1) * slack
        flip = (self.uniform(n) < 0.5).float() * 2 - 1
        picture = self.view(self.m.photos[index].float() / 255, zoom, x, y, flip).clamp(0, 1)
        light = self.uniform(n, 1, 1, 1, low=0.8, high=1.25)
        return (picture ** light * self.uniform(n, 3, 1, 1, low=0.9, high=1.05)).clamp(0, 1)

    @torch.no_grad()
    def draw(self, s: Scene) -> Tensor:
        return self.draw_pair(s)[1]

    @torch.no_grad()
    def draw_pair(self, s: Scene) -> tuple[Tensor, Tensor]:
        """The bare background (a photograph, say), and the picture made of it."""
        out = s.colour[:, :, None, None].expand(-1, 3, SIZE, SIZE).clone()
        rows = (s.photo >= 0).nonzero()[:, 0]
        if len(rows):
            out[rows] = self.photograph(s.photo[rows])
        bare = out.clone()
        rows = (s.palette >= 0).nonzero()[:, 0]
        if len(rows):
            out[rows] = recoloured(out[rows], self.m.palettes[s.palette[rows]])
        for copy in range(COPIES):
            rows = ((s.glyph >= 0) & (s.places[:, copy, 0] > 0)).nonzero()[:, 0]
            if not len(rows):
                continue
            cell = self.m.cells[s.glyph[rows]].float() / 255
            cell = torch.cat([cell[:, :3] * cell[:, 3:], cell[:, 3:]], 1)
            cell = self.view(cell, *s.places[rows, copy].unbind(1), mode="bicubic").clamp(0, 1)
            colour, alpha = cell[:, :3], cell[:, 3:]
            tinted = s.tint[rows, 0] >= 0
            if tinted.any():
                grey = luma(colour[tinted]) / alpha[tinted].clamp(min=0.01)
                tint = s.tint[rows][tinted][:, :, None, None]
                colour[tinted] = torch.where(grey < 0.5, tint * grey * 2, 1 - (1 - tint) * (2 - 2 * grey)).clamp(0, 1) * alpha[tinted]
            out[rows] = out[rows] * (1 - alpha) + colour
        for i, style in enumerate(STYLE_NAMES):
            rows = (s.style == i).nonzero()[:, 0]
            if len(rows):
                out[rows] = styled(out[rows], style)
        return bare, out
