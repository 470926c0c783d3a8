"""Every command and option, as docs/interface.md promises them, on the tiny reference model."""
import json
import os
import re
import shutil
import subprocess
import time

from common import (BINARY, FAST, MODEL, REFERENCE, SANITIZED, Skip, copy_model, difference, draw, environment, json_lines, make_picture,
                    read_png, reverie, run_tests, tree, write_png)
from terminal import run_in_terminal

COMMANDS = ["txt2img", "img2img", "video", "models", "tokenize", "bench"]
PICTURE_OPTIONS = """model models device precision threads prompt negative prompt-syntax seed steps cfg width height count batch
    clip-skip sampler schedule noise vae tokenizer prediction json show output preview""".split()


def help_of(command):
    return reverie(command, "--help").stdout.decode()


def test_help_teaches(folder):
    top = reverie("--help").stdout.decode()
    assert reverie("-h").stdout.decode() == top
    assert all(command in top for command in COMMANDS) and "Exit codes" in top
    assert reverie("--version").stdout.startswith(b"reverie 0.")
    for command in COMMANDS:
        text = help_of(command)
        assert reverie(command, "-h").stdout.decode() == text
        examples = text[text.index("Example"):]
        used = re.findall(r" (--[a-z0-9-]+)", examples)
        assert f"reverie {command}" in examples, command
        assert "--help-" not in text, "options that are listed but refused"
        assert not [option for option in used if option not in text[:text.index("Example")]], (command, used)
    for option in PICTURE_OPTIONS:
        assert f"--{option}" in help_of("txt2img") and f"--{option}" in help_of("img2img"), option
    assert all(f"--{option}" in help_of("img2img") for option in ("input", "strength", "mask"))


def test_text_to_picture(folder):
    out = folder / "fox.png"
    line, = json_lines(reverie("txt2img", *FAST, "-o", out, "--json"))
    assert set(line) == {"path", "seed", "width", "height", "seconds", "steps_per_second", "infotext"}, line
    width, height, pixels, texts = read_png(out)
    assert (line["path"], line["seed"], line["width"], line["height"]) == (str(out), 7, 64, 64) == (str(out), 7, width, height)
    assert line["infotext"] == texts["parameters"] and line["seconds"] > 0 and line["steps_per_second"] > 0
    assert len(set(pixels)) > 50, "a picture, not a colour"
    assert tree(folder) == {"fox.png"}
    assert reverie("txt2img", *FAST, "-o", "-").stdout == out.read_bytes(), "-o - writes the same PNG"
    assert reverie("txt2img", *FAST, "-o", folder / "one.png", "--threads", 3).stdout == b"", "no --json, nothing said"
    assert (folder / "one.png").read_bytes() == out.read_bytes(), "threads change nothing"


def test_other_formats(folder):
    reverie("txt2img", *FAST, "-o", folder / "a.jpg")
    reverie("txt2img", *FAST, "-o", folder / "a.WEBP")
    assert (folder / "a.jpg").read_bytes()[:3] == b"\xff\xd8\xff" and (folder / "a.WEBP").read_bytes()[8:12] == b"WEBP"
    assert b"Steps" in (folder / "a.jpg").read_bytes().replace(b"\0", b""), "EXIF carries the parameters"


def test_random_seed_is_told(folder):
    runs = [json_lines(reverie("txt2img", *FAST, "--seed", "-1", "-o", folder / f"{i}.png", "--json"))[0] for i in (0, 1)]
    assert runs[0]["seed"] != runs[1]["seed"]
    again = draw(folder / "again.png", "--seed", runs[0]["seed"])
    assert again == read_png(folder / "0.png")


def numbers_only():
    """For tests that draw again and again to compare numbers: what sanitizers look for is met by the others."""
    if SANITIZED:
        raise Skip("compares numbers")


def check_batches(folder, *arguments):
    single = [folder / f"single-{k}.png" for k in range(3)]
    for k, out in enumerate(single):
        draw(out, *arguments, "--seed", 20 + k)
    for batch in (1, 2, 3):
        out = folder / f"b{batch}.png"
        lines = json_lines(reverie("txt2img", *FAST, *arguments, "--seed", 20, "--count", 3, "--batch", batch, "-o", out, "--json"))
        assert [line["seed"] for line in lines] == [20, 21, 22] and not out.exists()
        for k in range(3):
            path = folder / f"b{batch}-{k + 1}.png"
            assert lines[k]["path"] == str(path)
            assert path.read_bytes() == single[k].read_bytes(), f"{arguments} batch {batch}: picture {k + 1} is another"


