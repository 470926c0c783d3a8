"""LoRAs, embeddings, ControlNets and the rest of what steers a picture, through the command line."""
import base64
import json
import shutil
import struct

from common import (FAST, MINI, MODEL, REFERENCE, copy_model, difference, draw, json_lines, make_picture, make_refiner, read_png,
                    read_safetensors, refuse, reverie, run_tests, write_png, write_safetensors)

LORA = MODEL / "lora.safetensors"


def library(folder):
    """A models folder with the reference LoRA under a name."""
    (folder / "models" / "Lora").mkdir(parents=True)
    shutil.copy(LORA, folder / "models" / "Lora" / "style.safetensors")
    return ["--models", folder / "models"]


def test_lora(folder):
    models = library(folder)
    plain = draw(folder / "plain.png")[2]
    path = draw(folder / "a.png", "--lora", f"{LORA}:0.8")
    named = draw(folder / "b.png", "--lora", "style:0.8", *models)
    base = [word if word != "a red fox" else "a red fox<lora:style:0.8>" for word in FAST]
    tagged = draw(folder / "c.png", *models, base=base)
    assert path[2] != plain and path[2] == named[2] == tagged[2], "path, name and tag are one"
    assert draw(folder / "d.png", "--lora", f"{LORA}:0")[2] == plain, "a weight of nothing"
    twice = draw(folder / "e.png", "--lora", f"{LORA}:0.5", "--lora", f"{LORA}:0.3")[2]
    assert difference(twice, path[2])[1] <= 1, "two halves make a whole"
    assert draw(folder / "f.png", "--lora", f"{LORA}:1:0.8")[2] == path[2], "this one has nothing for the text encoder"
    assert 'Lora hashes: "style: ' in named[3]["parameters"] and "<lora:style:0.8>" in tagged[3]["parameters"]
    assert "Lora hashes" not in read_png(folder / "plain.png")[3]["parameters"]


def test_lora_errors(folder):
    models = library(folder)
    run = ["txt2img", *FAST, "-o", folder / "x.png"]
    refuse(folder, 3, *run, "--lora", "nowhere:0.5", says=["nowhere", "no LoRA"])
    refuse(folder, 2, *run, "--lora", "style:big", *models, says="--lora")
    refuse(folder, 3, *run, "--lora", MODEL / "unet" / "diffusion_pytorch_model.safetensors", says="no adapter")
    refuse(folder, 3, *run, "--lora", MODEL / "unet" / "config.json", says="config.json")
    (folder / "cut.safetensors").write_bytes(LORA.read_bytes()[:5000])
    refuse(folder, 3, *run, "--lora", folder / "cut.safetensors", says="cut.safetensors")
    xl = ["txt2img", *FAST, "--model", REFERENCE / "tiny-sdxl", "-o", folder / "x.png"]
    refuse(folder, 3, *xl, "--lora", LORA, says="does not fit this model")
    words = [word if word != "a red fox" else "fox <lora:nowhere:1> <hypernet:x:1>" for word in FAST]
    said = reverie("txt2img", *words, *models, "-o", folder / "x.png").error
    assert 'there is no LoRA "nowhere"' in said and "<hypernet:x>" in said, said


def test_lora_info(folder):
    info, = json_lines(reverie("models", "info", LORA, "--json"))
    assert info["family"] == "lora" and info["variant"] == "LoRA" and info["rank"] == 4 and info["modules"] == 185, info
    assert len(info["hash"]) == 12 and b"rank        4" in reverie("models", "info", LORA).stdout


NET = MODEL / "controlnet"
POSE = {"people": [{"pose_keypoints_2d": [32, 20, 1] * 9 + [40, 50, 1] * 9}], "canvas_width": 64, "canvas_height": 64}


