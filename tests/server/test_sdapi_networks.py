#!/usr/bin/env python3
"""LoRAs, ControlNets, embeddings, upscalers and models in the models' folders, through A1111's API; pictures against
diffusers' and the command line's."""
import base64
import json
import math
import random
import shutil
import struct

from sdapi import Studio, gradient, info, pixels, read_infotext, size
from serve import eventually, run_tests
from common import MINI, REFERENCE, reverie  # found by serve

SAMPLERS = {"ddim": "DDIM", "dpmpp_2m_karras": "DPM++ 2M Karras"}


def write_safetensors(path, tensors, metadata=None):
    """`tensors`: name -> (shape, numbers)."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (shape, numbers) in tensors.items():
        raw = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_upscaler(path, features=4, growth=4):
    """ESRGAN's network, the smallest there can be, with chance's weights."""
    lot, tensors = random.Random(3), {}

    def conv(name, inputs, outputs):
        scale = 0.5 / math.sqrt(9 * inputs)
        tensors[name + ".weight"] = ([outputs, inputs, 3, 3], [lot.gauss(0, scale) for _ in range(outputs * inputs * 9)])
        tensors[name + ".bias"] = ([outputs], [lot.gauss(0.3, 0.1) for _ in range(outputs)])
    conv("conv_first", 3, features)
    for block in (1, 2, 3):
        for i in range(5):
            conv(f"body.0.rdb{block}.conv{i + 1}", features + i * growth, growth if i < 4 else features)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        conv(name, features, features)
    conv("conv_last", features, 3)
    write_safetensors(path, tensors)


def make_models(folder):
    models = folder / "models"
    for name in ("Lora", "ControlNet", "ESRGAN", "embeddings"):
        (models / name).mkdir(parents=True)
    for name in ("tiny-sd15", "tiny-sdxl"):
        (models / name).symlink_to(REFERENCE / name)
    sd15 = REFERENCE / "tiny-sd15"
    shutil.copy(sd15 / "lora.safetensors", models / "Lora" / "style.safetensors")
    shutil.copy(sd15 / "controlnet" / "diffusion_pytorch_model.safetensors", models / "ControlNet" / "edges_canny.safetensors")
    shutil.copy(sd15 / "embedding.safetensors", models / "embeddings" / "fluff.safetensors")
    write_safetensors(models / "embeddings" / "other.safetensors", {"emb_params": ([2, 768], [0.1] * 1536)})
    (models / "embeddings" / "broken.safetensors").write_bytes(b"no embedding")
    write_safetensors(models / "Lora" / "told.safetensors", {"x": ([1], [0.0])}, {
        "ss_output_name": "Told", "ss_tag_frequency": '{"img":{"fox":3}}', "ss_note": "{not JSON", "ssmd_cover_images": "[1,2]"})
    write_upscaler(models / "ESRGAN" / "4x_Tiny.safetensors")
    return models


def differ(text, path_or_text):
    want = path_or_text if isinstance(path_or_text, bytes) else path_or_text.read_bytes()
    a, b = pixels(text), pixels(base64.b64encode(want).decode())
    assert a[:2] == b[:2]
    apart = [abs(x - y) for one, two in zip(a[2], b[2]) for x, y in zip(one, two)]
    return sum(apart) / len(apart), max(apart)


def close(text, wanted):
    mean, most = differ(text, wanted)
    assert mean <= 0.5 and most <= 4, (mean, most)


class Tiny(Studio):
    """With the reference models, as exact as it gets."""

    def __init__(self, folder, **more):
        super().__init__("--models", make_models(folder), "--device", "cpu", "--precision", "fp32", **more)

    def draw(self, model, **fields):
        options = {"sd_model_checkpoint": model, "randn_source": "CPU", **fields.pop("override_settings", {})}
        path = "/sdapi/v1/img2img" if "init_images" in fields else "/sdapi/v1/txt2img"
        return self.ok(path, {**FOX, **fields, "override_settings": options})


FOX = {"prompt": "a red fox", "negative_prompt": "blue", "steps": 4, "width": 64, "height": 64, "seed": 7, "sampler_name": "DDIM",
       "cfg_scale": 5.0}
CLI = ["--steps", 4, "--width", 64, "--height", 64, "--seed", 7, "--sampler", "ddim", "--schedule", "leading", "--cfg", 5, "-n", "blue",
       "--noise", "cpu", "--device", "cpu", "--precision", "fp32", "--threads", 1, "--model", REFERENCE / "tiny-sd15"]


def test_reference(folder):
    """Where A1111's rules and diffusers' are the same, the pictures are."""
    with Tiny(folder) as server:
        compared = 0
        for run in json.loads((REFERENCE / "tiny-sd15" / "runs.json").read_text()):
            if run["sampler"] not in SAMPLERS or run["task"] != "txt2img":
                continue
            answer = server.draw("tiny-sd15", **{k: run[k] for k in ("prompt", "steps", "cfg_scale", "width", "height", "seed")},
                                 negative_prompt=run.get("negative_prompt", ""), sampler_name=SAMPLERS[run["sampler"]])
            close(answer["images"][0], REFERENCE / "tiny-sd15" / run["picture"])
            compared += 1
        assert compared == 4


def test_lora(folder):
    with Tiny(folder) as server:
        listed = {entry["name"]: entry for entry in server.ok("/sdapi/v1/loras")}
        assert listed["style"]["alias"] == "style" and listed["style"]["path"].endswith("/Lora/style.safetensors")
        told = listed["told"]
        assert told["alias"] == "Told" and told["metadata"]["ss_tag_frequency"] == {"img": {"fox": 3}}
        assert told["metadata"]["ss_note"] == "{not JSON" and told["metadata"]["ssmd_cover_images"] is None
        plain = server.draw("tiny-sd15")["images"][0]
        reverie("txt2img", *CLI, "-p", "a red fox", "--lora", f"{REFERENCE / 'tiny-sd15' / 'lora.safetensors'}:0.8", "-o", folder / "lora.png")
        answer = server.draw("tiny-sd15", prompt="a red fox<lora:style:0.8>")
        close(answer["images"][0], folder / "lora.png")
        assert differ(answer["images"][0], base64.b64decode(plain))[0] > 0.5
        prompt, _, values = read_infotext(info(answer)["infotexts"][0])
        assert prompt == "a red fox<lora:style:0.8>" and values["Lora hashes"].startswith("style: ")
        assert server.draw("tiny-sd15")["images"][0] == plain, "taken out again exactly"
        off = server.draw("tiny-sd15", prompt="a red fox<lora:style:0.8>", disable_extra_networks=True)
        assert pixels(off["images"][0]) == pixels(plain)
        shutil.copy(REFERENCE / "tiny-sd15" / "lora.safetensors", folder / "models" / "Lora" / "late.safetensors")
        assert server.call("/sdapi/v1/refresh-loras", method="POST") == (200, None)
        assert "late" in [entry["name"] for entry in server.ok("/sdapi/v1/loras")]


def test_controlnet(folder):
    with Tiny(folder) as server:
        assert server.ok("/controlnet/model_list")["model_list"] == ["edges_canny"]
        types = server.ok("/controlnet/control_types")["control_types"]
        assert types["Canny"]["default_model"] == "edges_canny" and types["Depth"]["default_model"] == "None"
        plain = server.draw("tiny-sd15")["images"][0]
        (folder / "hint.png").write_bytes(base64.b64decode(gradient()))
        reverie("txt2img", *CLI, "-p", "a red fox", "--controlnet", f"{REFERENCE / 'tiny-sd15' / 'controlnet'}:{folder / 'hint.png'}:0.9",
                "-o", folder / "controlled.png")
        unit = {"image": gradient(), "model": "edges_canny", "module": "none", "weight": 0.9}
        old = {"input_image": "data:image/png;base64," + gradient(), "model": "edges_canny", "weight": 0.9, "guidance": 1.0,
               "lowvram": True, "guessmode": False, "control_mode": ["Balanced"], "resize_mode": "Scale to Fit (Inner Fit)"}
        for fields in ({"alwayson_scripts": {"ControlNet": {"args": [unit]}}}, {"alwayson_scripts": {"controlnet": {"args": [old]}}}):
            answer = server.draw("tiny-sd15", **fields)
            close(answer["images"][0], folder / "controlled.png")
            assert len(answer["images"]) == 2 and size(answer["images"][1]) == (64, 64), "the map comes last"
            assert 'Model: edges_canny' in read_infotext(info(answer)["infotexts"][0])[2]["ControlNet 0"]
        by_route = server.ok("/controlnet/txt2img", {**FOX, "controlnet_units": [old], "override_settings": {
            "sd_model_checkpoint": "tiny-sd15", "randn_source": "CPU"}})
        close(by_route["images"][0], folder / "controlled.png")
        assert differ(plain, folder / "controlled.png")[0] > 0.5
        for fields in ({"enabled": False}, {"weight": 0.0}, {"guidance_start": 0.0, "guidance_end": 0.0}):
            answer = server.draw("tiny-sd15", alwayson_scripts={"ControlNet": {"args": [{**unit, **fields}]}})
            assert fields != {"enabled": False} or (len(answer["images"]) == 1 and pixels(answer["images"][0]) == pixels(plain)), fields
        redrawn = server.draw("tiny-sd15", init_images=[gradient()], alwayson_scripts={"ControlNet": {"args": [{**unit, "image": None}]}})
        assert len(redrawn["images"]) == 2, "img2img lends its picture"
        status, answer = server.call("/sdapi/v1/txt2img", {**FOX, "alwayson_scripts": {"ControlNet": {"args": [unit]}},
                                                           "override_settings": {"sd_model_checkpoint": "tiny-sdxl"}})
        assert status in (400, 422), (status, answer)


def test_embeddings(folder):
    with Tiny(folder) as server:
        server.ok("/sdapi/v1/options", {"sd_model_checkpoint": "tiny-sd15"})
        lists = server.ok("/sdapi/v1/embeddings")
        assert list(lists["loaded"]) == ["fluff"] and sorted(lists["skipped"]) == ["broken", "other"]
        assert lists["loaded"]["fluff"]["vectors"] >= 1 and lists["skipped"]["other"]["shape"] == 768
        assert set(lists["loaded"]["fluff"]) == {"step", "sd_checkpoint", "sd_checkpoint_name", "shape", "vectors"}
        answer = server.draw("tiny-sd15", prompt="a fluff fox")
        assert read_infotext(info(answer)["infotexts"][0])[2]["TI hashes"].startswith("fluff: ")


def test_upscalers(folder):
    """ESRGAN by name wherever A1111 takes one: the same network gives the same pixels everywhere."""
    with Tiny(folder) as server:
        upscalers = {u["name"]: u for u in server.ok("/sdapi/v1/upscalers")}
        assert list(upscalers)[:3] == ["None", "Lanczos", "Nearest"] and upscalers["4x_Tiny"]["scale"] == 4
        assert upscalers["4x_Tiny"]["model_path"].endswith("4x_Tiny.safetensors") and upscalers["Lanczos"]["model_name"] is None

        def extra(**fields):
            return server.ok("/sdapi/v1/extra-single-image", {"image": gradient(24, 16), **fields})
        large = extra(upscaler_1="4x_Tiny", upscaling_resize=4)
        assert size(large["image"]) == (96, 64) and "Postprocess upscaler: 4x_Tiny" in large["html_info"]
        assert pixels(large["image"]) != pixels(extra(upscaler_1="Lanczos", upscaling_resize=4)["image"])
        small = extra(upscaler_1="4x_Tiny", upscaling_resize=2.5)
        assert size(small["image"]) == (60, 40)
        both = extra(upscaler_1="Nearest", upscaler_2="4x_Tiny", extras_upscaler_2_visibility=1.0, upscaling_resize=4)
        assert pixels(both["image"]) == pixels(large["image"])
        batch = server.ok("/sdapi/v1/extra-batch-images", {"upscaler_1": "4x_Tiny", "upscaling_resize": 4, "imageList": [
            {"data": gradient(24, 16), "name": "a.png"}, {"data": gradient(8, 8), "name": "b.png"}]})
        assert pixels(batch["images"][0]) == pixels(large["image"]) and size(batch["images"][1]) == (32, 32)
        hires = [server.draw("tiny-sd15", enable_hr=True, hr_scale=1.5, hr_upscaler=name, denoising_strength=0.5, sampler_name="Euler")
                 for name in ("4x_Tiny", "Lanczos", *(m["name"] for m in server.ok("/sdapi/v1/latent-upscale-modes")))]
        assert all(size(a["images"][0]) == (96, 96) for a in hires)
        assert len({str(pixels(a["images"][0])) for a in hires}) == len(hires) - 1, "all but two draw another picture"  # growing is antialiased
        assert read_infotext(info(hires[0])["infotexts"][0])[2]["Hires upscaler"] == "4x_Tiny"
        redrawn = server.draw("tiny-sd15", init_images=[gradient(32, 32)], script_name="SD upscale", script_args=["", 16, "4x_Tiny", 2],
                              sampler_name="Euler")
        assert size(redrawn["images"][0]) == (64, 64)
        for path in ("../ESRGAN/4x_Tiny", "/etc/passwd"):
            assert server.call("/sdapi/v1/extra-single-image", {"image": gradient(), "upscaler_1": path})[0] in (400, 404), path


def test_models(folder):
    """Models by any of their names; hashes come in the background, never while somebody waits for a picture."""
    reverie("models", "convert", MINI, "-o", folder / "single.safetensors", "--precision", "fp16")
    with Tiny(folder) as server:
        shutil.copy(folder / "single.safetensors", folder / "models" / "single.safetensors")
        assert server.call("/sdapi/v1/refresh-checkpoints", "", method="POST") == (200, None)

        def single():
            return [m for m in server.ok("/sdapi/v1/sd-models") if m["model_name"] == "single"][0]
        first = single()
        assert set(first) == {"title", "model_name", "hash", "sha256", "filename", "config"}
        assert first["sha256"] is None or first["title"].endswith("]")
        known = eventually(lambda: (lambda m: m if m["sha256"] else None)(single()), "its hash is known")
        assert len(known["sha256"]) == 64 and known["hash"] == known["sha256"][:10]
        assert known["title"] == f"single.safetensors [{known['hash']}]" and known["config"] is None
        for name in (known["title"], "single.safetensors", "single", known["hash"], known["sha256"], f"single [{known['hash']}]"):
            server.ok("/sdapi/v1/options", {"sd_model_checkpoint": name})
            options = server.ok("/sdapi/v1/options")
            assert options["sd_model_checkpoint"] == known["title"] and options["sd_checkpoint_hash"] == known["sha256"], name
        plot = server.ok("/sdapi/v1/txt2img", {**FOX, "script_name": "X/Y/Z plot", "script_args": [
            "Checkpoint name", "mini,tiny-sd15", None, "Sampler", "Euler,DDIM", None, "Prompt S/R", "fox,cat", None, True, True]})
        models = [read_infotext(t)[2]["Model"] for t in info(plot)["infotexts"][1:]]
        assert models == ["mini", "tiny-sd15"] * 4


if __name__ == "__main__":
    run_tests(globals())