def test_batches_change_nothing(folder):
    check_batches(folder, "--sampler", "euler")
    check_batches(folder, "--sampler", "euler", "--steps", 1, "--width", 96, "--height", 136)


def test_batches_of_noisy_samplers_change_nothing(folder):
    numbers_only()
    check_batches(folder, "--sampler", "euler_a", "--noise", "nv", "-n", "blurry", "--steps", 3)
    check_batches(folder, "--sampler", "dpmpp_sde", "--cfg", 1, "--steps", 3)


def test_sizes_are_rounded_and_said(folder):
    result = reverie("txt2img", *FAST, "--width", 79, "--height", 71, "-o", folder / "a.png")
    assert "79x71" in result.error and "72x64" in result.error, result.error
    assert read_png(folder / "a.png")[:2] == (72, 64)
    for width, height in ((8, 8), (24, 40), (104, 8), (136, 72)):
        assert draw(folder / "b.png", "--width", width, "--height", height)[:2] == (width, height)


def test_names_of_samplers(folder):
    numbers_only()
    for theirs, ours in (("Euler a", ["euler_a"]), ("DPM++ 2M Karras", ["dpmpp_2m", "--schedule", "karras"]),
                         ("DPM++ 2M SDE Karras", ["dpmpp_2m_sde", "--schedule", "karras"]), ("DPM++ 3M SDE", ["dpmpp_3m_sde"]),
                         ("DDIM", ["ddim"]), ("UniPC", ["unipc"]), ("Heun", ["heun"]), ("LCM", ["lcm"]), ("euler", ["Euler"])):
        a = draw(folder / "a.png", "--steps", 3, "--sampler", theirs)
        b = draw(folder / "b.png", "--steps", 3, "--sampler", *ours)
        assert a == b, theirs
    assert "Sampler: DPM++ 2M, Schedule type: Karras" in draw(folder / "a.png", "--sampler", "dpmpp_2m", "--schedule", "karras")[3]["parameters"]


def test_every_sampler_and_schedule(folder):
    pictures = {}
    for name in "euler euler_a heun dpm2 dpm2_a lms dpmpp_2m dpmpp_sde dpmpp_2m_sde dpmpp_3m_sde dpmpp_2s_a ddim unipc lcm".split():
        pictures[name] = draw(folder / "a.png", "--steps", 4, "--sampler", name)[2]
    assert len(set(pictures.values())) >= len(pictures) - 1, "samplers differ"
    for name in "automatic leading trailing linspace karras exponential sgm_uniform simple normal".split():
        draw(folder / "a.png", "--steps", 4, "--schedule", name)


def test_schedule_noise_cfg_and_eta_matter(folder):
    numbers_only()
    plain = draw(folder / "a.png", "--steps", 4)[2]
    for change in (["--schedule", "karras"], ["--noise", "nv"], ["--cfg", 2], ["--seed", 8], ["--steps", 3], ["-p", "a cat"],
                   ["-n", "a cat"], ["--prediction", "v_prediction"], ["--clip-skip", 2]):
        assert draw(folder / "b.png", "--steps", 4, *change)[2] != plain, change
    assert draw(folder / "b.png", "--steps", 4, "--clip-skip", 1, "--prediction", "auto", "--noise", "cpu", "--cfg", 7)[2] == plain
    assert draw(folder / "b.png", "--sampler", "euler_a", "--eta", 0)[2] != draw(folder / "b.png", "--sampler", "euler_a")[2]


def test_negative_needs_guidance(folder):
    without = draw(folder / "a.png", "--cfg", 1)
    result = reverie("txt2img", *FAST, "--cfg", 1, "-n", "blurry", "-o", folder / "b.png")
    assert "--negative" in result.error and "--cfg" in result.error, result.error
    same = read_png(folder / "b.png")
    assert same[2] == without[2] and "Negative prompt: blurry" in same[3]["parameters"]
    assert not reverie("txt2img", *FAST, "--cfg", 2, "-n", "blurry", "-o", folder / "b.png").error