def test_controlnet(folder):
    make_picture(folder / "map.png")
    (folder / "pose.json").write_text(json.dumps(POSE))
    plain = draw(folder / "plain.png")[2]
    steered = draw(folder / "a.png", "--controlnet", f"{NET}:{folder}/map.png:0.7")
    assert steered[2] != plain
    assert 'ControlNet 0: "Module: none, Model: controlnet [' in steered[3]["parameters"], steered[3]["parameters"]
    assert "Weight: 0.7" in steered[3]["parameters"] and "Control Mode: Balanced" in steered[3]["parameters"]
    assert draw(folder / "b.png", "--controlnet", f"{NET}:{folder}/map.png:0")[2] == plain, "a weight of nothing"
    assert draw(folder / "c.png", "--controlnet", f"{NET}:{folder}/map.png:0.7:0:0.2")[2] not in (plain, steered[2])
    others = [draw(folder / f"{i}.png", "--controlnet", f"{NET}:{folder}/map.png:0.7", *more)[2]
              for i, more in enumerate((["--control-module", "canny"], ["--control-mode", "prompt"], ["--control-mode", "control"]))]
    others.append(draw(folder / "pose.png", "--controlnet", f"{NET}:{folder}/pose.json:0.7", "--control-module", "openpose")[2])
    others.append(draw(folder / "two.png", "--controlnet", f"{NET}:{folder}/map.png:0.7", "--controlnet", f"{NET}:{folder}/pose.json")[2])
    assert len(set(others + [plain, steered[2]])) == 7
    batch = draw(folder / "n.png", "--controlnet", f"{NET}:{folder}/map.png:0.7", "--lora", f"{LORA}:0.4")[2]
    assert batch not in others


def test_controlnet_errors(folder):
    make_picture(folder / "map.png")
    (folder / "pose.json").write_text('{"people": 7}')
    run = ["txt2img", *FAST, "-o", folder / "x.png", "--controlnet"]
    refuse(folder, 2, *run, NET, says="MODEL:IMAGE")
    refuse(folder, 2, *run, f"{NET}:{folder}/map.png:much", says="cannot be read")
    refuse(folder, 2, *run, f"{NET}:{folder}/map.png:1:0.8:0.2", says="no range")
    refuse(folder, 3, *run, f"{NET}:{folder}/none.png", says="none.png")
    refuse(folder, 3, *run, f"{NET}:{folder}/pose.json", says="poses")
    refuse(folder, 3, *run, f"nowhere:{folder}/map.png", says="no ControlNet of that name")
    refuse(folder, 3, *run, f"{LORA}:{folder}/map.png")
    refuse(folder, 2, *run, f"{NET}:{folder}/map.png", "--control-module", "depth", says="no such preprocessor")
    refuse(folder, 2, *run, f"{NET}:{folder}/map.png", "--control-mode", "strong", says="--control-mode")
    xl = ["txt2img", *FAST, "--model", REFERENCE / "tiny-sdxl", "-o", folder / "x.png", "--controlnet"]
    refuse(folder, 3, *xl, f"{NET}:{folder}/map.png", says="does not fit the model")


def token_rows(model, part, text):
    """The embedding table's rows of a text's tokens, as float16 bytes, and their width."""
    header, body = read_safetensors(model / part / "model.safetensors")
    ids = json.loads(reverie("tokenize", "--model", model, "-p", text, "--json").stdout)["ids"]
    table = header["text_model.embeddings.token_embedding.weight"]
    width, start = table["shape"][1], table["data_offsets"][0]
    words = [i for i in ids if i < max(ids) - 1]
    return b"".join(body[start + 2 * width * i:start + 2 * width * (i + 1)] for i in words), len(words), width


def tensors(path, **parts):
    header, body = {}, b""
    for name, (rows, count, width) in parts.items():
        header[name] = {"dtype": "F16", "shape": [count, width], "data_offsets": [len(body), len(body) + len(rows)]}
        body += rows
    write_safetensors(path, header, body)


def say(words, base=FAST):
    return [word if word != "a red fox" else words for word in base]


