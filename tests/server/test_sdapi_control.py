#!/usr/bin/env python3
"""What steers a picture beyond its prompt, through A1111's API: refiner, tiling, VAEs, wildcards, another model for hires fix, the
latent's own mask; and the prompt's own means."""
import pathlib

from sdapi import SMALL, Studio, box_mask, gradient, info, pixels, read_infotext
from serve import run_tests

from common import MINI, MODEL, copy_model, make_refiner, read_safetensors, write_safetensors

REFINER = "refiner_checkpoint"


def rows(answer, index=0):
    return pixels(answer["images"][index])[2]


def values(answer, index=0):
    return read_infotext(info(answer)["infotexts"][index])[2]


def louder(file, name, factor=2):
    """One tensor's bytes by others: sign bits turned, or zeros."""
    header, body = read_safetensors(file)
    start, end = header[name]["data_offsets"]
    body[start:end] = bytes(end - start) if factor == 0 else bytes(b ^ 0x80 if i % 2 else b for i, b in enumerate(body[start:end]))
    write_safetensors(file, header, body)


def models_folder(folder):
    """A checkpoint like mini whose UNet says nothing but a bias, and a VAE that turns colours around."""
    models = pathlib.Path(folder) / "models"
    other = copy_model(MINI, models / "other")
    louder(other / "unet" / "diffusion_pytorch_model.safetensors", "conv_out.weight", 0)
    copy_model(MINI / "vae", models / "VAE")
    file = models / "VAE" / "diffusion_pytorch_model.safetensors"
    louder(file, sorted(key for key in read_safetensors(file)[0] if key.startswith("decoder") and key.endswith("weight"))[-1])
    file.rename(models / "VAE" / "inside-out.safetensors")
    (models / "VAE" / "config.json").unlink()
    return ["--models", str(models)]


def test_refiner(folder):
    with Studio(*models_folder(folder)) as server:
        plain, other = server.txt2img(steps=4), server.txt2img(steps=4, override_settings={"sd_model_checkpoint": "other"})
        half = server.txt2img(steps=4, **{REFINER: "other", "refiner_switch_at": 0.5})
        assert rows(half) not in (rows(plain), rows(other))
        told = values(half)
        assert told["Refiner"].split(" [")[0] == "other" and told["Refiner switch at"] == "0.5" and told["Model"] == "mini"
        assert rows(server.txt2img(steps=4, **{REFINER: "other"})) == rows(other), "null: from the first step on"
        late = server.txt2img(steps=4, **{REFINER: "other", "refiner_switch_at": 1})
        assert rows(late) == rows(plain) and "Refiner" not in values(late)
        assert rows(server.txt2img(steps=4, **{REFINER: "mini", "refiner_switch_at": 0.5})) == rows(plain), "the same model"
        assert rows(server.txt2img(steps=4, **{REFINER: "None", "refiner_switch_at": 0.5})) == rows(plain)
        again = server.ok("/sdapi/v1/txt2img", {"infotext": info(half)["infotexts"][0]})
        assert rows(again) == rows(half), "the infotext says all"
        batch = server.txt2img(steps=4, seed=6, batch_size=2, **{REFINER: "other", "refiner_switch_at": 0.5})
        assert rows(batch, 1) == rows(half)
        # Karras' steps lie close to the end: half of the noise is gone before half of the steps
        karras = [server.txt2img(steps=10, scheduler="karras", override_settings={"refiner_switch_by_sample_steps": by},
                                 **{REFINER: "other", "refiner_switch_at": 0.6}) for by in (False, True)]
        assert ["Refiner switch by sampling steps" in values(k) for k in karras] == [False, True] and rows(karras[0]) != rows(karras[1])
        redrawn = server.img2img(init_images=[gradient()], steps=4, **{REFINER: "other", "refiner_switch_at": 0.8})
        assert rows(redrawn) != rows(server.img2img(init_images=[gradient()], steps=4)) and "Refiner" in values(redrawn)
        hires = [server.txt2img(steps=2, enable_hr=True, **more) for more in ({}, {REFINER: "other", "refiner_switch_at": 0.9})]
        assert rows(hires[0]) != rows(hires[1]) and "Refiner" in values(hires[1])
        plot = server.txt2img(steps=4, script_name="x/y/z plot", **{REFINER: "other"},
                              script_args=["Refiner switch at", "0, 1", None, "Nothing", "", [], 0, "", None, True, True])
        assert [rows(plot, 1), rows(plot, 2)] == [rows(other), rows(late)]
        status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, REFINER: "no such"})
        assert status == 404 and "no such" in answer["detail"], answer
        assert server.call("/sdapi/v1/txt2img", {**SMALL, REFINER: "other", "refiner_switch_at": 2})[0] == 422
    with Studio("--models", str(folder / "models"), "--model-memory", "1") as server:  # room for none: yet both are there at a time
        for _ in range(2):
            assert rows(server.txt2img(steps=4, **{REFINER: "other", "refiner_switch_at": 0.5})) == rows(half)
            assert rows(server.txt2img(steps=2, enable_hr=True, hr_checkpoint_name="other", hr_upscaler="Lanczos"))


