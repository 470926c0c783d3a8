#!/usr/bin/env python3
"""Pictures through A1111's API: seeds, infotext, inpainting, hires fix, scripts, formats, progress and interrupt."""
import base64
import json
import re
import socket
import threading
import time

from sdapi import SMALL, Studio, box_mask, gradient, info, pixels, png_texts, read_infotext, size
from serve import eventually, run_tests


def test_same_seed_same_picture(_):
    """Alone, in a batch of any size, at any place, in a second batch, and after others."""
    with Studio() as server:
        batch = server.txt2img(batch_size=3, sampler_name="Euler a", steps=2)
        singles = [server.txt2img(seed=7 + i, sampler_name="Euler a", steps=2)["images"][0] for i in range(3)]
        assert len({pixels(s)[2][0] for s in singles}) == 3
        for i in range(3):
            assert pixels(batch["images"][i])[2] == pixels(singles[i])[2], i
        batches = server.txt2img(n_iter=3, sampler_name="Euler a", steps=2)
        assert [pixels(i)[2] for i in batches["images"]] == [pixels(s)[2] for s in singles]
        assert info(batches)["all_seeds"] == [7, 8, 9]
        random = server.txt2img(seed=-1)
        seed = info(random)["seed"]
        assert 0 <= seed < 2 ** 32 and pixels(server.txt2img(seed=seed)["images"][0])[2] == pixels(random["images"][0])[2]


def test_variation_seeds(_):
    with Studio() as server:
        varied = server.txt2img(subseed=20, subseed_strength=0.4, batch_size=2)
        about = info(varied)
        assert about["all_seeds"] == [7, 7] and about["all_subseeds"] == [20, 21]
        values = read_infotext(about["infotexts"][1])[2]
        assert values["Seed"] == "7" and values["Variation seed"] == "21" and values["Variation seed strength"] == "0.4"
        plain = pixels(server.txt2img()["images"][0])[2]
        assert pixels(varied["images"][0])[2] != plain
        resized = server.txt2img(seed_resize_from_w=128, seed_resize_from_h=128)
        assert pixels(resized["images"][0])[2] != plain
        assert read_infotext(info(resized)["infotexts"][0])[2]["Seed resize from"] == "128x128"


def test_infotext(_):
    with Studio() as server:
        prompt = 'a (red:1.2) fox, "quoted"\nsecond line'
        answer = server.txt2img(prompt=prompt + " # not this", negative_prompt="blue: sky, 赤", cfg_scale=6.5, steps=2,
                                sampler_name="DPM++ 2M Karras")
        text = info(answer)["infotexts"][0]
        assert png_texts(base64.b64decode(answer["images"][0]))["parameters"] == text
        read_prompt, negative, values = read_infotext(text)
        assert (read_prompt, negative) == (prompt, "blue: sky, 赤")
        assert values["Steps"] == "2" and values["Sampler"] == "DPM++ 2M" and values["Schedule type"] == "Karras"
        assert values["CFG scale"] == "6.5" and values["Seed"] == "7" and values["Size"] == "64x64" and values["Model"]
        assert not values["Version"][:1].isdigit()
        parsed = server.ok("/sdapi/v1/png-info", {"image": answer["images"][0]})
        assert parsed["info"] == text and parsed["parameters"]["Prompt"] == prompt and parsed["parameters"]["Size-1"] == "64"
        again = server.ok("/sdapi/v1/txt2img", {"infotext": text})  # everything comes from it
        assert pixels(again["images"][0])[2] == pixels(answer["images"][0])[2]
        other = server.ok("/sdapi/v1/txt2img", {"infotext": text, "seed": 8})  # but what the request says itself
        assert info(other)["seed"] == 8 and info(other)["steps"] == 2
        unknown = server.ok("/sdapi/v1/txt2img", {"infotext": text.replace("Model: ", "Model: not-here-"), "seed": 7})
        assert pixels(unknown["images"][0])[2] == pixels(answer["images"][0])[2]


