"""Teaches mini's text encoder other languages: what it makes of a name in any of twelve languages becomes, to the U-Net, what
it makes of the English name.

    python tools/mini/languages.py pairs --data .mini-data                      # CPU, needs unicode-cldr-core
    python tools/mini/languages.py train --data .mini-data --model models/mini --out OUT --seconds 170   # one GPU

A pair is a text and the English text that says the same. The U-Net sees a text only through its cross-attentions, so the
loss is the difference of their outputs between the pair, for queries that the U-Net really asked while drawing; where
tokens stand does not matter then. The shipped encoder is the teacher and the start; U-Net and autoencoder stay as they are.
"""
from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from pathlib import Path

import numpy as np

import words
from bpe import Tokenizer

LENGTH = 32
PAIRS = 600_000
OWN = [language for language in words.LANGUAGES if language != "en"]
ARTICLES = dict(de=["ein", "eine", "der", "die", "das"], fr=["un", "une", "le", "la"], es=["un", "una", "el", "la"], it=["un", "una", "il", "la"],
                pt=["um", "uma", "o", "a"], tr=["bir"], zh=["一只", "一个", "一朵"], ru=["один", "одна"], pl=["jeden"], uk=["один"], ja=[""])
COLOURS = {  # in OWN's languages: what stands before (or, after a dash, behind) a name
    "red": dict(ru="красный красная красное", de="roter rote rotes", fr="-rouge", es="-rojo -roja", it="-rosso -rossa", pt="-vermelho -vermelha",
                pl="czerwony czerwona czerwone", uk="червоний червона червоне", tr="kırmızı", ja="赤い", zh="红色的 红"),
    "green": dict(ru="зелёный зелёная зелёное зеленый", de="grüner grüne grünes", fr="-vert -verte", es="-verde", it="-verde", pt="-verde",
                  pl="zielony zielona zielone", uk="зелений зелена зелене", tr="yeşil", ja="緑の", zh="绿色的 绿"),
    "blue": dict(ru="синий синяя синее голубой", de="blauer blaue blaues", fr="-bleu -bleue", es="-azul", it="-blu", pt="-azul",
                 pl="niebieski niebieska niebieskie", uk="синій синя синє", tr="mavi", ja="青い", zh="蓝色的 蓝"),
    "yellow": dict(ru="жёлтый жёлтая жёлтое желтый", de="gelber gelbe gelbes", fr="-jaune", es="-amarillo -amarilla", it="-giallo -gialla",
                   pt="-amarelo -amarela", pl="żółty żółta żółte", uk="жовтий жовта жовте", tr="sarı", ja="黄色い", zh="黄色的 黄"),
    "purple": dict(ru="фиолетовый фиолетовая", de="lila", fr="-violet -violette", es="-morado -morada", it="-viola", pt="-roxo -roxa",
                   pl="fioletowy fioletowa", uk="фіолетовий фіолетова", tr="mor", ja="紫の", zh="紫色的"),
    "pink": dict(ru="розовый розовая", de="rosa", fr="-rose", es="-rosa", it="-rosa", pt="-rosa", pl="różowy różowa", uk="рожевий рожева",
                 tr="pembe", ja="ピンクの", zh="粉色的")}


# ---------------------------------------------------------------------------------------------- pairs
def owners(tables: dict, glyphs: list[str], language: str) -> dict[str, int]:
    """Keyword to the glyph that it is most likely meant for: one that is called so, else the one with the plainest name."""
    best: dict[str, tuple] = {}
    for i, emoji in enumerate(glyphs):
        name, keys = tables[language].get(emoji, ("", []))
        english = tables["en"][emoji][0]
        for place, key in enumerate([name, *keys]):
            if not key:
                continue
            called = key.lower() in (name.lower().split() if " " in name or language not in ("ja", "zh") else name)
            rank = (name.lower() != key.lower(), "tone" in english, len(english), not called, place)
            if key.lower() not in best or rank < best[key.lower()][0]:
                best[key.lower()] = (rank, i)
    return {key: i for key, (_, i) in best.items()}


def joined(language: str, colour: str, name: str) -> str:
    space = "" if language in ("ja", "zh") else " "
    return name + space + colour[1:] if colour.startswith("-") else colour + space + name