def test_sdxl_refiner(folder):
    """Its own shapes and conditioning; not for models of other latents, and not by itself."""
    made = make_refiner(folder)
    with Studio("--models", str(folder)) as server:
        fields = {"steps": 2, "cfg_scale": 5, "negative_prompt": "blue", "override_settings": {"sd_model_checkpoint": "base"}}
        plain = server.txt2img(**fields)
        answers = [server.txt2img(**fields, **{REFINER: name, "refiner_switch_at": 0.3}) for name in ("refiner", "scored")]
        assert max(abs(a - b) for x, y in zip(rows(plain), rows(answers[0])) for a, b in zip(x, y)) <= 1 and rows(answers[1]) != rows(plain)
        assert [values(a)["Refiner"] for a in answers] == ["refiner", "scored"] and made
        for wanted, body, word in ((400, {REFINER: "refiner"}, "latents"), (501, {"override_settings": {"sd_model_checkpoint": "refiner"}}, "by itself")):
            status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, **body})
            assert status == wanted and word in answer["detail"], (status, answer)


def seam(picture):
    """Whether the edges fit: their step against the largest inside, along rows and columns."""
    lines = list(picture)
    columns = [b"".join(line[3 * x:3 * x + 3] for line in lines) for x in range(len(lines[0]) // 3)]

    def step(a, b):
        return sum(abs(x - y) for x, y in zip(a, b))
    return [step(all_[0], all_[-1]) / max(step(a, b) for a, b in zip(all_, all_[1:])) for all_ in (lines, columns)]


def test_tiling(_):
    with Studio() as server:
        fields = {"prompt": "a brick wall", "steps": 4, "width": 128, "height": 128, "seed": 3, "cfg_scale": 1}
        plain, tile = server.txt2img(**fields), server.txt2img(**fields, tiling=True)
        assert max(seam(rows(tile))) < 1 and min(seam(rows(plain))) > 1.5, (seam(rows(tile)), seam(rows(plain)))
        assert values(tile)["Tiling"] == "True" and "Tiling" not in values(plain)
        assert rows(server.ok("/sdapi/v1/txt2img", {"infotext": info(tile)["infotexts"][0]})) == rows(tile)
        assert rows(server.txt2img(**fields, override_settings={"tiling": True})) == rows(tile), "an option, too"
        assert rows(server.txt2img(**fields)) == rows(plain), "and it does not stay"
        redrawn = server.img2img(init_images=[gradient(128, 128)], denoising_strength=0.9, **{**fields, "steps": 8}, tiling=True)
        assert max(seam(rows(redrawn))) < max(seam(pixels(gradient(128, 128))[2]))


def test_vae(folder):
    with Studio(*models_folder(folder)) as server:
        listed = server.ok("/sdapi/v1/sd-vae")
        assert [vae["model_name"] for vae in listed] == ["inside-out.safetensors"] and listed[0]["filename"].endswith("/VAE/inside-out.safetensors")
        plain = server.txt2img()
        for name in "inside-out", "inside-out.safetensors":
            other = server.txt2img(override_settings={"sd_vae": name})
            assert rows(other) != rows(plain) and values(other)["VAE"] == "inside-out.safetensors"
        assert info(other)["sd_vae_name"] == "inside-out.safetensors" and info(plain)["sd_vae_name"] is None
        for name in "None", "Automatic":
            same = server.txt2img(override_settings={"sd_vae": name})
            assert rows(same) == rows(plain) and "VAE" not in values(same)
        server.ok("/sdapi/v1/options", {"sd_vae": "inside-out.safetensors"})
        assert rows(server.txt2img()) == rows(other) and server.ok("/sdapi/v1/options")["sd_vae"] == "inside-out.safetensors"
        assert rows(server.txt2img(override_settings={"sd_vae": "None"})) == rows(plain)
        for name in "no such", "../VAE/inside-out", listed[0]["filename"]:
            status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, "override_settings": {"sd_vae": name}})
            assert status == 404 and "VAE" in answer["detail"], (name, status, answer)