def test_infotext_says_all(_):
    """Whatever a picture was drawn with, its infotext alone draws it again, and says the same."""
    with Studio() as server:
        for fields in ({"steps": 3, "sampler_name": "Euler a", "eta": 0.7, "s_noise": 1.02, "cfg_scale": 3.25},
                       {"steps": 3, "s_churn": 4.0, "s_tmin": 0.1, "s_tmax": 30.5}, {"sampler_name": "DDIM", "eta": 0.3, "steps": 4},
                       {"subseed": 3, "subseed_strength": 0.25, "seed_resize_from_w": 96, "seed_resize_from_h": 128},
                       {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent (nearest)", "denoising_strength": 0.6, "steps": 2,
                        "hr_second_pass_steps": 3, "hr_prompt": "a blue, (old:1.3) fox", "hr_negative_prompt": "x: y", "hr_sampler_name": "Heun"},
                       {"enable_hr": True, "hr_resize_x": 96, "hr_resize_y": 128, "hr_upscaler": "Lanczos", "denoising_strength": 0.5},
                       {"scheduler": "Karras", "steps": 4, "prompt": "line one\nline, \"two\": <3>", "negative_prompt": "Steps: 3, none"},
                       {"override_settings": {"CLIP_stop_at_last_layers": 2, "randn_source": "CPU", "eta_noise_seed_delta": 31337},
                        "sampler_name": "Euler a", "steps": 3}):
            first = server.txt2img(**fields)
            text = info(first)["infotexts"][0]
            again = server.ok("/sdapi/v1/txt2img", {"infotext": text})
            assert info(again)["infotexts"][0] == text, (text, info(again)["infotexts"][0])
            assert pixels(again["images"][0]) == pixels(first["images"][0]), fields
            prompt, negative, _ = read_infotext(text)
            assert prompt == fields.get("prompt", "a red fox") and negative == fields.get("negative_prompt", "")


def test_samplers(_):
    with Studio() as server:
        for name in ("Euler", "Euler a", "k_euler_a", "DPM++ 2M", "DPM++ SDE Karras", "DDIM", "UniPC", "LCM", "Heun", "DPM++ 2M SDE",
                     "DPM++ 3M SDE", "LMS", "DPM2", "DPM2 a", "PLMS", "Restart", "DPM fast", "DPM++ 2S a"):
            server.txt2img(sampler_name=name, steps=4)
        for schedule in server.ok("/sdapi/v1/schedulers"):
            server.txt2img(sampler_name="Euler", scheduler=schedule["name"], steps=3)
            server.txt2img(sampler_name="Euler", scheduler=schedule["label"], steps=3)
        eta = [pixels(server.txt2img(sampler_name="Euler a", steps=3, eta=e)["images"][0])[2] for e in (None, 1.0, 0.0)]
        assert eta[0] == eta[1] != eta[2]
        plain = info(server.txt2img(sampler_name="Euler a", steps=3))["infotexts"][0]
        for fields, key, value in (({"s_churn": 5}, "Sigma churn", "5.0"), ({"s_noise": 1.1}, "Sigma noise", "1.1"),
                                   ({"override_settings": {"eta_noise_seed_delta": 31337}}, "ENSD", "31337"), ({"eta": 0.5}, "Eta", "0.5")):
            sampler = "Euler" if key.startswith("Sigma c") else "Euler a"
            changed = server.txt2img(sampler_name=sampler, steps=3, **fields)
            unchanged = server.txt2img(sampler_name=sampler, steps=3)
            assert read_infotext(info(changed)["infotexts"][0])[2][key] == value and key not in read_infotext(plain)[2]
            assert pixels(changed["images"][0])[2] != pixels(unchanged["images"][0])[2], key


def test_redraw(_):
    with Studio() as server:
        weak, strong = (pixels(server.img2img(init_images=[gradient()], denoising_strength=s, steps=4)["images"][0])
                        for s in (0.1, 1.0))
        start = pixels(gradient())[2]

        def difference(rows):
            return sum(abs(a - b) for x, y in zip(rows, start) for a, b in zip(x, y)) / (64 * 64 * 3)
        assert difference(weak[2]) < difference(strong[2])
        for mode in range(4):
            answer = server.img2img(init_images=[gradient(96, 40)], resize_mode=mode, steps=2)
            assert size(answer["images"][0]) == (64, 64), mode
        two = server.img2img(init_images=[gradient(), gradient(64, 32)], batch_size=2, steps=2)
        assert len(two["images"]) == 2
        laid_out = server.txt2img(override_settings={"randn_source": "GPU"})  # A1111's own, which it leaves unsaid
        assert "RNG" not in read_infotext(info(laid_out)["infotexts"][0])[2]
        assert server.ok("/sdapi/v1/png-info", {"image": laid_out["images"][0]})["parameters"]["RNG"] == "GPU"
        fields = {"init_images": [gradient()], "steps": 4}
        louder, plain = server.img2img(**fields, initial_noise_multiplier=1.2), server.img2img(**fields)
        assert read_infotext(info(louder)["infotexts"][0])[2]["Noise multiplier"] == "1.2" and louder["images"] != plain["images"]
        for more in {"override_settings": {"initial_noise_multiplier": 1.2}}, {"infotext": info(louder)["infotexts"][0]}:
            assert pixels(server.img2img(**fields, **more)["images"][0]) == pixels(louder["images"][0]), more
        assert pixels(server.img2img(**fields, initial_noise_multiplier=1)["images"][0]) == pixels(plain["images"][0])
        url = server.img2img(init_images=["data:image/png;base64," + gradient()], steps=2)
        assert info(url)["denoising_strength"] == 0.75