def make_pairs(data: Path, model: Path, seed: int) -> None:
    from prepare import annotations
    rng = random.Random(seed)
    info = json.loads((data / "glyphs.json").read_text())
    glyphs, names, toned = info["emoji"], info["names"], info["toned"]
    tables = {language: annotations(language) for language in words.LANGUAGES}
    keyword = {language: owners(tables, glyphs, language) for language in words.LANGUAGES}
    keywords = {language: list(keyword[language]) for language in words.LANGUAGES}
    banks = words.phrases()
    plain = [i for i, t in enumerate(toned) if not t]
    tokenizer = Tokenizer.read(model / "tokenizer")

    def one() -> tuple[str, str]:
        roll = rng.random()
        language = "en" if roll < 0.3 else "ru" if roll < 0.42 else rng.choice(OWN)
        if rng.random() < 0.33:
            said = rng.choice(keywords[language])
            glyph = keyword[language][said]
        else:
            glyph = rng.choice(plain) if rng.random() < 0.8 else rng.randrange(len(glyphs))
            if glyphs[glyph] not in tables[language]:
                language = "en"
            said = tables[language][glyphs[glyph]][0]
            if rng.random() < 0.3:
                said = said.replace(":", " ").replace("“", "").replace("”", "")
        english = names[glyph]
        roll = rng.random()
        if language == "en" and roll < 0.45:
            return english, english
        if roll < 0.62:
            return said, english
        if roll < 0.78:
            return rng.choice(words.TEMPLATES[language]).format(said), english
        if roll < 0.86 and language != "en":
            space = "" if language in ("ja", "zh") else " "
            return rng.choice(ARTICLES[language]) + space + said, english
        if roll < 0.92:
            colour = rng.choice(list(COLOURS))
            if language == "en":
                return f"{colour} {english}", f"{colour} {english}"
            return joined(language, rng.choice(COLOURS[colour][language].split()), said), f"{colour} {english}"
        fitting = [b for b in banks if language in banks[b] and not b.startswith(("tint", "place"))]
        if not fitting:
            return said, english
        bank = rng.choice(fitting)
        index = rng.randrange(len(banks[bank][language]))
        behind = banks[bank][language][index]
        same = banks[bank]["en"][index if language == "en" else 0]
        if bank == "subjects" or (bank.startswith("style") and rng.random() < 0.5):
            return behind, same
        return f"{said} {behind}", f"{english} {same}"

    rows = np.full((PAIRS, 2, LENGTH), -1, np.int16)
    for row in rows:
        for ids, text in zip(row, one()):
            found = tokenizer.encode(text)[:LENGTH]
            ids[:len(found)] = found
    np.savez_compressed(data / "pairs.npz", rows=rows)
    tests = {}
    for language in words.LANGUAGES:
        chosen = random.Random(5).sample([i for i in plain if glyphs[i] in tables[language]], 100)
        tests[language] = dict(glyphs=chosen, names=[tables[language][glyphs[i]][0] for i in chosen])
    (data / "tests.json").write_text(json.dumps(tests, ensure_ascii=False))
    for row in rows[:24]:
        print(" | ".join("".join(tokenizer.vocab[i] for i in ids if i >= 0).replace("</w>", " ") for ids in row))
    print(f"{PAIRS} pairs, {len(keywords['ru'])} Russian keywords")