def test_vae_beside(folder):
    """"Automatic" is NAME.vae.safetensors beside NAME.safetensors, "None" the one inside."""
    single = MODEL.with_suffix(".safetensors")
    (folder / "one.safetensors").symlink_to(single)
    (folder / "one").symlink_to(MODEL)
    copy_model(MODEL / "vae", folder / "vae")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    louder(file, "decoder.conv_out.weight", 0)
    file.rename(folder / "one.vae.safetensors")
    with Studio("--models", str(folder)) as server:
        grey, drawn = (server.txt2img(override_settings={"sd_model_checkpoint": "one.safetensors", "sd_vae": name}) for name in ("Automatic", "None"))
        assert values(grey)["VAE"] == "one.vae.safetensors" and "VAE" not in values(drawn)
        assert len({row[i:i + 3] for row in rows(grey) for i in range(0, 192, 3)}) == 1 < len({row[:3] for row in rows(drawn)})


def test_hires_checkpoint(folder):
    with Studio(*models_folder(folder)) as server:
        fields = {"steps": 2, "enable_hr": True, "hr_scale": 1.5}
        for upscaler in "Latent", "Lanczos":
            same, named, other = (server.txt2img(**fields, hr_upscaler=upscaler, hr_checkpoint_name=name) for name in (None, "Use same checkpoint", "other"))
            assert rows(same) == rows(named) != rows(other) and "Hires checkpoint" not in values(named)
            assert values(other)["Hires checkpoint"].split(" [")[0] == "other" and values(other)["Model"] == "mini"
        assert rows(server.ok("/sdapi/v1/txt2img", {"infotext": info(other)["infotexts"][0]})) == rows(other)
        own = server.txt2img(**fields, hr_prompt="a blue car", hr_sampler_name="DPM++ 2M", hr_scheduler="Karras", hr_negative_prompt="red")
        told = values(own)
        assert (told["Hires prompt"], told["Hires sampler"], told["Hires schedule type"]) == ("a blue car", "DPM++ 2M", "Karras")
        assert rows(own) != rows(server.txt2img(**fields))
        status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, **fields, "hr_checkpoint_name": "no such"})
        assert status == 404 and "no such" in answer["detail"]


def test_firstpass_image(_):
    """A first pass that was drawn before gives what both passes give, without being drawn again."""
    with Studio() as server:
        small = server.txt2img(steps=2)["images"][0]
        fields = {"steps": 2, "enable_hr": True, "hr_upscaler": "Lanczos", "denoising_strength": 0.5}
        both, second = server.txt2img(**fields), server.txt2img(**fields, firstpass_image=small)
        assert rows(both) == rows(second) and info(both)["infotexts"] == info(second)["infotexts"]
        for upscaler in "Latent", "Nearest":
            given = server.txt2img(**{**fields, "hr_upscaler": upscaler}, firstpass_image=gradient(100, 60), batch_size=2)
            assert pixels(given["images"][0])[:2] == (128, 128) and rows(given, 0) != rows(given, 1)
        assert given["parameters"]["firstpass_image"] is None
        for body, word in (({**SMALL, "firstpass_image": small}, "enable_hr"),
                           ({**SMALL, **fields, "firstpass_image": "no picture"}, "Invalid encoded image")):
            status, answer = server.call("/sdapi/v1/txt2img", body)
            assert status == (500 if "Invalid" in word else 422) and word in answer["detail"], answer