def test_embedding(folder):
    """An embedding that holds the vectors of words draws what the words draw."""
    rows = token_rows(MODEL, "text_encoder", "red fox")
    tensors(folder / "Concept-X.safetensors", emb_params=rows)
    tensors(folder / "other.safetensors", **{"<a-concept>": rows})
    want = draw(folder / "want.png", base=say("(a:1.3) photo of red fox, blue"))
    for name in "Concept-X", "other":
        got = draw(folder / "got.png", "--embedding", folder / f"{name}.safetensors", base=say(f"(a:1.3) photo of {name}, blue"))
        assert difference(got[2], want[2])[1] <= 1, name
        assert f'TI hashes: "{name}: ' in got[3]["parameters"], got[3]["parameters"]
    plain = draw(folder / "plain.png", base=say("(a:1.3) photo of Concept-X, blue"))
    assert plain[2] != want[2] and "TI hashes" not in plain[3]["parameters"]
    (folder / "models" / "embeddings" / "mine").mkdir(parents=True)
    shutil.copy(folder / "Concept-X.safetensors", folder / "models" / "embeddings" / "mine" / "Concept-X.safetensors")
    found = draw(folder / "found.png", "--models", folder / "models", base=say("(a:1.3) photo of CONCEPT-X, blue"))
    assert found[2] == draw(folder / "a.png", "--embedding", folder / "Concept-X.safetensors", base=say("(a:1.3) photo of concept-x, blue"))[2]
    reference = draw(folder / "r.png", "--embedding", MODEL / "embedding.safetensors", base=say("an embedding of a fox"))
    assert reference[2] != draw(folder / "s.png", base=say("an embedding of a fox"))[2]


def test_embedding_of_two_encoders(folder):
    model = REFERENCE / "tiny-sdxl"
    base = ["--model", model, "--steps", 2, "--width", 64, "--height", 64, "--seed", 7, "--threads", 1, "-p", "a red fox"]
    tensors(folder / "thing.safetensors", clip_l=token_rows(model, "text_encoder", "red fox"),
            clip_g=token_rows(model, "text_encoder_2", "red fox"))
    want = draw(folder / "want.png", base=base)
    got = draw(folder / "got.png", "--embedding", folder / "thing.safetensors", base=say("a thing", base))
    assert difference(got[2], want[2])[1] <= 1
    tensors(folder / "half.safetensors", clip_l=token_rows(model, "text_encoder", "red fox"))
    said = reverie("txt2img", *say("a half", base), "--embedding", folder / "half.safetensors", "-o", folder / "x.png").error
    assert 'the embedding "half" was made for another family' in said, said


def test_embedding_errors(folder):
    run = ["txt2img", *FAST, "-o", folder / "x.png", "--embedding"]
    (folder / "evil.pt").write_bytes(b"PK\3\4")
    refuse(folder, 3, *run, folder / "evil.pt", says="pickle")
    refuse(folder, 3, *run, folder / "none.safetensors")
    (folder / "empty").mkdir()
    refuse(folder, 3, *run, folder / "empty", says="no embedding in this folder")
    refuse(folder, 3, *run, LORA, says="no embedding")
    tensors(folder / "wide.safetensors", a=(b"\0\0" * 768, 1, 768))
    said = reverie("txt2img", *say("a wide fox"), "-o", folder / "x.png", "--embedding", folder / "wide.safetensors").error
    assert "768 wide, not 128" in said, said


def test_embedding_in_a_picture(folder):
    rows, count, width = token_rows(MODEL, "text_encoder", "red fox")
    numbers = struct.unpack(f"<{count * width}e", rows)
    lists = [list(numbers[i * width:(i + 1) * width]) for i in range(count)]
    text = base64.b64encode(json.dumps({"name": "x", "string_to_param": {"*": {"TORCHTENSOR": lists}}}).encode()).decode()
    write_png(folder / "card.png", 4, 4, bytes(48), texts=[("sd-ti-embedding", text)])
    want = draw(folder / "want.png", base=say("photo of red fox"))
    got = draw(folder / "got.png", "--embedding", folder / "card.png", base=say("photo of card"))
    assert difference(got[2], want[2])[1] <= 1
    make_picture(folder / "plain.png")
    refuse(folder, 3, "txt2img", *FAST, "-o", folder / "x.png", "--embedding", folder / "plain.png", says="sd-ti-embedding")