def test_inpainting(_):
    with Studio() as server:
        start = pixels(gradient())[2]
        mask = box_mask(64, 64, 32, 16, 56, 40)
        for fields in ({}, {"inpaint_full_res": False}, {"inpaint_full_res_padding": 8}, {"inpainting_fill": 1}, {"inpainting_fill": 2},
                       {"inpainting_fill": 3}, {"mask_round": False}, {"mask_blur_x": 8, "mask_blur_y": 0}):
            answer = server.img2img(init_images=[gradient()], mask=mask, steps=2, **{"mask_blur": 0, **fields})
            rows = pixels(answer["images"][0])[2]
            assert rows[0] == start[0] and rows[63] == start[63] and rows[28][:60] == start[28][:60], fields
            assert rows[28][3 * 40:3 * 48] != start[28][3 * 40:3 * 48], fields
        inverted = server.img2img(init_images=[gradient()], mask=mask, steps=2, mask_blur=0, inpainting_mask_invert=1)
        rows = pixels(inverted["images"][0])[2]
        assert rows[28][3 * 36:3 * 50] == start[28][3 * 36:3 * 50] and rows[0] != start[0]


def test_hires(_):
    with Studio() as server:
        first = pixels(server.txt2img(steps=2)["images"][0])
        for fields, wanted in (({}, (128, 128)), ({"hr_scale": 1.5}, (96, 96)), ({"hr_resize_x": 128}, (128, 128)),
                               ({"hr_resize_x": 128, "hr_resize_y": 64}, (128, 64)), ({"hr_upscaler": "Lanczos"}, (128, 128)),
                               ({"hr_second_pass_steps": 1, "denoising_strength": 0.3}, (128, 128))):
            answer = server.txt2img(steps=2, enable_hr=True, **fields)
            assert size(answer["images"][0]) == wanted, fields
        values = read_infotext(info(answer)["infotexts"][0])[2]
        assert values["Hires steps"] == "1" and values["Denoising strength"] == "0.3" and values["Hires upscaler"] == "Latent"
        assert values["Size"] == "64x64" and first[:2] == (64, 64)
        old = server.txt2img(steps=2, enable_hr=True, width=128, height=128, firstphase_width=64, firstphase_height=64)
        assert size(old["images"][0]) == (128, 128) and read_infotext(info(old)["infotexts"][0])[2]["Size"] == "64x64"


def test_scripts(_):
    with Studio() as server:
        plot = server.txt2img(script_name="x/y/z plot", script_args=["Seed", "1-3", None, 4, "1, 2", [], 0, "", None, True, True])
        assert len(plot["images"]) == 7 and info(plot)["all_seeds"] == [1, 2, 3, 1, 2, 3] and info(plot)["index_of_first_image"] == 1
        width, height = size(plot["images"][0])
        assert width > 3 * 64 and height > 2 * 64
        alone = server.txt2img(seed=2, steps=2)
        assert pixels(plot["images"][5])[2] == pixels(alone["images"][0])[2]
        bare = server.txt2img(script_name="X/Y/Z plot", script_args=["CFG Scale", "1-9[3]", None, 0, "", None, 0, "", None, False])
        assert [size(i) for i in bare["images"]] == [(3 * 64, 64)]
        matrix = server.txt2img(prompt="fox|red|running", script_name="Prompt matrix")
        prompts = [read_infotext(t)[0] for t in info(matrix)["infotexts"][1:]]
        assert prompts == ["fox", "fox, red", "fox, running", "fox, red, running"]
        lines = server.txt2img(prompt="", script_name="prompts from file or textbox",
                               script_args=[False, False, "start", "one\n--prompt 'two three' --steps 2 --seed 9\n"])
        assert [read_infotext(t)[0] for t in info(lines)["infotexts"]] == ["one", "two three"]
        assert info(lines)["all_seeds"] == [7, 9]
        loop = server.img2img(init_images=[gradient()], script_name="Loopback", script_args=[2, 0.5, "Linear", "None"], steps=2)
        assert [size(i) for i in loop["images"]] == [(128, 64), (64, 64), (64, 64)] and info(loop)["all_seeds"] == [7, 8]
        large = server.img2img(init_images=[gradient()], script_name="SD upscale", script_args=["", 16, "Lanczos", 1.5], steps=2)
        assert [size(i) for i in large["images"]] == [(96, 96)]
        def outpaint(*args, **more):
            return server.img2img(init_images=[gradient()], width=128, height=128, steps=2, script_name="Outpainting mk2", script_args=["", *args], **more)
        start = pixels(gradient())[2]
        for sides, wanted, left, top in (["right"], (128, 64), 0, 0), (["left", "up"], (128, 128), 64, 64), ("down", (64, 128), 0, 0):
            picture = pixels(outpaint(64, 0, sides)["images"][0])
            assert picture[:2] == wanted
            assert all(picture[2][top + y][3 * left:3 * left + 192] == start[y] for y in range(64)), (sides, "what was there stays")
        several = outpaint(64, 8, ["right"], 1, 0.05, batch_size=2, n_iter=2)
        assert [size(i) for i in several["images"]] == [(256, 128)] + 4 * [(128, 64)] and info(several)["all_seeds"] == [7, 8, 9, 10]
        assert len(set(several["images"])) == 5
        for args, word in ((["sideways"], "direction"), ([], "no side"), (["left"], "larger")):
            status, answer = server.call("/sdapi/v1/img2img", {**SMALL, "init_images": [gradient()], "script_name": "outpainting mk2", "script_args": ["", 64, 8, args]})
            assert status == 422 and word in answer["detail"], answer
        for name, arguments in (("x/y/z plot", ["Steps", "abc"]), ("x/y/z plot", ["FP8 mode", "x"]), ("x/y/z plot", ["Seed", ""]),
                                ("x/y/z plot", ["Seed", "1-1000"]), ("prompt matrix", [False, False, "neither"])):
            status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, "script_name": name, "script_args": arguments})
            assert status == 422, (name, arguments, answer)