def test_latent_mask(_):
    """The latent may change inside its own mask only, whatever the picture's mask lets through."""
    with Studio() as server:
        wide, narrow = box_mask(64, 64, 0, 0, 64, 64), box_mask(64, 64, 0, 0, 24, 64)
        fields = {"init_images": [gradient()], "steps": 4, "denoising_strength": 1, "mask_blur": 0, "inpaint_full_res": False, "inpainting_fill": 1}
        start = pixels(gradient())[2]

        def change(answer, left, right):
            picture = rows(answer)
            return sum(abs(a - b) for x, y in zip(picture, start) for a, b in zip(x[3 * left:3 * right], y[3 * left:3 * right])) / (64 * 3 * (right - left))
        all_, part = (server.img2img(**fields, mask=wide, **more) for more in ({}, {"latent_mask": narrow}))
        assert change(part, 40, 64) < 0.5 * change(all_, 40, 64) and change(part, 0, 16) > change(part, 40, 64)
        same = server.img2img(**fields, mask=narrow, latent_mask=narrow)
        assert rows(same) == rows(server.img2img(**fields, mask=narrow))
        full = server.img2img(**{**fields, "inpaint_full_res": True}, mask=box_mask(64, 64, 8, 8, 40, 40), latent_mask=narrow)
        assert rows(full) != rows(server.img2img(**{**fields, "inpaint_full_res": True}, mask=box_mask(64, 64, 8, 8, 40, 40)))
        for status, body in (422, {"latent_mask": narrow}), (500, {"mask": wide, "latent_mask": "x"}):
            assert server.call("/sdapi/v1/img2img", {**SMALL, **fields, **body})[0] == status