def test_prompt_syntax(folder):
    def of(prompt, *syntax, steps=2):
        return draw(folder / "a.png", "-p", prompt, *(["--prompt-syntax", *syntax] if syntax else []), "--cfg", 3, "--steps", steps)[2]
    fox = of("a red fox")
    assert of("a (red:1.5) fox") == of("a (red:1.5) fox", "explicit") != fox
    assert of("a (red:1.5) fox", "a1111") == of("a (red:1.5) fox")
    assert of("a (red:1.5) fox", "plain") not in (fox, of("a (red:1.5) fox"))
    assert of("a ((red)) fox") == of("a ((red)) fox", "plain"), "explicit: brackets without numbers are text"
    assert difference(of("a ((red)) fox", "a1111"), of("a (red:1.21) fox"))[1] <= 1
    assert of("a ((red)) fox", "a1111") not in (fox, of("a ((red)) fox"))
    assert of("a [red] fox", "a1111") not in (fox, of("a [red] fox"))
    assert of(r"a \(red\) fox", "a1111") == of("a (red) fox", "plain")
    assert of("a [cat:fox:0.5]", "a1111", steps=6) not in (of("a cat", steps=6), of("a fox", steps=6))
    assert of("a [cat|fox]", "a1111", steps=6) not in (of("a cat", steps=6), of("a fox", steps=6))
    assert of("a [fox:fox:0.5]", "a1111") == of("a fox")
    assert of("a cat AND a fox", "a1111") != of("a cat AND a fox")
    assert of("a red BREAK fox") != of("a red BREAK fox", "plain")
    blend = of('("a fox", "a cat").blend(0.3, 0.7)')
    assert blend not in (of("a fox"), of("a cat")) and of('("a fox", "a cat").blend(1, 0)') == of("a fox")
    assert of(", ".join(["a red fox"] * 60)) != fox, "more than 75 tokens"
    assert of("") != fox


def test_prompt_in_any_locale(folder):
    wanted = draw(folder / "a.png", "-p", "красная лиса", env={"LC_ALL": "C.UTF-8"})
    for locale in ({"LC_ALL": "C"}, {"LC_ALL": "", "LANG": ""}, {"LC_ALL": "no_SUCH.locale"}):
        assert draw(folder / "b.png", "-p", "красная лиса", env=locale) == wanted, locale
    assert wanted[3]["parameters"].startswith("красная лиса\n")


def fields_of(text):
    return dict(re.findall(r"([A-Z][A-Za-z ]*): ([^,]+)", text.splitlines()[-1]))


def test_parameters_text(folder):
    text = draw(folder / "a.png", "-n", "blurry, bad", "--cfg", 7.5, "--sampler", "euler_a", "--clip-skip", 2, "--noise", "nv")[3]["parameters"]
    prompt, negative, _ = text.splitlines()
    assert prompt == "a red fox" and negative == "Negative prompt: blurry, bad"
    fields = fields_of(text)
    for key, value in {"Steps": "2", "Sampler": "Euler a", "CFG scale": "7.5", "Seed": "7", "Size": "64x64",
                       "Model": "tiny-sd15", "Clip skip": "2", "RNG": "NV"}.items():
        assert fields[key] == value, (key, text)
    assert fields["Version"].startswith("reverie-") and "Denoising strength" not in fields
    source = make_picture(folder / "in.png")
    redrawn = draw(folder / "a.png", "-i", source, "--strength", 0.6, "--steps", 5, task="img2img")[3]["parameters"]
    assert fields_of(redrawn)["Denoising strength"] == "0.6" and "Negative prompt" not in redrawn