def test_styles_and_files(folder):
    with Studio(data=folder / "data") as server:
        formats = {"png": b"\x89PNG", "jpg": b"\xff\xd8\xff", "webp": b"RIFF"}
        for name, magic in formats.items():
            answer = server.txt2img(override_settings={"samples_format": name})
            assert base64.b64decode(answer["images"][0]).startswith(magic), name
        assert not list((folder / "data" / "outputs").rglob("*.png")), "nothing is kept unless asked"
        answer = server.txt2img(save_images=True, batch_size=2)
        assert len(answer["images"]) == 3 and size(answer["images"][0]) == (128, 64)  # the grid first
        assert info(answer)["index_of_first_image"] == 1
        kept = list((folder / "data").rglob("outputs/**/txt2img-images/**/*.png"))
        assert len(kept) == 2, kept
        assert png_texts(kept[0].read_bytes())["parameters"] in info(answer)["infotexts"]


def test_absurd_prompts_and_links(folder):
    """A device is not one user's for minutes; what is written can be read again, and lies below the outputs."""
    with Studio(data=folder / "data") as server:
        for prompt, says in (("(" * 30000, "chunks"), ("BREAK " * 3000, "chunks"), ("a AND " * 500 + "b", "AND"), ("x" * 300000, "262144 (prompt)"),
                             ("(" * 9000 + ")" * 9000, "chunks")):
            status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, "prompt": prompt})
            assert status == 400 and says in answer["detail"], (prompt[:9], status, answer)
        server.txt2img(prompt="a " * 1500, save_images=True)
        day = next((folder / "data/outputs/local/txt2img-images").iterdir())
        outside = folder / "outside"
        outside.mkdir()
        day.rename(folder / "moved")
        day.symlink_to(outside)
        for fields in ({}, {"script_name": "prompt matrix", "prompt": "a|b"}):
            status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, "save_images": True, **fields})
            assert status == 400 and "link" in answer["detail"], answer
        assert not list(outside.iterdir())
        day.unlink()
        server.txt2img(save_images=True)


def outputs(folder):
    root = folder / "data" / "outputs" / "local"
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_names_of_files(folder):
    """A1111's patterns, each user's own; nothing leads out of the outputs."""
    with Studio(data=folder / "data") as server:
        def saved(options, **fields):
            before = outputs(folder)
            server.txt2img(save_images=True, override_settings=options, **fields)
            return [name for name in outputs(folder) if name not in before]
        date = r"\d{4}-\d\d-\d\d"
        for options, fields, wanted in (
                ({}, {}, f"txt2img-images/{date}/00000-7.png"), ({}, {}, f"txt2img-images/{date}/00001-7.png"),
                ({"samples_filename_pattern": "[sampler]-[steps]-[prompt_words]", "directories_filename_pattern": "[model_name]/[width]x[height]"},
                 {}, "txt2img-images/mini/64x64/00000-Euler-1-a red fox.png"),
                ({"save_to_dirs": False}, {}, "txt2img-images/00000-7-a red fox.png"),
                ({"samples_filename_pattern": "[seed]", "save_images_add_number": False, "directories_filename_pattern": "bare"}, {},
                 "txt2img-images/bare/7.png"),
                ({"samples_filename_pattern": "[seed]", "save_images_add_number": False, "directories_filename_pattern": "bare"}, {},
                 "txt2img-images/bare/7-1.png"),
                ({"samples_filename_pattern": "[prompt]", "directories_filename_pattern": "../../[prompt_spaces]/.."},
                 {"prompt": "../../up"}, r"txt2img-images/_.._up/00000-_.._up.png"),
                ({"samples_format": "jpg", "directories_filename_pattern": "[datetime<%Y>]"}, {}, r"txt2img-images/\d{4}/00000-7.jpg")):
            names = saved(options, **fields)
            assert len(names) == 1 and re.fullmatch(wanted, names[0]), (options, names, wanted)
        outside = [p for p in (folder / "data").rglob("*.png") if "outputs/local/txt2img-images" not in str(p)]
        assert not outside, outside
        two = saved({"samples_filename_pattern": "[seed]-[batch_number]-[generation_number]", "directories_filename_pattern": "two"}, n_iter=2)
        assert [name for name in two if "/two/" in name and "images" in name] == [f"txt2img-images/two/0000{i}-{7 + i}-{i + 1}.png" for i in (0, 1)]
        assert not saved({"samples_save": False}) and not saved({}, do_not_save_samples=True)
        silent = saved({"enable_pnginfo": False, "directories_filename_pattern": "silent"})
        assert not png_texts((folder / "data/outputs/local" / silent[0]).read_bytes())
        shown = server.ok("/api/v1/gallery?limit=1")["pictures"][0]
        assert shown["file"].endswith(silent[0]) and server.status(shown["url"]) == 200