def test_soft_inpainting(_):
    """A1111's script, by place and by name, in img2img with a mask; known places stay, new ones come without an edge."""
    with Studio() as server:
        start = pixels(gradient())[2]
        fields = {"init_images": [gradient()], "mask": box_mask(64, 64, 0, 0, 20, 64), "steps": 4, "denoising_strength": 0.9, "mask_blur": 6,
                  "inpaint_full_res": False, "inpainting_fill": 1}

        def draw(*args, name="Soft Inpainting", **more):
            return server.img2img(**{**fields, **more}, alwayson_scripts={name: {"args": list(args)}})
        plain, soft = server.img2img(**fields), draw(True)
        assert rows(soft) != rows(plain) and "Soft inpainting enabled" not in values(plain)
        told = values(soft)
        assert [told.get(f"Soft inpainting {key}") for key in (
            "enabled", "schedule bias", "preservation strength", "transition contrast boost", "mask influence", "difference threshold",
            "difference contrast")] == ["True", "1", "0.5", "4", "0", "0.5", "2"] and told["Mask blur"] == "6", told
        assert info(soft)["extra_generation_params"]["Soft inpainting schedule bias"] in ("1", 1)
        far = [max(abs(a - b) for x, y in zip(picture, start) for a, b in zip(x[3 * 58:], y[3 * 58:])) for picture in (rows(soft), rows(plain))]
        assert far[0] <= 3 and far[1] == 0, f"far from the mask nothing changes: {far}"
        named = {"Soft inpainting": True, "Schedule bias": 1, "Preservation strength": 0.5, "Transition contrast boost": 4, "Mask influence": 0,
                 "Difference threshold": 0.5, "Difference contrast": 2}
        for args in (True, 1, 0.5, 4, 0, 0.5, 2), (True, None, 0.5), (named,), ({"enabled": True},):
            assert rows(draw(*args, name="soft inpainting")) == rows(soft), args
        others = [rows(draw(True, *numbers)) for numbers in ((6,), (1, 4), (1, 0.5, 1), (1, 0.5, 4, 1), (1, 0.5, 4, 0, 6), (1, 0.5, 4, 0, 0.5, 8))]
        assert all(a != b for i, a in enumerate([rows(soft), *others]) for b in others[i:]), "each setting counts"
        again = server.ok("/sdapi/v1/img2img", {"infotext": info(soft)["infotexts"][0], "init_images": [gradient()], "mask": fields["mask"]})
        assert rows(again) == rows(soft), "the infotext says all"
        outside = server.img2img(**{**fields, "inpainting_fill": 2, "inpaint_full_res": True}, inpainting_mask_invert=1, inpaint_full_res_padding=4)
        assert (values(outside)["Mask mode"], values(outside)["Masked content"]) == ("Inpaint not masked", "latent noise")
        assert rows(server.ok("/sdapi/v1/img2img", {"infotext": info(outside)["infotexts"][0], "init_images": [gradient()], "mask": fields["mask"]})) == rows(outside)
        for args in (False, 1, 2), ({"Soft inpainting": False},), ({},), ():
            assert rows(draw(*args)) == rows(plain), args
        cut = [rows(draw(on, mask=box_mask(64, 64, 8, 8, 40, 40), mask_blur=4, inpaint_full_res=True)) for on in (True, False)]
        assert cut[0] != cut[1] and cut[0][63] == start[63] and len(cut[0]) == 64
        batch = draw(True, batch_size=2, seed=6)
        assert rows(batch, 1) == rows(soft), "each picture by its own latent"
        no_mask = {k: v for k, v in fields.items() if k != "mask"}
        assert rows(server.img2img(**no_mask, alwayson_scripts={"soft inpainting": {"args": [True]}})) == rows(server.img2img(**no_mask))
        pages = {"Refiner": {"args": [True, "no such", 0.5]}, "Seed": {"args": [99, True, 3, 1, 0, 0]}, "Sampler": {"args": [20, "DPM++ 2M", "Karras"]},
                 "Hypertile": {"args": []}, "Extra options": {}, "Comments": {"args": []}}
        assert rows(server.img2img(**fields, alwayson_scripts=pages)) == rows(plain), "what A1111's page sends counts by fields alone"
        for args, word in ((True, 9), "Schedule bias"), ((True, 1, 0.5, 0), "Transition"), (("perhaps",), "Soft inpainting"), ((True, "much"), "float"):
            status, answer = server.call("/sdapi/v1/img2img", {**SMALL, **fields, "alwayson_scripts": {"soft inpainting": {"args": args}}})
            assert status == 422 and word in answer["detail"], (args, status, answer)
        assert server.call("/sdapi/v1/txt2img", {**SMALL, "alwayson_scripts": {"soft inpainting": {"args": [True]}}})[0] == 422
        assert "soft inpainting" in server.ok("/sdapi/v1/scripts")["img2img"] and "soft inpainting" not in server.ok("/sdapi/v1/scripts")["txt2img"]
        listed, = (item for item in server.ok("/sdapi/v1/script-info") if item["name"] == "soft inpainting")
        assert listed["is_alwayson"] and [a["value"] for a in listed["args"]] == [False, 1, 0.5, 4, 0, 0.5, 2]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_wildcards(folder):
    write(folder / "wildcards" / "animal.txt", "# animals\nfox\n\ncat\nowl\nbear\n")
    write(folder / "wildcards" / "scene" / "night.txt", "a __animal__ at night, __colour__\n")
    write(folder / "wildcards" / "colour.txt", "red\n")
    write(folder / "users" / "local" / "wildcards" / "colour.txt", "blue\n")
    write(folder / "wildcards" / "loop.txt", "__loop__\n")
    write(folder / "wildcards" / "empty.txt", "# nothing\n")
    (folder / "wildcards" / "bytes.txt").write_bytes(b"\xff\xfe\n")
    write(folder / "secret.txt", "secret\n")
    animals = {"fox", "cat", "owl", "bear"}
    with Studio(data=folder) as server:
        one = server.txt2img(prompt="__animal__, __animal__", negative_prompt="__colour__", cfg_scale=3)
        drawn = info(one)["prompt"].split(", ")
        assert set(drawn) <= animals and info(one)["negative_prompt"] == "blue", "the user's own come first"
        assert rows(server.txt2img(prompt=", ".join(drawn), negative_prompt="blue", cfg_scale=3)) == rows(one)
        assert info(one)["infotexts"][0].startswith(", ".join(drawn))
        batch = server.txt2img(prompt="__animal__, __animal__", seed=0, batch_size=8, n_iter=2, steps=1)
        prompts = info(batch)["all_prompts"]
        assert len(set(prompts)) > 3 and {word for p in prompts for word in p.split(", ")} == animals, prompts
        assert prompts[7].split(", ") == drawn and info(batch)["all_seeds"] == list(range(16)), "each by its own seed"
        assert rows(server.txt2img(prompt="__animal__, __animal__", seed=11)) == rows(batch, 11)
        nested = info(server.txt2img(prompt="photo of __scene/night__ by me"))["prompt"]
        assert nested.startswith("photo of a ") and nested.endswith(" at night, blue by me") and nested.split()[3] in animals
        hires = values(server.txt2img(prompt="__animal__", hr_prompt="__animal__", enable_hr=True, hr_scale=1))
        assert hires["Hires prompt"] in animals
        assert info(server.txt2img(prompt="snake_case __ a__b __not this__"))["prompt"] == "snake_case __ a__b __not this__"
        for name, word in (("nothing", "no wildcard of that name"), ("../secret", "no wildcard's name"), ("/etc/passwd", "no wildcard's name"),
                           ("scene/../secret", "no wildcard's name"), ("loop", "without an end"), ("empty", "no choices"), ("bytes", "UTF-8")):
            status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, "prompt": f"a __{name}__"})
            assert status == (404 if name == "nothing" else 400) and word in answer["detail"], (name, status, answer)


