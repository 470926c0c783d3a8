"""Measures a trained mini: retrieval of drawn glyphs, PSNR of the autoencoder, sheets of pictures to look at.

    python tools/mini/measure.py --data .mini-data --model models/mini --report FOLDER
    python tools/mini/measure.py --golden FOLDER        # the networks of model.py against public implementations' outputs
"""
from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bpe import Tokenizer
from model import AutoencoderTiny, CLIPTextModel, UNet2DConditionModel, load_part, read_safetensors

PROMPTS = ["a red apple", "smiling cat", "красное яблоко", "a photo of a red fox", "a cat on a beach", "pizza on a blue background", "собака в лесу",
           "ein roter Apfel", "un gato", "犬", "苹果", "a blue cat", "two dogs", "small house", "rocket in space", "flag of Japan",
           "a watercolor of a rose", "castle, pixel art", "portrait, oil painting!", "neon city at night, 4k", "psychedelic landscape",
           "a photo", "", "an astronaut", "happy face", "heart", "a tree in the snow", "a green dragon", "банан", "кот", "car, pencil sketch", "🦊"]
REDRAWS = ["", "oil painting", "cartoon", "neon city at night, 4k", "a red fox", "psychedelic", "pencil sketch", "smiling cat"]


def alphas_cumprod() -> Tensor:
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000) ** 2
    return (1 - betas).cumprod(0)


class Mini:
    """The model of a folder, drawing as the engine does: Euler, trailing timesteps, v-prediction, no guidance."""

    def __init__(self, folder: Path, device: str):
        self.device, self.tokenizer = device, Tokenizer.read(folder / "tokenizer")
        self.text = load_part(CLIPTextModel, folder / "text_encoder", "model").to(device)
        self.unet = load_part(UNet2DConditionModel, folder / "unet").to(device)
        self.vae = load_part(AutoencoderTiny, folder / "vae").to(device)
        self.scale = self.vae.config["scaling_factor"]

    @torch.no_grad()
    def draw(self, prompts: list[str], steps: int, seed: int, source: Tensor | None = None, strength: float = 1.0) -> Tensor:
        """Pictures in 0..1; `source` (0..1, one or as many as prompts) makes it image-to-image."""
        rows = torch.tensor([self.tokenizer.row(self.tokenizer.encode(p)) for p in prompts], device=self.device)
        context = self.text(rows)
        times = np.round(np.arange(1000, 0, -1000 / steps)) - 1
        times = times[steps - min(int(steps * strength), steps):]
        alphas = alphas_cumprod()
        sigmas = [float(((1 - alphas[int(t)]) / alphas[int(t)]).sqrt()) for t in times] + [0.0]
        shape = (len(prompts), self.unet.config["in_channels"], 32, 32)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        x = noise * sigmas[0]
        if source is not None:
            x = x + self.vae.encode(source.to(self.device) * 2 - 1) * self.scale
        for t, sigma, after in zip(times, sigmas, sigmas[1:]):
            v = self.unet(x / (sigma ** 2 + 1) ** 0.5, torch.tensor([float(t)], device=self.device), context)
            clean = x / (sigma ** 2 + 1) - v * sigma / (sigma ** 2 + 1) ** 0.5
            x = x + (x - clean) / sigma * (after - sigma)
        return ((self.vae.decode(x / self.scale) + 1) / 2).clamp(0, 1)


# ---------------------------------------------------------------------------------------------- figures
def psnr(a: Tensor, b: Tensor) -> Tensor:
    return -10 * (a - b).square().mean((1, 2, 3)).log10()


@torch.no_grad()
def report_psnr(vae: AutoencoderTiny, material, say: Callable = print) -> dict[str, float]:
    """PSNR of held-out photographs through the autoencoder, after rounding to 8 bits."""
    x = material.held
    y = ((vae.decode(vae.encode(x * 2 - 1)) + 1) / 2).clamp(0, 1).mul(255).round() / 255
    found = dict(zip(material.held_names, psnr(x, y).tolist()))
    kinds = {kind: float(np.mean([v for k, v in found.items() if k.endswith(kind)])) for kind in ("whole", "detail")}
    say("PSNR", {k: round(v, 2) for k, v in found.items()})
    say(f"PSNR of held-out photographs: whole views {kinds['whole']:.2f} dB, details {kinds['detail']:.2f} dB")
    return {**found, "mean whole": kinds["whole"], "mean detail": kinds["detail"]}