# ---------------------------------------------------------------------------------------------- training
def train(args: argparse.Namespace) -> None:
    import torch
    import torch.nn.functional as F

    from measure import Mini
    from model import Attention, CLIPTextModel, load_part, write_safetensors

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    mini = Mini(args.model, device)
    info = json.loads((args.data / "glyphs.json").read_text())
    layers = [m.attn2 for m in mini.unet.modules() if hasattr(m, "attn2")]

    # queries that the U-Net asks while it draws
    asked: dict[int, list] = {i: [] for i in range(len(layers))}
    hooks = [layer.to_q.register_forward_hook(lambda _, __, out, i=i: asked[i].append(out.detach())) for i, layer in enumerate(layers)]
    rng = np.random.default_rng(args.seed)
    for steps in (4, 2, 1):
        mini.draw([info["names"][i] for i in rng.choice(len(info["names"]), 48 if device == "cuda" else 4, replace=False)], steps, steps)
    for hook in hooks:
        hook.remove()
    pools = []
    for i in asked:
        flat = torch.cat([q.flatten(0, 1) for q in asked[i]])
        pools.append(flat[torch.randperm(len(flat), device=device)[:args.pool]])

    teacher, student = mini.text, load_part(CLIPTextModel, args.model / "text_encoder", "model").to(device).train()
    for p in mini.unet.parameters():
        p.requires_grad_(False)
    rows = torch.from_numpy(np.load(args.data / "pairs.npz")["rows"]).to(device)
    start, end = mini.tokenizer.start, mini.tokenizer.end

    def full(ids: torch.Tensor) -> torch.Tensor:
        out = torch.full((len(ids), 77), end, device=device, dtype=torch.long)
        out[:, 0] = start
        out[:, 1:1 + LENGTH] = torch.where(ids >= 0, ids.long(), end)
        return out

    def seen(context: torch.Tensor, queries: list[torch.Tensor]) -> list[torch.Tensor]:
        """What each cross-attention adds to its pixels, for the queries given: [batch, queries, channels] a layer."""
        out = []
        for layer, q in zip(layers, queries):
            n, heads = len(context), layer.heads
            k, v = (f(context).view(n, 77, heads, -1).transpose(1, 2) for f in (layer.to_k, layer.to_v))
            asked = q.view(1, len(q), heads, -1).transpose(1, 2).expand(n, -1, -1, -1).to(k.dtype)
            mixed = F.scaled_dot_product_attention(asked, k, v).transpose(1, 2).reshape(n, len(q), -1)
            out.append(layer.to_out[0](mixed))
        return out

    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        sample = seen(teacher(full(rows[:512, 1])), [p[:32] for p in pools])
        scales = [float((s.float() - s.float().mean(0)).square().mean()) for s in sample]
    print("deviation of what layers add", [round(s ** 0.5, 4) for s in scales], flush=True)

    def loss_of(own: torch.Tensor, other: torch.Tensor, queries: list[torch.Tensor]) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            with torch.no_grad():
                want = seen(teacher(other), queries)
            got = seen(student(own), queries)
        return sum((g.float() - w.float()).square().mean() / s for g, w, s in zip(got, want, scales)) / len(scales)

    compiled = torch.compile(loss_of, dynamic=False) if device == "cuda" else loss_of
    parameters = list(student.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01, **(dict(fused=True) if device == "cuda" else {}))
    mean = [p.detach().clone() for p in parameters]
    began, step, losses = None, 0, []
    while True:
        pick = torch.randint(len(rows), (args.batch,), device=device)
        queries = [p[torch.randint(len(p), (args.queries,), device=device)] for p in pools]
        loss = compiled(full(rows[pick, 0]), full(rows[pick, 1]), queries)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if began is None and step >= 2:
            if device == "cuda":
                torch.cuda.synchronize()
            began = time.time()
        part = 0.0 if began is None else min(1.0, (time.time() - began) / args.seconds)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * part)))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        decay = min(0.998, (1 + step) / (10 + step))
        torch._foreach_mul_(mean, decay)
        torch._foreach_add_(mean, [p.detach() for p in parameters], alpha=1 - decay)
        losses.append(loss.detach())
        step += 1
        if step % 200 == 0:
            print(f"step {step} {part:4.0%} loss {torch.stack(losses[-200:]).mean():.4f}", flush=True)
        if part >= 1:
            break
    print(f"{step} steps of {args.batch} pairs in {time.time() - began:.0f} s", flush=True)
    with torch.no_grad():
        for p, m in zip(parameters, mean):
            p.copy_(m.half().float())
    shutil.copytree(args.model, args.out, dirs_exist_ok=True)
    write_safetensors(args.out / "text_encoder" / "model.safetensors", {n: p.half().contiguous() for n, p in student.named_parameters()})


# ---------------------------------------------------------------------------------------------- figures
def measure_languages(args: argparse.Namespace) -> None:
    import torch

    import measure
    from compose import Material

    device = "cuda" if torch.cuda.is_available() else "cpu"
    material, mini = Material(args.data, device), measure.Mini(args.out, device)
    table, out = measure.references(material, "square"), {}
    for steps in (1, 2, 4):
        out[f"en, 300 names, {steps} steps"] = measure.retrieval(mini, material, steps, table=table)
    for language, test in json.loads((args.data / "tests.json").read_text()).items():
        names = dict(zip(test["glyphs"], test["names"]))
        called = [names.get(i, name) for i, name in enumerate(material.names)]
        kept, material.names = material.names, called
        out[language] = measure.retrieval(mini, material, 4, table=table, chosen=np.array(test["glyphs"]))
        material.names = kept
    for name, (first, five) in out.items():
        print(f"{name}: first {first:.1%}, first five {five:.1%}", flush=True)
    args.report.mkdir(parents=True, exist_ok=True)
    (args.report / "languages.json").write_text(json.dumps(out, indent=1, ensure_ascii=False))
    for steps in (1, 4):
        measure.sheet(mini.draw(measure.PROMPTS, steps, 3), 8, args.report / f"prompts-{steps}.png")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("what", choices=("pairs", "train", "measure"))
    p.add_argument("--data", type=Path, default=Path(".mini-data"))
    p.add_argument("--model", type=Path, default=Path("models/mini"))
    p.add_argument("--out", type=Path, default=Path("build-mini"))
    p.add_argument("--report", type=Path, default=Path("build-mini-report"))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=float, default=170)
    p.add_argument("--batch", type=int, default=2048)
    p.add_argument("--queries", type=int, default=64, help="of the pool, a step")
    p.add_argument("--pool", type=int, default=4096, help="queries kept of each cross-attention")
    p.add_argument("--rate", type=float, default=1e-3)
    args = p.parse_args()
    if args.what == "pairs":
        make_pairs(args.data, args.model, args.seed)
    elif args.what == "train":
        train(args)
        measure_languages(args)
    else:
        measure_languages(args)


if __name__ == "__main__":
    main()