def test_grids(folder):
    with Studio(data=folder / "data") as server:
        def saved(**fields):
            before = outputs(folder)
            answer = server.txt2img(**{"save_images": True, **fields})
            return answer, [name for name in outputs(folder) if name not in before and "grids" in name]
        answer, names = saved(batch_size=2)
        assert len(names) == 1 and re.fullmatch(r"txt2img-grids/\d{4}-\d\d-\d\d/grid-0000\.png", names[0]), names
        assert len(answer["images"]) == 3
        file = (folder / "data/outputs/local" / names[0]).read_bytes()
        assert png_texts(file)["parameters"] == info(answer)["infotexts"][0]
        assert pixels(base64.b64encode(file).decode())[2] == pixels(answer["images"][0])[2]
        row = [p for p in server.ok("/api/v1/gallery")["pictures"] if p["role"] == "grid"]
        assert len(row) == 1 and (row[0]["width"], row[0]["height"]) == (128, 64)
        for options, fields, count, wanted in (
                ({"return_grid": False}, {}, 2, "grid-0001.png"), ({"grid_save": False}, {}, 3, None), ({}, {"do_not_save_grid": True}, 2, None),
                ({"grid_format": "jpg", "grid_save_to_dirs": False}, {}, 3, "txt2img-grids/grid-0000.jpg"),
                ({"grid_extended_filename": True}, {}, 3, "grid-0002-7.png"), ({}, {"save_images": False}, 2, None)):
            answer, names = saved(batch_size=2, override_settings=options, **fields)
            assert len(answer["images"]) == count and (names[0].endswith(wanted) if wanted else not names), (options, fields, names)
        single, names = saved(override_settings={"grid_only_if_multiple": False})
        assert len(single["images"]) == 2 and len(names) == 1
        rows = saved(batch_size=3, override_settings={"n_rows": 3})[0]
        assert size(rows["images"][0]) == (64, 192)
        even = saved(batch_size=3, override_settings={"grid_prevent_empty_spots": True})[0]
        assert size(even["images"][0]) == (192, 64)
        jpeg = server.txt2img(script_name="prompt matrix", prompt="a|b", save_images=True, override_settings={"samples_format": "jpg"})
        assert all(base64.b64decode(i).startswith(b"\xff\xd8") for i in jpeg["images"]) and len(jpeg["images"]) == 3
        assert any("prompt_matrix-0000-7.png" in name for name in outputs(folder))
        large = server.img2img(init_images=[gradient()], script_name="SD upscale", script_args=["", 16, "Lanczos", 1.5], steps=2, save_images=True)
        kept = [name for name in outputs(folder) if name.startswith("img2img-images")]
        assert len(kept) == 1 and re.search(r"/00000-7\.png$", kept[0]), kept
        assert pixels(base64.b64encode((folder / "data/outputs/local" / kept[0]).read_bytes()).decode())[2] == pixels(large["images"][0])[2]