def small(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures, (32, 32), mode="area")


def references(material, fit: str) -> Tensor:
    """Every glyph on white at 32x32: `square` cell as the font draws it, the same `stretched` from 136x128, or its `tight` box."""
    out = []
    for i in range(0, len(material.cells), 256):
        cell = material.cells[i:i + 256].float() / 255
        flat = cell[:, :3] * cell[:, 3:] + 1 - cell[:, 3:]
        if fit == "square":
            out.append(small(flat))
        elif fit == "stretched":
            out.append(small(flat[:, :, 4:132]))
        else:
            for picture, alpha in zip(flat, cell[:, 3]):
                rows, columns = (alpha.amax(1 - d).nonzero()[:, 0] for d in (0, 1))
                box = picture[:, rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
                h, w = box.shape[1:]
                side = max(h, w)
                square = F.pad(box, ((side - w) // 2, side - w - (side - w) // 2, (side - h) // 2, side - h - (side - h) // 2), value=1.0)
                out.append(small(square[None]))
    return torch.cat(out).flatten(1)


def retrieval(mini: Mini, material, steps: int, count: int = 300, seed: int = 1, table: Tensor | None = None,
              chosen: np.ndarray | None = None) -> tuple[float, float]:
    """The share of names whose drawing has its own glyph as nearest, and among the five nearest, by plain pixel distance."""
    table = references(material, "square") if table is None else table
    if chosen is None:
        chosen = np.random.default_rng(seed).choice(len(material.names), count, replace=False)
    ranks = []
    for i in range(0, len(chosen), 50):
        part = chosen[i:i + 50]
        drawn = small(mini.draw([material.names[j] for j in part], steps, seed + i)).flatten(1)
        distance = torch.cdist(drawn, table)
        own = distance.gather(1, torch.tensor(part, device=distance.device)[:, None])
        ranks.append((distance < own - 1e-5).sum(1))
    ranks = torch.cat(ranks)
    return float((ranks < 1).float().mean()), float((ranks < 5).float().mean())


def sheet(pictures: Tensor, columns: int, file: Path, size: int = 160) -> None:
    a = (F.interpolate(pictures, (size, size), mode="area").permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
    rows = -(-len(a) // columns)
    board = np.full((rows * size, columns * size, 3), 255, np.uint8)
    for i, picture in enumerate(a):
        y, x = i // columns * size, i % columns * size
        board[y:y + size, x:x + size] = picture
    Image.fromarray(board).save(file)


def sharpness(pictures: Tensor) -> float:
    return float((pictures[..., 1:] - pictures[..., :-1]).abs().mean())


def layout(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of 16x16 brightness: 1 where the layout is the same."""
    a, b = (F.adaptive_avg_pool2d(x.mean(1, keepdim=True), 16).flatten(1) for x in (a, b))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)


def run(folder: Path, material, report: Path) -> None:
    report.mkdir(parents=True, exist_ok=True)
    device = str(material.cells.device)
    mini, out, began = Mini(folder, device), {}, time.time()
    out["psnr"] = report_psnr(mini.vae, material)
    for fit in ("square", "stretched", "tight"):
        table = references(material, fit)
        for steps in (1, 2, 4) if fit == "square" else (4,):
            out[f"retrieval {fit} {steps} steps"] = found = retrieval(mini, material, steps, table=table)
            print(f"retrieval of 300 names, {steps} steps, {fit} references: first {found[0]:.1%}, first five {found[1]:.1%}", flush=True)
    untoned = np.random.default_rng(2).choice(np.nonzero(~material.toned)[0], 300, replace=False)
    out["retrieval without skin tones"] = found = retrieval(mini, material, 4, chosen=untoned)
    print(f"retrieval of 300 names without skin tones, 4 steps: first {found[0]:.1%}, first five {found[1]:.1%}", flush=True)
    for steps in (1, 4):
        sheet(mini.draw(PROMPTS, steps, 3), 8, report / f"prompts-{steps}.png")
    names = np.random.default_rng(5).choice(len(material.names), 48, replace=False)
    sheet(mini.draw([material.names[i] for i in names], 4, 5), 12, report / "names-4.png", 128)
    held = material.held[:len(material.held) // 2 * 2:2]
    decoded = ((mini.vae.decode(mini.vae.encode(held * 2 - 1).detach()) + 1) / 2).clamp(0, 1).detach()
    sheet(torch.cat([held, decoded]), len(held), report / "autoencoder.png", 256)
    rows, table = [held[:6]], {}
    for prompt in REDRAWS:
        drawn = mini.draw([prompt] * 6, 4, 9, source=held[:6], strength=0.5)
        rows.append(drawn)
        table[prompt] = dict(layout=float(layout(held[:6], drawn).mean()), change=float((held[:6] - drawn).abs().mean()),
                             sharpness=sharpness(drawn) / sharpness(held[:6]))
    out["image-to-image, 4 steps, strength 0.5"] = table
    print("image-to-image", {k: {a: round(b, 3) for a, b in v.items()} for k, v in table.items()})
    sheet(torch.cat(rows), 6, report / "redraw-0.5.png")
    out["bytes"] = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and report not in f.parents)
    (report / "report.json").write_text(json.dumps(out, indent=1, ensure_ascii=False))
    print(f"{out['bytes']} bytes in the model folder; measured in {time.time() - began:.0f} s")


# ---------------------------------------------------------------------------------------------- checks against public code
@torch.no_grad()
def golden(folder: Path) -> None:
    """`folder` holds diffusers-layout models with golden.safetensors (inputs and outputs of diffusers and transformers)."""
    far = lambda a, b: float((a - b).norm() / b.norm())
    for name in ("tiny-sd15", "tiny-sd21"):
        g = read_safetensors(folder / name / "golden.safetensors")
        unet, text = load_part(UNet2DConditionModel, folder / name / "unet"), load_part(CLIPTextModel, folder / name / "text_encoder", "model")
        print(name, "text", far(text(g["text.ids"].long()), g["text.last"]))
        for i in range(3):
            print(name, "unet", far(unet(g[f"unet{i}.sample"], g[f"unet{i}.timestep"], g[f"unet{i}.context"]), g[f"unet{i}.out"]))
    g, vae = read_safetensors(folder / "tiny-sdxl" / "golden.safetensors"), load_part(AutoencoderTiny, folder / "tiny-sdxl" / "taesd")
    print("taesd", far(vae.encode(g["taesd.image"]), g["taesd.mean"]), far(vae.decode(g["taesd.latent"]), g["taesd.decoded"]))


@torch.no_grad()
def against_transformers(folder: Path) -> None:
    """The tokenizer and the text encoder of the folder, loaded by transformers, against ours."""
    from transformers import CLIPTextModel as Public, CLIPTokenizer
    theirs, ours = CLIPTokenizer.from_pretrained(folder / "tokenizer"), Tokenizer.read(folder / "tokenizer")
    texts = PROMPTS + ["It's 3.14159, don't", "  many   spaces\tand\nlines ", "naïve café — “quotes” … ½", "ЁЖИК 中文 日本語 が", "a" * 200]
    rows = theirs(texts, padding="max_length", max_length=77, truncation=True).input_ids
    same = sum(a == ours.row(ours.encode(t)) for a, t in zip(rows, texts))
    ids = torch.tensor(rows)
    a, b = Public.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()(ids).last_hidden_state, load_part(CLIPTextModel, folder / "text_encoder", "model")(ids)
    print(f"transformers: {same} of {len(texts)} texts get the same tokens; text encoder differs by {float((a - b).norm() / a.norm()):.1e}")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", type=Path, default=Path(".mini-data"))
    p.add_argument("--model", type=Path, default=Path("models/mini"))
    p.add_argument("--report", type=Path, default=Path("build-mini-report"))
    p.add_argument("--golden", type=Path)
    p.add_argument("--transformers", action="store_true")
    args = p.parse_args()
    if args.golden:
        golden(args.golden)
    elif args.transformers:
        against_transformers(args.model)
    else:
        from compose import Material
        run(args.model, Material(args.data, "cuda" if torch.cuda.is_available() else "cpu"), args.report)


if __name__ == "__main__":
    main()