def test_prompt(_):
    """The prompt's own means, end to end."""
    with Studio() as server:
        def draw(prompt, **more):
            return rows(server.txt2img(prompt=prompt, steps=4, **more))
        fox, cat = draw("fox"), draw("cat")
        assert fox != cat
        assert draw("[fox:cat:1.0]") == fox and draw("[fox:cat:0]") == cat
        assert draw("[fox:cat:0.25]") not in (fox, cat) and draw("[fox:cat:0.25]") == draw("[fox:cat:1]")
        assert draw("[fox|cat]") not in (fox, cat)
        both = draw("fox AND cat", cfg_scale=4)
        assert both not in (draw("fox", cfg_scale=4), draw("cat", cfg_scale=4)) and both != draw("fox AND cat:0.3", cfg_scale=4)
        close = draw("fox AND cat:0", cfg_scale=4), draw("fox", cfg_scale=4)
        assert max(abs(a - b) for x, y in zip(*close) for a, b in zip(x, y)) <= 1
        assert draw("(fox:1.4)") != fox == draw("fox") and draw("fox BREAK cat") not in (fox, cat)
        skip = server.txt2img(prompt="fox", steps=4, override_settings={"CLIP_stop_at_last_layers": 2})
        assert rows(skip) != fox and values(skip)["Clip skip"] == "2" and info(skip)["clip_skip"] == 2
        assert rows(server.ok("/sdapi/v1/txt2img", {"infotext": info(skip)["infotexts"][0]})) == rows(skip)
        ends = draw("fox", subseed=99, subseed_strength=1), draw("fox", seed=99)
        assert max(abs(a - b) for x, y in zip(*ends) for a, b in zip(x, y)) <= 1, "all of the variation's noise"
        resized = server.txt2img(prompt="fox", steps=4, seed_resize_from_w=32, seed_resize_from_h=32)
        assert rows(resized) != fox and rows(server.ok("/sdapi/v1/txt2img", {"infotext": info(resized)["infotexts"][0]})) == rows(resized)


run_tests(globals())