def test_plot(folder):
    """X/Y/Z: three axes, every kind of axis, layout, legend, margins, infotexts, files."""
    with Studio(data=folder / "data") as server:
        server.ok("/api/v1/documents/styles", {"styles": [{"name": "Ink", "prompt": "ink", "negative_prompt": ""},
                                                           {"name": "Old", "prompt": "", "negative_prompt": "new"}]}, method="PUT")

        def plot(*axes, tail=(False, True), hires=False, **fields):
            words = [w for kind, values in axes for w in (kind, values, None)] + [0, "", None] * (3 - len(axes))
            if hires:
                fields = {"enable_hr": True, "hr_scale": 1, "hr_second_pass_steps": 1, "denoising_strength": 0.5, **fields}
            return server.txt2img(script_name="X/Y/Z plot", script_args=[*words, *tail], **fields)

        def settings(answer):
            return [read_infotext(t) for t in info(answer)["infotexts"]]
        for kind, values, key, wanted, hires in (
                ("Seed", "4,9", "Seed", ["4", "9"], False), ("Steps", "1-2", "Steps", ["1", "2"], False),
                ("CFG Scale", "2,3.5", "CFG scale", ["2.0", "3.5"], False), ("Sampler", "Euler a,DDIM", "Sampler", ["Euler a", "DDIM"], False),
                ("Schedule type", "Karras,Simple", "Schedule type", ["Karras", "Simple"], False),
                ("Checkpoint name", "mini,mini", "Model", ["mini", "mini"], False), ("Size", "64x64,96x64", "Size", ["64x64", "96x64"], False),
                ("Clip skip", "1,2", "Clip skip", [None, "2"], False), ("Var. seed", "4,9", "Variation seed", ["4", "9"], False),
                ("Eta", "0,0.5", "Eta", ["0.0", "0.5"], False), ("Sigma Churn", "1,2", "Sigma churn", ["1.0", "2.0"], False),
                ("RNG source", "CPU,NV", "RNG", ["CPU", "NV"], False), ("Denoising", "0.3,0.6", "Denoising strength", ["0.3", "0.6"], True),
                ("Hires upscaler", "Lanczos,Latent (nearest)", "Hires upscaler", ["Lanczos", "Latent (nearest)"], True),
                ("Hires steps", "1,2", "Hires steps", ["1", "2"], True), ("Hires sampler", "Euler a,Heun", "Hires sampler", ["Euler a", "Heun"], True)):
            fields = {"subseed_strength": 0.5} if kind == "Var. seed" else {"sampler_name": "Euler a"} if kind == "Eta" else {}
            answer = plot((kind, values), hires=hires, **fields)
            found = [v.get(key) for _, _, v in settings(answer)[1:]]
            assert found == wanted, (kind, found)
            grid = settings(answer)[0][2]
            assert (grid["Script"], grid["X Type"], grid["X Values"]) == ("X/Y/Z plot", kind, values), grid
        order = plot(("Prompt order", "red,fox"))
        assert [p for p, _, _ in settings(order)[1:]] == ["a red fox", "a fox red"]
        words = plot(("Prompt S/R", 'fox,"cat, old",dog'))
        assert [p for p, _, _ in settings(words)[1:]] == ["a red fox", "a red cat, old", "a red dog"]
        styles = plot(("Styles", 'Ink,"Ink,Old"'))
        assert [(p, n) for p, n, _ in settings(styles)[1:]] == [("a red fox, ink", ""), ("a red fox, ink", "new")]
        assert plot(("VAE", "None,Automatic"))["images"]

        three = plot(("Seed", "-1,2"), ("Steps", "1,2"), ("CFG Scale", "3,4"), tail=(False, True, True, False, False, False, False, 6), save_images=True)
        assert [size(i) for i in three["images"][:3]] == [(2 * (2 * 64 + 6) + 6, 2 * 64 + 6), (134, 134), (134, 134)]
        assert len(three["images"]) == 3 + 8 and info(three)["index_of_first_image"] == 3
        cells = [pixels(i) for i in three["images"][3:]]
        whole = pixels(three["images"][0])[2]
        for i, (_, _, rows) in enumerate(cells):
            x, y, z = i % 2, i // 2 % 2, i // 4
            left, top = z * 140 + x * 70, y * 70
            assert all(whole[top + r][3 * left:3 * (left + 64)] == rows[r] for r in (0, 31, 63)), (i, x, y, z)
        texts = settings(three)
        main, layer = texts[0][2], texts[2][2]
        assert main["Z Type"] == "CFG Scale" and "Z Type" not in layer and layer["CFG scale"] == "4.0" and layer["Y Values"] == "1,2"
        fixed = main["Fixed X Values"].split(", ")
        assert fixed[1] == "2" and fixed[0] != "-1" and texts[3][2]["Seed"] == fixed[0] and main["X Values"] == "-1,2"
        names = [n for n in outputs(folder) if "grids" in n]
        assert [re.sub(r".*/", "", n) for n in names] == [f"xyz_grid-000{i}-{fixed[0]}.png" for i in range(3)], names
        assert len([n for n in outputs(folder) if "images" in n]) == 8
        bare, legend = plot(("Steps", "1,2"), tail=(False,)), plot(("Steps", "1,2"), ("CFG Scale", "2"), tail=(True,))
        width, height, rows = pixels(legend["images"][0])
        assert size(bare["images"][0]) == (128, 64) and width == 48 + 128 and height > 64
        assert any(v < 100 for row in rows[:height - 64] for v in row), "words over the columns"
        assert any(v < 100 for row in rows[height - 64:] for v in row[:3 * 48]), "words beside the row"
        dropped = server.txt2img(script_name="X/Y/Z plot", script_args=["Sampler", "", ["Euler", "DDIM"], 0, "", None, 0, "", None, False, True])
        assert [v["Sampler"] for _, _, v in settings(dropped)[1:]] == ["Euler", "DDIM"]
        varied = plot(("CFG Scale", "2,3"), ("Steps", "1,2"), tail=(False, True, False, False, True, True))
        assert info(varied)["all_seeds"] == [7, 8, 9, 10]
        status, answer = server.call("/sdapi/v1/txt2img", {**SMALL, "width": 2048, "height": 2048, "script_name": "X/Y/Z plot",
                                                            "script_args": ["Seed", "1-100"]})
        assert status == 422 and "megapixels" in answer["detail"]