def test_hires(folder):
    small = draw(folder / "small.png")
    for upscaler in "Latent", "Latent (bicubic antialiased)", "Lanczos":
        width, height, pixels, texts = draw(folder / "a.png", "--hires-scale", 1.5, "--hires-upscaler", upscaler, "--hires-steps", 3)
        assert (width, height) == (96, 96) and len(set(pixels)) > 50
        text = texts["parameters"]
        assert "Size: 64x64" in text and "Denoising strength: 0.7" in text and "Hires upscale: 1.5" in text
        assert "Hires steps: 3" in text and f"Hires upscaler: {upscaler}" in text, text
    first = draw(folder / "b.png", "--hires-width", 128, "--hires-height", 64, "--hires-strength", 0.4)
    assert first[:2] == (128, 64) and "Hires resize: 128x64" in first[3]["parameters"]
    # a second pass that hardly changes anything is the first picture, enlarged
    from_small = draw(folder / "c.png", "--hires-scale", 1, "--hires-steps", 1, "--hires-strength", 0.001)
    assert difference(from_small[2], small[2])[0] < 3, difference(from_small[2], small[2])
    run = ["txt2img", *FAST, "-o", folder / "x.png"]
    refuse(folder, 2, *run, "--hires-scale", 20, says="--hires-scale")
    refuse(folder, 2, *run, "--hires-steps", 3, says="--hires-scale")
    refuse(folder, 3, *run, "--hires-scale", 2, "--hires-upscaler", "Nothing", says="no upscaler of that name")


def test_refiner(folder):
    """SDXL's refiner as a model of its own shape: with weights that should not matter it continues what the base would do."""
    models = make_refiner(folder)
    run = ["--model", models["base"], "--steps", 4, "--width", 64, "--height", 64, "--seed", 7, "--sampler", "euler", "--threads", 1,
           "-p", "a (red:1.3) fox, [day:night:0.5]", "-n", "blue"]
    info, = json_lines(reverie("models", "info", models["refiner"], "--json"))
    assert info["family"] == "sdxl" and info["variant"] == "refiner" and not info["missing"], info
    for cfg in 1, 5:
        plain = draw(folder / "plain.png", "--cfg", cfg, base=run)
        same = draw(folder / "same.png", "--cfg", cfg, "--refiner", f"{models['refiner']}:0.5", base=run)
        assert difference(same[2], plain[2])[1] <= 1, (cfg, difference(same[2], plain[2]))
        assert "Refiner: refiner, Refiner switch at: 0.5" in same[3]["parameters"] and "Refiner" not in plain[3]["parameters"]
        scored = draw(folder / "scored.png", "--cfg", cfg, "--refiner", f"{models['scored']}:0.5", base=run)
        assert difference(scored[2], plain[2])[1] > 1
        late = draw(folder / "late.png", "--cfg", cfg, "--refiner", f"{models['scored']}:1", base=run)
        assert late[2] == plain[2] and "Refiner" not in late[3]["parameters"], "it never took over"
    # as one file its keys say what it is
    reverie("models", "convert", models["scored"], "-o", folder / "one.safetensors", "--precision", "fp16")
    keys = read_safetensors(folder / "one.safetensors")[0]
    assert any(key.startswith("conditioner.embedders.0.model.") for key in keys) and "conditioner.embedders.1.model.ln_final.weight" not in keys
    shutil.copytree(models["scored"], folder / "one")  # head counts that no shape tells
    single = draw(folder / "single.png", "--cfg", 5, "--refiner", f"{folder / 'one.safetensors'}:0.5", base=run)
    assert difference(single[2], scored[2])[1] <= 1, difference(single[2], scored[2])
    refuse(folder, 3, "txt2img", *run, "--model", models["refiner"], "-o", folder / "x.png", says="refiner")
    refuse(folder, 2, "txt2img", *FAST, "--refiner", models["refiner"], "-o", folder / "x.png", says="latents are not those")
    refuse(folder, 2, "txt2img", *run, "--refiner", f"{models['refiner']}:1.5", "-o", folder / "x.png", says="1.5")
    refuse(folder, 3, "txt2img", *run, "--refiner", "nowhere:0.5", "-o", folder / "x.png", says="nowhere")