def test_picture_to_picture(folder):
    source = make_picture(folder / "in.png", 72, 48)
    small = ["--threads", 1, "--model", MODEL, "-p", "a fox", "--seed", 3, "--steps", 5, "-i", source]
    width, height, weak, _ = draw(folder / "a.png", "--strength", 0.2, task="img2img", base=small)
    assert (width, height) == (72, 48), "the picture's own size"
    strong = draw(folder / "b.png", "--strength", 1, task="img2img", base=small)[2]
    assert weak != strong
    assert draw(folder / "c.png", "--strength", 0.6, "--width", 32, "--height", 64, task="img2img", base=small)[:2] == (32, 64)
    odd = make_picture(folder / "odd.png", 75, 51)
    result = reverie("img2img", *small, "-i", odd, "-o", folder / "d.png")
    assert "75x51" in result.error and read_png(folder / "d.png")[:2] == (72, 48)
    pair = [*small, "--strength", 0.6, "--sampler", "euler_a", "--count", 2, "--batch", 2]
    reverie("img2img", *pair, "-o", folder / "p.png")
    assert draw(folder / "e.png", "--strength", 0.6, "--sampler", "euler_a", "--seed", 4, task="img2img", base=small) == read_png(folder / "p-2.png")


def make_mask(path, width=64, height=64):
    """White in the right half."""
    write_png(path, width, height, bytes(255 if x >= width // 2 else 0 for y in range(height) for x in range(width)), channels=1)
    return path


def halves(pixels, width, height, left):
    """Columns left of `left` and right of width - left."""
    rows = [pixels[y * width * 3:(y + 1) * width * 3] for y in range(height)]
    return b"".join(r[:left * 3] for r in rows), b"".join(r[(width - left) * 3:] for r in rows)


def check_inpainting(folder, model):
    source, mask = make_picture(folder / "in.png"), make_mask(folder / "mask.png")
    base = ["--threads", 1, "--model", model, "-p", "a fox", "--seed", 3, "--steps", 4, "-i", source, "--strength", 1]
    known, changed = halves(read_png(source)[2], 64, 64, 20)
    pixels = draw(folder / "a.png", "--mask", mask, task="img2img", base=base)[2]
    left, right = halves(pixels, 64, 64, 20)
    assert left == known, "outside of the mask the picture stays"
    assert difference(right, changed)[0] > 10, "inside it is redrawn"
    assert draw(folder / "b.png", "--mask", make_mask(folder / "big.png", 128, 96), task="img2img", base=base)[2] is not None
    sharp = halves(draw(folder / "c.png", "--mask", mask, "--mask-blur", 0, task="img2img", base=base)[2], 64, 64, 32)
    assert sharp[0] == halves(read_png(source)[2], 64, 64, 32)[0], "without blur, to the pixel"
    return pixels


def test_inpainting_with_an_ordinary_model(folder):
    check_inpainting(folder, MODEL)


def test_inpainting_as_diffusers(folder):
    """At full strength it begins with noise alone, and a latent goes by the first of its 8x8 pixels."""
    source, mask = make_picture(folder / "in.png"), folder / "mask.png"
    write_png(mask, 64, 64, bytes(255 if x % 8 == 0 and y % 8 == 0 else 0 for y in range(64) for x in range(64)), channels=1)
    base = ["--threads", 1, "--model", MODEL, "-p", "a fox", "--seed", 3, "--steps", 4, "--noise", "cpu"]
    free = draw(folder / "free.png", "--width", 64, "--height", 64, base=base)[2]
    base += ["-i", source, "--strength", 1, "--mask", mask, "--mask-blur", 0]
    inside = draw(folder / "masked.png", task="img2img", base=base)[2]
    before = read_png(source)[2]
    for y in range(64):
        for x in range(64):
            at = slice(3 * (64 * y + x), 3 * (64 * y + x) + 3)
            assert inside[at] == (free if x % 8 == 0 and y % 8 == 0 else before)[at], (x, y)


def inpainting_model(folder):
    model = copy_model(MODEL, folder / "inpainting")
    shutil.rmtree(model / "unet")
    (model / "unet_inpaint").rename(model / "unet")
    return model


def test_inpainting_with_an_inpainting_model(folder):
    model = inpainting_model(folder)
    assert json.loads(reverie("models", "info", model, "--json").stdout)["variant"].startswith("inpaint")
    masked = check_inpainting(folder, model)
    base = ["--threads", 1, "--model", model, "-p", "a fox", "--seed", 3, "--steps", 4]
    other = write_png(folder / "other.png", 64, 64, bytes([200, 30, 90]) * 4096) or folder / "other.png"
    assert halves(draw(folder / "d.png", "-i", other, "--mask", folder / "mask.png", "--strength", 1, task="img2img", base=base)[2],
                  64, 64, 20)[1] != halves(masked, 64, 64, 20)[1], "what lies outside is seen inside"
    draw(folder / "e.png", "--width", 64, "--height", 64, base=base)


def test_other_autoencoders(folder):
    sdxl = REFERENCE / "tiny-sdxl"
    base = ["--threads", 1, "--model", sdxl, "-p", "a fox", "--seed", 3, "--steps", 2, "--width", 64, "--height", 64]
    own = draw(folder / "a.png", base=base)
    assert draw(folder / "b.png", "--vae", "model", base=base) == own
    tiny = draw(folder / "c.png", "--vae", "taesd", base=base)
    assert tiny[2] != own[2]
    assert draw(folder / "d.png", "--vae", sdxl / "taesd", base=base) == tiny
    assert draw(folder / "e.png", "--vae", sdxl / "taesd" / "diffusion_pytorch_model.safetensors", base=base)[2] == tiny[2]


def test_models_by_name(folder):
    wanted = draw(folder / "a.png")
    base = [option if option != MODEL else "tiny-sd15" for option in FAST]
    assert draw(folder / "b.png", "--models", REFERENCE, base=base) == wanted
    assert draw(folder / "b.png", base=base, env={"REVERIE_MODELS": str(REFERENCE)}) == wanted
    assert draw(folder / "b.png", base=[option if option != MODEL else "./tiny-sd15" for option in FAST], cwd=REFERENCE) == wanted


def test_tokenize(folder):
    for case in json.loads((REFERENCE / "clip-tokens.json").read_text()):
        result = reverie("tokenize", "-p", case["text"], "--json")
        assert json.loads(result.stdout) == {"ids": case["ids"]}, case["text"]
    text = reverie("tokenize", "-p", "a red fox").stdout.decode()
    assert "736" in text and "red" in text and "fox" in text
    own = json.loads(reverie("tokenize", "--model", MODEL, "-p", "a red fox", "--json").stdout)["ids"]
    assert own == json.loads(reverie("tokenize", "--tokenizer", MODEL / "tokenizer", "-p", "a red fox", "--json").stdout)["ids"]
    assert own != json.loads(reverie("tokenize", "-p", "a red fox", "--json").stdout)["ids"], "the model's own vocabulary"
    refiner = copy_model(REFERENCE / "tiny-sdxl", folder / "refiner")
    shutil.rmtree(refiner / "tokenizer")
    second = ["tokenize", "-p", "a red fox", "--json"]
    assert reverie(*second, "--model", refiner).stdout == reverie(*second, "--tokenizer", refiner / "tokenizer_2").stdout


def test_models_list(folder):
    copy_model(MODEL, folder / "b-model")
    copy_model(REFERENCE / "tiny-sdxl", folder / "a-model")
    (folder / "broken.safetensors").write_bytes(b"nonsense")
    (folder / "notes.txt").write_text("no model")
    lines = reverie("models", "list", "--models", folder).stdout.decode().splitlines()
    mine = [line for line in lines if str(folder) in line]
    assert [line.split()[:2] for line in mine if "broken" not in line] == [["a-model", "sdxl"], ["b-model", "sd15"]], lines
    assert any(line.startswith("broken.safetensors") for line in lines) and "notes.txt" not in "".join(lines)
    listed = {one["name"]: one for one in json_lines(reverie("models", "list", "--models", folder, "--json"))}
    assert listed["a-model"]["family"] == "sdxl" and listed["b-model"]["path"] == str(folder / "b-model"), listed
    assert "family" not in listed["broken.safetensors"] and listed["broken.safetensors"]["error"], listed


def test_models_info(folder):
    for name, family, prediction in (("tiny-sd15", "sd15", "epsilon"), ("tiny-sd21", "sd21", "v_prediction"), ("tiny-sdxl", "sdxl", "epsilon")):
        info = json.loads(reverie("models", "info", REFERENCE / name, "--json").stdout)
        assert set(info) >= {"family", "variant", "prediction", "layout", "parameters", "bytes", "components", "missing", "unused"}, info
        assert (info["family"], info["prediction"]) == (family, prediction), info
        assert info["missing"] == [] and info["unused"] == [] and info["parameters"] > 100000 and info["bytes"] > 100000
        text = reverie("models", "info", REFERENCE / name).stdout.decode()
        assert family in text and prediction in text
        single = json.loads(reverie("models", "info", REFERENCE / (name + ".safetensors"), "--json").stdout)
        assert (single["family"], single["missing"], single["unused"]) == (family, [], []) and single["layout"] != info["layout"]
    plain, settings = folder / "plain.safetensors", folder / "plain.yaml"
    shutil.copy(REFERENCE / "tiny-sd21.safetensors", plain)
    for text, prediction in (("", "epsilon"), ('params:\n  parameterization: "v"\n', "v_prediction"), ("parameterization: eps\n", "epsilon"),
                             ("target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling\n", "v_prediction")):
        settings.write_text(text)
        assert json.loads(reverie("models", "info", plain, "--json").stdout)["prediction"] == prediction, text
    assert "finite" in reverie("models", "verify", MODEL).stdout.decode()
    verified = json.loads(reverie("models", "verify", MODEL, "--json").stdout)
    assert verified["path"] == str(MODEL) and verified["tensors"] > 900 and verified["parameters"] > 3e6, verified


def test_models_convert(folder):
    base = [option for option in FAST if option not in ("--model", MODEL)] + ["--schedule", "leading"]
    wanted = draw(folder / "a.png", "--model", MODEL, base=base)[2]
    single, back = folder / "one.safetensors", folder / "back"
    reverie("models", "convert", MODEL, "-o", single, "--precision", "fp16")
    assert draw(folder / "b.png", "--model", single, "--tokenizer", MODEL / "tokenizer", base=base)[2] == wanted
    reverie("models", "convert", single, "-o", back, "--precision", "fp32")
    assert draw(folder / "c.png", "--model", back, "--tokenizer", MODEL / "tokenizer", base=base)[2] == wanted
    shipped = folder / "shipped"
    reverie("models", "convert", REFERENCE / "tiny-sd15.safetensors", "-o", shipped)
    assert draw(folder / "d.png", "--model", shipped, "--tokenizer", MODEL / "tokenizer", base=base)[2] == wanted
    for path in (single, back, shipped):
        reverie("models", "verify", path)
    assert not [name for name in tree(folder) if "/." in name or name.startswith(".")], tree(folder)


def test_terminal_preview_and_bar(folder):
    arguments = ["txt2img", *FAST, "--steps", 6, "-o", folder / "a.png"]
    for env, mark in (({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, b"\x1b_G"), ({"TERM": "foot"}, b"\x1bP"),
                      ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "▀".encode())):
        code, text = run_in_terminal([BINARY, *arguments, "--show"], env)
        assert code == 0 and mark in text, (env, text[-300:])
    code, text = run_in_terminal([BINARY, *arguments], {"TERM": "xterm"})
    plain = text.decode()
    assert code == 0 and "6/6" in plain and ("it/s" in plain or "s/it" in plain) and "left" in plain, plain
    assert b"\x1b_G" not in text and plain.endswith("\x1b[K"), "the bar goes away"
    assert reverie(*arguments, "--show").error == "", "no terminal, no picture, no bar"


def test_preview_file(folder):
    preview = folder / "preview.png"
    draw(folder / "a.png", "--preview", preview, "--steps", 3)
    assert read_png(preview)[:2] == (8, 8), "an eighth of the size, from the latents"
    assert tree(folder) == {"a.png", "preview.png"}
    sdxl = ["--threads", 1, "--model", REFERENCE / "tiny-sdxl", "--vae", "taesd", "-p", "a fox", "--steps", 3, "--width", 64, "--height", 64]
    draw(folder / "a.png", "--preview", preview, base=sdxl)
    assert read_png(preview)[:2] == (64, 64), "in full with a tiny autoencoder"


def test_bench(folder):
    if SANITIZED:
        raise Skip("it measures time")
    keys = {"device", "precision", "frames", "ms", "per_stage_ms", "tflop", "ceiling", "fraction_of_ceiling", "peak_device_bytes", "samples_ms"}
    small = ["--model", MODEL, "--size", "64x64", "--threads", 1]
    for kind in (["steps", "--steps", 4], ["frame", "--frames", 3, "--profile"]):
        words = ["bench", *kind, *small, "--sampler", "euler", "--json", folder / "f.json", "--svg", folder / "f.svg"]
        said = subprocess.run([str(word) for word in (BINARY, *words)], capture_output=True, check=True, env=environment())
        figures = json.loads((folder / "f.json").read_text())
        assert set(figures) >= keys and figures["frames"] == len(figures["samples_ms"]) == 3, figures
        assert figures["ms"]["min"] <= figures["ms"]["median"] <= figures["ms"]["p99"] <= figures["ms"]["max"]
        assert (folder / "f.svg").read_text().startswith("<svg")
    assert figures["per_stage_ms"]["unet"] > 0 and figures["per_stage_ms"]["encode"] > 0
    assert b"conv2d" in said.stderr and b"slowest of 3" in said.stdout, said
    text = reverie("bench", "load", *small, "--json", folder / "l.json").stdout
    loaded = json.loads((folder / "l.json").read_text())
    assert loaded["size"] == "64x64" and 0 < loaded["ready_seconds"] < loaded["first_frame_seconds"] and loaded["bytes"] > 1e6, loaded
    reverie("bench", "load", "--random", "sd15", expect=2)
    assert b"ready after" in text and b"first frame after" in text and b"to the device" in text, text
    reverie("bench", "frame", "--frames", 2, "--steps", 12, "--strength", 1, *small, "--json", folder / "g.json")
    assert json.loads((folder / "g.json").read_text())["frames"] == 2, "more evaluations than a program holds"
    begun = time.monotonic()
    reverie("bench", "frame", "--frames", 8, "--rate", 4, *small, "--json", folder / "r.json")
    paced = json.loads((folder / "r.json").read_text())
    assert time.monotonic() - begun > 7 / 4 and paced["rate"] == 4 and paced["ms"]["min"] < 250, "pictures come a quarter of a second apart"
    reverie("bench", "frame", "--frames", 40, "--rate", 2000, *small, "--json", folder / "r.json")
    assert json.loads((folder / "r.json").read_text())["missed"] > 0, "no CPU draws 2000 a second"
    for wrong in (-1, "nan", 1e9):
        assert "--rate" in reverie("bench", "frame", "--rate", wrong, *small, expect=2).error
    text = reverie("bench", "sleep", *small, "--json", folder / "s.json").stdout
    assert all(r["is_same"] for r in json.loads((folder / "s.json").read_text())["rounds"])
    assert text.count(b"picture the same") == 4 and text.rstrip().endswith(b"PASS"), text
    text = reverie("bench", "precision", *small, "--frames", 2, "--precision", "fp32", "--json", folder / "p.json").stdout
    compared = json.loads((folder / "p.json").read_text())
    assert compared["psnr_db"]["min"] == 99 and b"fp32 against fp32: PSNR 99.0 dB" in text, (compared["psnr_db"], text)
    layers = {layer["name"]: layer for layer in compared["layers"]}
    assert layers["conv_in"]["usual_ms"] > 0 and layers["conv_in"]["ms"] > 0 and not any(layer["is_fp8"] for layer in layers.values())
    assert len(layers) == len(compared["layers"]) > 50 and layers["conv_in"]["error"] is None
    reverie("bench", "precision", *small, "--frames", 2, expect=4)
    several = ["bench", "frame", "--frames", 3, *small]
    text = reverie(*several, "--device", "cpu, cpu,cpu", "--json", folder / "h.json").stdout
    figures = json.loads((folder / "h.json").read_text())
    assert len(figures["devices"]) == 3 and all(d["alone_fps"] > 0 and d["together_fps"] > 0 for d in figures["devices"]), figures
    assert abs(figures["ratio"] - figures["together_fps"] / figures["one_fps"]) < 1e-9 and b"3 devices" in text, (figures, text)
    reverie("bench", "steps", "--steps", 1, "--model", "is-not-looked-for", expect=2)
    reverie(*several, "--device", "cpu,nope", expect=2)
    reverie(*several, "--device", "cpu,cpu", "--profile", expect=2)
    reverie(*several, "--device", "cpu,cpu", "--steps", 12, "--strength", 1, expect=3)


run_tests(globals())