def test_extras(_):
    with Studio() as server:
        def single(**fields):
            return server.ok("/sdapi/v1/extra-single-image", {"image": gradient(40, 20), **fields})
        assert size(single(upscaler_1="Lanczos", upscaling_resize=2.5)["image"]) == (100, 50)
        assert size(single(upscaler_1="Nearest")["image"]) == (80, 40)
        to_size = {"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 60, "upscaling_resize_h": 60}
        assert size(single(**to_size)["image"]) == (60, 60)
        assert size(single(**to_size, upscaling_crop=False)["image"]) == (120, 60)
        assert single(upscaler_1="Lanczos", show_extras_results=False)["image"] is None
        assert pixels(single()["image"])[2] == pixels(gradient(40, 20))[2]  # no upscaler
        batch = server.ok("/sdapi/v1/extra-batch-images", {"upscaler_1": "Lanczos", "imageList": [
            {"data": gradient(16, 16), "name": "a"}, {"data": gradient(8, 8), "name": "b"}]})
        assert [size(i) for i in batch["images"]] == [(32, 32), (16, 16)]
        assert server.call("/sdapi/v1/extra-single-image", {"image": gradient(), "upscaler_1": "no such"})[0] == 404
        assert server.call("/sdapi/v1/extra-batch-images", {"imageList": ["x"]})[0] == 422
        # the file says what it said before, and apart from it how it was enlarged
        drawn = server.txt2img(prompt="Postprocess upscale by: 3.0, <b>")
        for fields, done in ({"upscaler_1": "Lanczos"}, "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos"), (
                {**to_size, "upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.5},
                "Postprocess upscale to: 60x60, Postprocess upscaler: Lanczos, Postprocess upscaler 2: Nearest"), ({}, ""):
            answer = server.ok("/sdapi/v1/extra-single-image", {"image": drawn["images"][0], **fields})
            assert answer["html_info"] == f"<p>{done}</p>", answer["html_info"]
            texts = png_texts(base64.b64decode(answer["image"]))
            assert texts == {"parameters": info(drawn)["infotexts"][0], **({"postprocessing": done} if done else {})}, texts
            told = server.ok("/sdapi/v1/png-info", {"image": answer["image"]})
            assert told["info"] == info(drawn)["infotexts"][0] and told["items"] == ({"postprocessing": done} if done else {})
        assert png_texts(base64.b64decode(single(upscaler_1="Nearest")["image"])) == {"postprocessing": "Postprocess upscale by: 2.0, Postprocess upscaler: Nearest"}


def test_what_png_info_and_info_say(_):
    """Types and defaults as A1111 has them."""
    with Studio() as server:
        answer = server.txt2img(enable_hr=True, hr_resize_x=128, hr_resize_y=96, hr_upscaler="Lanczos", hr_prompt="7", hr_second_pass_steps=2,
                                denoising_strength=0.5, cfg_scale=1, negative_prompt="blue")
        extra = info(answer)["extra_generation_params"]
        assert (extra["Hires prompt"], extra["Hires resize"], extra["Hires steps"], extra["Denoising strength"]) == ("7", "128x96", 2, 0.5), extra
        assert info(answer)["all_negative_prompts"] == ["blue"], "said though guidance is off"
        told = server.ok("/sdapi/v1/png-info", {"image": answer["images"][0]})["parameters"]
        assert (told["Hires resize-1"], told["Hires resize-2"], told["Hires steps"]) == ("128", "96", "2"), told
        assert (told["Mask mode"], told["Masked area padding"], told["Hires sampler"]) == ("Inpaint masked", 32, "Use same sampler")
        plain = server.ok("/sdapi/v1/png-info", {"image": server.txt2img()["images"][0]})["parameters"]
        assert (plain["Hires resize-1"], plain["Clip skip"], plain["RNG"], plain["Refiner switch by sampling steps"]) == (0, "1", "NV", False)
        assert server.ok("/sdapi/v1/options")["sd_checkpoint_hash"] == ""


def start(server, **fields):
    """A request in the background: its thread and the answer to come."""
    answer = {}

    def run():
        answer["status"], answer["json"] = server.call("/sdapi/v1/txt2img", {**SMALL, "sampler_name": "Euler a", **fields})
    thread = threading.Thread(target=run)
    thread.start()
    return thread, answer


def test_progress_and_interrupt(_):
    with Studio() as server:
        server.ok("/sdapi/v1/options", {"show_progress_every_n_steps": 1})
        thread, answer = start(server, steps=400, width=128, height=128, force_task_id="long one")
        busy = eventually(lambda: (lambda p: p if p["state"]["sampling_step"] > 2 else None)(server.ok("/sdapi/v1/progress")),
                          "the job runs")
        assert 0 < busy["progress"] <= 1 and busy["state"]["job_count"] == 1 and busy["state"]["sampling_steps"] == 400
        assert busy["current_task"] == "long one" and busy["eta_relative"] >= 0
        eventually(lambda: server.ok("/sdapi/v1/progress?id_task=long%20one")["current_image"], "a preview")
        page = server.ok("/internal/progress", {"id_task": "long one"})
        assert page["active"] and page["progress"] > 0
        assert server.ok("/sdapi/v1/progress?id_task=other")["state"]["job_count"] == 0
        waiting, second = start(server, steps=1)
        began = time.monotonic()
        assert server.call("/sdapi/v1/interrupt", method="POST") == (200, {})
        thread.join(30)
        assert time.monotonic() - began < 20 and answer["status"] == 200 and len(answer["json"]["images"]) == 1
        waiting.join(30)
        assert second["status"] == 200, "only what ran was interrupted"
        eventually(lambda: server.ok("/sdapi/v1/progress")["state"]["job_count"] == 0, "nothing runs")
        thread, answer = start(server, steps=300, n_iter=2, width=128, height=128)
        eventually(lambda: server.ok("/sdapi/v1/progress")["state"]["sampling_step"] > 2, "the batch runs")
        server.call("/sdapi/v1/skip", method="POST")
        server.call("/sdapi/v1/skip", method="POST")
        eventually(lambda: server.ok("/sdapi/v1/progress")["state"]["job_no"] == 1 or not thread.is_alive(), "the next batch")
        server.call("/sdapi/v1/interrupt", method="POST")
        thread.join(30)
        assert answer["status"] == 200


def test_others_jobs_are_safe(folder):
    (folder / "users").write_text("anna:secret\nbert:other\n")

    def basic(name, password):
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    anna, bert = basic("anna", "secret"), basic("bert", "other")
    with Studio("--users", folder / "users") as server:
        answer = {}

        def run():
            fields = {**SMALL, "steps": 60, "width": 128, "height": 128, "force_task_id": "mine", "prompt": "private"}
            answer["got"] = server.call("/sdapi/v1/txt2img", fields, anna)
        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: server.ok("/sdapi/v1/progress", headers=anna)["state"]["sampling_step"] > 1, "it runs")
        seen = server.ok("/sdapi/v1/progress", headers=bert)
        assert "private" not in json.dumps(seen) and "mine" not in json.dumps(seen) and seen["current_image"] is None
        assert server.ok("/sdapi/v1/progress?id_task=mine", headers=bert)["state"]["job_count"] == 0
        for path in ("interrupt", "skip", "interrupt?id_task=mine"):
            server.call("/sdapi/v1/" + path, headers=bert, method="POST")
        thread.join(60)
        assert answer["got"][0] == 200 and info(answer["got"][1])["steps"] == 60
        alone = server.ok("/sdapi/v1/txt2img", {**SMALL, "steps": 60, "width": 128, "height": 128, "prompt": "private"}, headers=bert)
        assert pixels(alone["images"][0])[2] == pixels(answer["got"][1]["images"][0])[2]


def test_stop(folder):
    """Who waits is told, the job stays and is drawn after the next start."""
    with Studio(data=folder / "data") as server:
        thread, answer = start(server, steps=400, width=128, height=128, force_task_id="kept", save_images=True)
        eventually(lambda: server.ok("/sdapi/v1/progress")["state"]["sampling_step"] > 2, "the job runs")
        server.process.terminate()
        thread.join(20)
        assert server.process.wait(20) == 0
        assert answer["status"] == 503 and "stopping" in answer["json"]["detail"], answer
    with Studio(data=folder / "data") as server:
        again = eventually(lambda: (lambda p: p if p["state"]["sampling_step"] > 0 else None)(
            server.ok("/sdapi/v1/progress?id_task=kept")), "the job goes on")
        assert again["current_task"] == "kept"
        server.call("/sdapi/v1/interrupt", method="POST")


def test_client_that_leaves(_):
    """Its job is taken back while it has not begun; one that runs goes on."""
    with Studio() as server:
        thread, answer = start(server, steps=150, width=128, height=128)
        eventually(lambda: server.ok("/sdapi/v1/progress")["state"]["sampling_step"] > 1, "the first job runs")
        body = json.dumps({**SMALL, "force_task_id": "left"}).encode()
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(b"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(body) + body)
            eventually(lambda: "left" in server.ok("/internal/pending-tasks")["tasks"], "the second job waits")
        eventually(lambda: server.ok("/internal/pending-tasks")["size"] == 0, "it is taken back")
        server.call("/sdapi/v1/interrupt", method="POST")
        thread.join(30)
        assert answer["status"] == 200


if __name__ == "__main__":
    run_tests(globals())