def make_lora(path, model, rank=4):
    """For each of the named layers an adapter that is heard; one of a layer that the refiner has in another shape says nothing."""
    header, body, state = {}, b"", 1
    for part, file, prefix, ends in (("unet", "diffusion_pytorch_model", "unet", ("attn1.to_q.weight", "attn2.to_k.weight")),
                                     ("text_encoder_2", "model", "text_encoder_2", ("q_proj.weight", "fc1.weight"))):
        for name, value in read_safetensors(model / part / f"{file}.safetensors")[0].items():
            if not name.endswith(ends):
                continue
            out, inputs = value["shape"]
            loud = 0 if name.endswith("attn2.to_k.weight") else 0.25
            for matrix, shape in ("lora_A", [rank, inputs]), ("lora_B", [out, rank]):
                values = []
                for _ in range(shape[0] * shape[1]):
                    state = state * 1103515245 + 12345 & 0x7fffffff
                    values.append(((state >> 16) / 16384 - 1) * (loud if matrix == "lora_B" else 1))
                header[f"{prefix}.{name.removesuffix('.weight')}.{matrix}.weight"] = {
                    "dtype": "F16", "shape": shape, "data_offsets": [len(body), len(body) + 2 * len(values)]}
                body += struct.pack(f"<{len(values)}e", *values)
    write_safetensors(path, header, body)
    return path


def test_lora_and_refiner(folder):
    """SDXL's refiner takes what fits it of a LoRA that was made for the base: it goes on as the base would."""
    models = make_refiner(folder)
    lora = make_lora(folder / "style.safetensors", models["base"])
    run = ["--model", models["base"], "--steps", 4, "--width", 64, "--height", 64, "--seed", 7, "--sampler", "euler", "--threads", 1,
           "-p", "a red fox", "-n", "blue", "--cfg", 5]
    plain, loud = (draw(folder / "a.png", *more, base=run)[2] for more in ([], ["--lora", f"{lora}:0.8"]))
    same = draw(folder / "b.png", "--lora", f"{lora}:0.8", "--refiner", f"{models['refiner']}:0.5", base=run)
    assert difference(same[2], loud)[1] <= 1 < difference(plain, loud)[1], (difference(same[2], loud), difference(plain, loud))
    assert 'Lora hashes: "style: ' in same[3]["parameters"]
    other = draw(folder / "c.png", "--lora", f"{lora}:0", "--refiner", f"{models['refiner']}:0.5", base=run)
    assert difference(other[2], plain)[1] <= 1, "a weight of nothing"


def test_refiner_of_the_same_family(folder):
    """Any checkpoint of the same latent space; one that is the model itself changes nothing."""
    plain = draw(folder / "plain.png", "--steps", 4)
    other = copy_model(MODEL, folder / "other")
    assert draw(folder / "a.png", "--steps", 4, "--refiner", f"{other}:0.5")[2] == plain[2]
    file = other / "unet" / "diffusion_pytorch_model.safetensors"
    header, body = read_safetensors(file)
    start, end = header["conv_out.weight"]["data_offsets"]
    base = len(body)
    body[start:end] = bytes(end - start)  # it says nothing but its bias
    write_safetensors(file, header, body)
    assert len(body) == base
    halves = [draw(folder / f"{at}.png", "--steps", 4, "--refiner", f"{other}:{at}")[2] for at in (0, 0.3, 0.6)]
    assert len({plain[2], *halves}) == 4
    assert halves[0] == draw(folder / "b.png", "--steps", 4, "--model", other)[2], "from the first step on"
    lora = draw(folder / "c.png", "--steps", 4, "--refiner", f"{copy_model(MODEL, folder / 'third')}:0.5", "--lora", f"{LORA}:0.8")
    assert lora[2] == draw(folder / "d.png", "--steps", 4, "--lora", f"{LORA}:0.8")[2], "LoRAs are merged into both"


def seam(rows, width, height):
    """How the edges differ, against the most that neighbouring rows or columns do inside."""
    lines = [rows[3 * width * y:3 * width * (y + 1)] for y in range(height)]
    columns = [b"".join(line[3 * x:3 * x + 3] for line in lines) for x in range(width)]
    return [difference(all_[0], all_[-1])[0] / max(difference(a, b)[0] for a, b in zip(all_, all_[1:])) for all_ in (lines, columns)]


def test_tiling(folder):
    """Edges that fit each other: a step across them is no larger than steps inside."""
    run = ["--model", MINI, "-p", "a brick wall", "--steps", 4, "--width", 128, "--height", 128, "--seed", 3, "--threads", 1]
    plain = draw(folder / "plain.png", base=run)
    tile = draw(folder / "tile.png", "--tiling", base=run)
    assert min(seam(plain[2], 128, 128)) > 1 and max(seam(tile[2], 128, 128)) < 0.7, (seam(plain[2], 128, 128), seam(tile[2], 128, 128))
    assert "Tiling: True" in tile[3]["parameters"] and "Tiling" not in plain[3]["parameters"]
    for more in ["--hires-scale", 1.5], ["--hires-scale", 1.5, "--hires-upscaler", "Lanczos"]:
        width, height, rows, _ = draw(folder / "hires.png", "--tiling", "--hires-strength", 0.9, *more, base=run)
        assert max(seam(rows, width, height)) < 1, (more, seam(rows, width, height))
    assert draw(folder / "again.png", base=run)[2] == plain[2]
    # the KL autoencoder's and a picture's way in
    make_picture(folder / "in.png")
    assert len({draw(folder / "kl.png", "-i", folder / "in.png", *more, task="img2img")[2] for more in ([], ["--tiling"])}) == 2


def half_mask(path, width=64, height=64):
    write_png(path, width, height, bytes(255 if 16 <= x < 40 and 24 <= y < 48 else 0 for y in range(height) for x in range(width) for _ in range(3)))
    return path


def test_inpainting(folder):
    source, mask = make_picture(folder / "in.png"), half_mask(folder / "mask.png")
    before = read_png(source)[2]
    run = ["-i", source, "--mask", mask, "--strength", 0.8, "--mask-blur", 2, "--steps", 4]
    results = {}
    for name, more in {"plain": [], "a1111": ["--mask-blend"], "fill": ["--mask-blend", "--fill", "fill"], "noise": ["--mask-blend", "--fill", "noise"],
                       "nothing": ["--mask-blend", "--fill", "nothing"], "soft": ["--soft-inpaint", "--soft-settings", "1,0.5,4,1,0.5,2"], "only": ["--mask-blend", "--only-masked", "--masked-padding", 4]}.items():
        width, height, pixels, texts = draw(folder / "o.png", *run, *more, task="img2img")
        assert (width, height) == (64, 64)
        outside = [abs(pixels[i] - before[i]) for y in range(64) for x in range(64) if not (8 <= x < 48 and 16 <= y < 56)
                   for i in range(3 * (64 * y + x), 3 * (64 * y + x) + 3)]
        assert max(outside) == 0 or name == "soft", (name, max(outside))
        assert ("Soft inpainting mask influence: 1, " in texts["parameters"]) == (name == "soft")
        assert pixels != before
        results[name] = pixels
        assert "Mask blur: 2, " in texts["parameters"]
        assert ("Inpaint area: Only masked, Masked area padding: 4" in texts["parameters"]) == (name == "only")
        assert ("Masked content: latent noise" in texts["parameters"]) == (name == "noise")
    same = [(a, b) for a in results for b in results if a < b and results[a] == results[b]]
    assert same in ([], [("a1111", "plain")]), same
    sharp = [draw(folder / "o.png", *run, "--mask-blur", 0, *more, task="img2img")[2] for more in ([], ["--mask-blend"])]
    assert difference(*sharp)[1] <= 1, "along Euler's straight lines both ways are one"
    large = make_picture(folder / "large.png", 160, 96)
    half_mask(folder / "large-mask.png", 160, 96)
    got = draw(folder / "l.png", "-i", large, "--mask", folder / "large-mask.png", "--only-masked", "--strength", 0.8, task="img2img")
    assert got[:2] == (160, 96), "the whole picture comes back"
    write_png(folder / "black.png", 64, 64, bytes(64 * 64 * 3))
    bad = ["img2img", *FAST, "-i", source, "-o", folder / "x.png"]
    refuse(folder, 2, *bad, "--mask", folder / "black.png", "--only-masked", says="mask is empty")
    refuse(folder, 2, *bad, "--only-masked", says="--mask")
    refuse(folder, 2, *bad, "--resize", "bend", says="--resize")


def test_resize_modes(folder):
    source = make_picture(folder / "in.png", 96, 64)
    modes = [draw(folder / f"{mode}.png", "-i", source, "--resize", mode, "--strength", 0.5, task="img2img")[2]
             for mode in ("stretch", "crop", "fill", "latent")]
    assert len(set(modes)) == 4


run_tests(globals())
