"""Everything that can be wrong with what a user gives: one clear line, the right exit code, nothing left behind."""
import json
import os
import shutil
import struct
import subprocess
import time
import zlib

from common import (BINARY, DATA, FAST, MODEL, REFERENCE, copy_model, difference, draw, environment, make_picture, read_png, read_safetensors,
                    refuse, reverie, run_tests, write_png, write_safetensors)

MEDIA = DATA / "media"
UNET = "unet/diffusion_pytorch_model.safetensors"
REDRAW = ["img2img", "--model", MODEL, "-p", "a fox", "--steps", 2, "--threads", 1, "--seed", 3]


def base_of(model):
    """FAST with another model."""
    return [model if option is MODEL else option for option in FAST]


def refuse_model(folder, model, says, code=3):
    """A model that neither draws nor verifies."""
    error = refuse(folder, code, "txt2img", *base_of(model), "-o", folder / "out.png", says=says)
    refuse(folder, code, "models", "verify", model, says=says)
    return error


def changed_unet(folder, change):
    """A copy of the model whose UNet went through change(header, body)."""
    model = copy_model(MODEL, folder / "model")
    header, body = read_safetensors(model / UNET)
    result = change(header, body)
    write_safetensors(model / UNET, *(result or (header, body)))
    return model


def first_tensor(header):
    return next(name for name in header if name != "__metadata__")


def test_wrong_usage(folder):
    out = folder / "out.png"
    for arguments, says in (([], "-o"), (["-o", out, "--nonsense"], "--nonsense"), (["-o", out, "--steps", "many"], "--steps"),
                            (["-o", out, "--steps", 0], "--steps"), (["-o", out, "--steps", 99999999999], "--steps"),
                            (["-o", out, "--steps", 1001], "--steps"), (["-o", out, "--width", 0], "--width"),
                            (["-o", out, "--width", 100000], "--width"), (["-o", out, "--height", "-8"], "--height"),
                            (["-o", out, "--cfg", "nan"], "--cfg"), (["-o", out, "--cfg", 1000], "--cfg"),
                            (["-o", out, "--seed", "x"], "--seed"), (["-o", out, "--seed", 2 ** 64], "--seed"),
                            (["-o", out, "--count", 0], "--count"), (["-o", out, "--batch", 0], "--batch"),
                            (["-o", out, "--batch", 1000], "--batch"), (["-o", out, "--clip-skip", 0], "--clip-skip"),
                            (["-o", out, "--clip-skip", 9], "clip"), (["-o", out, "--eta", "-3"], "--eta"),
                            (["-o", out, "--sampler", "magic"], "magic"), (["-o", out, "--schedule", "magic"], "magic"),
                            (["-o", out, "--noise", "magic"], "magic"), (["-o", out, "--prompt-syntax", "magic"], "magic"),
                            (["-o", out, "--prediction", "magic"], "magic"), (["-o", out, "--precision", "magic"], "magic"),
                            (["-o", out, "--device", "magic"], "magic"), (["-o", out, "--threads", "-1"], "--threads"),
                            (["-o", out, "--model", ""], "--model"), (["-o", out, "stray"], "stray"),
                            (["-o", out, "-i", out], "-i"), (["-o", out, "--strength", 0.5], "--strength"),
                            (["-o", folder / "out.bmp"], "out.bmp"), (["-o", folder / "out"], "out"),
                            (["-o", "-", "--count", 2], "-o -"), (["-o", "-", "--json"], "--json"),
                            (["-o", out, "--preview", folder / "p.txt"], "p.txt"),
                            (["-o", out, "--control-mode", "magic"], "magic"), (["-o", out, "--control-resize", "fill"], "--controlnet"),
                            (["-o", out, "--control-module", "canny"], "--controlnet"),
                            (["-o", out, "--hires-strength", 0.5], "--hires-scale"), (["-o", out, "-p", "\udcff\udcfe"], "txt2img")):
        refuse(folder, 2, "txt2img", *FAST, *arguments, says=says)
    refuse(folder, 2, "txt2img", "--model", MODEL, "-o", out, says="-p")
    refuse(folder, 2, *REDRAW, "-o", out, says="-i")
    source = make_picture(folder / "in.png")
    for strength in ("-0.5", 1.5, "nan", 0, 0.1):
        refuse(folder, 2, *REDRAW, "-i", source, "-o", out, "--strength", strength, says="--strength")
    for arguments, says in ((["--mask-blur", "-1"], "--mask-blur"), (["--masked-padding", "-1"], "--masked-padding"), (["--soft-inpaint"], "--mask"),
                            (["--mask", source, "--soft-settings", "1,0.5,4,0,0.5,2"], "--soft-inpaint"),
                            (["--mask", source, "--soft-inpaint", "--soft-settings", "1,0.5,4,0,0.5"], "--soft-settings"),
                            (["--mask", source, "--soft-inpaint", "--soft-settings", "1,0.5,4,2,0.5,2"], "--soft-settings"),
                            (["--mask", source, "--soft-inpaint", "--soft-settings", "1,0.5,4,0,nan,2"], "--soft-settings")):
        refuse(folder, 2, *REDRAW, "-i", source, "-o", out, *arguments, says=says)
    refuse(folder, 2, "magic", says="magic")
    refuse(folder, 2, "tokenize", says="-p")
    for arguments in ([], ["magic"], ["info"], ["info", "a", "b"], ["list", "a"], ["convert", MODEL], ["convert", MODEL, "-o", folder / "x", "--precision", "int3"],
                      ["convert", MODEL, "-o", folder / "x", "--json"]):
        refuse(folder, 2, "models", *arguments)


def test_bare_command_helps(folder):
    result = subprocess.run([BINARY], capture_output=True)
    assert result.returncode == 2 and b"txt2img" in result.stderr and result.stdout == b""
    for words in (["help", "txt2img"], ["txt2img", "--help"]):
        result = subprocess.run([BINARY, *words], capture_output=True)
        assert result.returncode == 0 and b"--prompt" in result.stdout and result.stderr == b"", words
    refuse(folder, 2, "help", "nothing", says="nothing")


def test_unknown_places(folder):
    out = folder / "out.png"
    refuse(folder, 3, "txt2img", *base_of("no-such-model"), "-o", out, says="no-such-model")
    refuse(folder, 3, "txt2img", *base_of(folder / "none"), "-o", out, says="none")
    refuse(folder, 3, "txt2img", *base_of(folder), "-o", out)
    refuse(folder, 3, "txt2img", *FAST, "--vae", folder / "none", "-o", out, says="none")
    refuse(folder, 3, "txt2img", *FAST, "--vae", "taesd", "-o", out, says="taesd")
    refuse(folder, 3, "txt2img", *FAST, "--tokenizer", folder / "none", "-o", out, says="none")
    refuse(folder, 3, *REDRAW, "-i", folder / "none.png", "-o", out, says="none.png")
    refuse(folder, 3, *REDRAW, "-i", make_picture(folder / "in.png"), "--mask", folder / "none.png", "-o", out, says="none.png")
    refuse(folder, 3, "models", "info", folder / "none", says="none")
    refuse(folder, 3, "tokenize", "--model", folder / "none", "-p", "a", says="none")
    loop = folder / "loop.safetensors"
    loop.symlink_to(loop)
    for options in (["--vae", loop], ["--embedding", loop], ["--lora", loop], ["--model", loop]):
        refuse(folder, 3, "txt2img", *FAST, *options, "-o", out, says="loop")
    refuse(folder, 3, *REDRAW, "-i", loop, "-o", out, says="loop")
    for device in ("cuda", "cuda:7"):
        refuse(folder, 4, "txt2img", *FAST, "--device", device, "-o", out, says="cuda")
    refuse(folder, 4, "txt2img", *FAST, "--precision", "fp8", "-o", out, says="fp8")


def test_output_places(folder):
    start = time.monotonic()
    refuse(folder, 1, "txt2img", *FAST, "-o", folder / "none" / "out.png", says="none")
    (folder / "is-a-folder.png").mkdir()
    refuse(folder, 1, "txt2img", *FAST, "-o", folder / "is-a-folder.png", says="is-a-folder.png")
    refuse(folder, 1, "txt2img", *FAST, "-o", folder / "a.png", "--preview", folder / "none" / "p.png", says="none")
    refuse(folder, 1, "txt2img", *FAST, "-o", folder / ("n" * 300 + ".png"), says="nnn")
    refuse(folder, 1, "models", "convert", MODEL, "-o", folder / "none" / "m.safetensors", says="none")
    with open("/dev/full", "wb") as full: # a picture that cannot be told of does not stay either
        told = subprocess.run([BINARY, *map(str, ["txt2img", *FAST, "-o", folder / "untold.png", "--json"])], stdout=full,
                              stderr=subprocess.PIPE, env=environment(), timeout=280)
    assert told.returncode == 1 and b"standard output" in told.stderr and not (folder / "untold.png").exists(), told
    before = make_picture(folder / "kept.png").read_bytes()
    refuse(folder, 2, "txt2img", *FAST, "--sampler", "magic", "-o", folder / "kept.png")
    assert (folder / "kept.png").read_bytes() == before, "what was there stays"


def test_truncated_weights(folder):
    model = copy_model(MODEL, folder / "model")
    good = (model / UNET).read_bytes()
    for size in (0, 7, 8, 100, len(good) // 2, len(good) - 1):
        (model / UNET).write_bytes(good[:size])
        refuse_model(folder, model, "diffusion_pytorch_model.safetensors")
    (model / UNET).write_bytes(good + b"more")
    refuse_model(folder, model, "diffusion_pytorch_model.safetensors")


def test_hostile_headers(folder):
    model = copy_model(MODEL, folder / "model")
    _, body = read_safetensors(model / UNET)
    entry = {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}
    texts = [b"", b"{", b"[]", b"null", b"{}" + b" " * 10, b"\xff\xfe\x00", b"[" * 100000, b'{"a":' * 50000,
             json.dumps({"a": {**entry, "dtype": "Q7"}}).encode(), json.dumps({"a": {**entry, "shape": [2, -3]}}).encode(),
             json.dumps({"a": {**entry, "shape": [2 ** 40, 2 ** 40]}}).encode(), json.dumps({"a": {**entry, "shape": [2, 4]}}).encode(),
             json.dumps({"a": {**entry, "data_offsets": [0, 2 ** 62]}}).encode(), json.dumps({"a": {**entry, "data_offsets": [12, 0]}}).encode(),
             json.dumps({"a": entry, "b": entry}).encode(), ("{" + ",".join(f'"a": {json.dumps(entry)}' for _ in range(2)) + "}").encode()]
    for text in texts:
        (model / UNET).write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
        refuse_model(folder, model, "")
    for length in (2 ** 63, 2 ** 64 - 1, 2 ** 31, 200_000_000):
        (model / UNET).write_bytes(struct.pack("<Q", length) + bytes(body))
        refuse_model(folder, model, "")


def test_missing_tensors_are_named(folder):
    def drop(count):
        def change(header, body):
            for name in sorted(name for name in header if name.endswith(".weight"))[:count]:
                del header[name]
            return compact(header, body)
        return change
    model = changed_unet(folder, drop(1))
    header, _ = read_safetensors(MODEL / UNET)
    names = sorted(name for name in header if name.endswith(".weight"))
    refuse_model(folder, model, names[0])
    info = json.loads(reverie("models", "info", model, "--json").stdout)
    assert any(names[0] in name for name in info["missing"]) and len(info["missing"]) == 1, info["missing"]
    shutil.rmtree(model)
    error = refuse_model(folder, changed_unet(folder, drop(14)), "14")
    assert sum(name in error for name in names[:14]) == 10 and "4 more" in error, error


def compact(header, body):
    """Body without the tensors that the header lost."""
    new, at = bytearray(), 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        entry["data_offsets"] = [len(new), len(new) + end - start]
        new += body[start:end]
    return header, new


def test_wrong_shapes_are_named(folder):
    def change(header, body):
        header["conv_out.weight"]["shape"] = header["conv_out.weight"]["shape"][::-1]
    error = refuse_model(folder, changed_unet(folder, change), "conv_out.weight")
    assert "shape" in error or "x" in error, error


def test_extra_tensors_are_told(folder):
    def change(header, body):
        for i in range(12):
            header[f"surplus.{i:02d}"] = {"dtype": "F16", "shape": [4], "data_offsets": [len(body), len(body) + 8]}
            body += bytes(8)
    model = changed_unet(folder, change)
    info = json.loads(reverie("models", "info", model, "--json").stdout)
    assert sum("surplus" in name for name in info["unused"]) == 12, info["unused"]
    text = reverie("models", "info", model).stdout.decode()
    assert "surplus.09" in text and "surplus.10" not in text and "2 more" in text, text


def test_missing_parts(folder):
    for part, says in (("unet", "unet"), ("vae", "vae"), ("text_encoder", "text_encoder")):
        model = copy_model(MODEL, folder / part)
        shutil.rmtree(model / part)
        refuse(folder, 3, "txt2img", *base_of(model), "-o", folder / "out.png", says=says)
        shutil.rmtree(model)
    model = copy_model(MODEL, folder / "model")
    for name in ("unet/config.json", "vae/config.json", "text_encoder/config.json", "model_index.json", "tokenizer/vocab.json",
                 "scheduler/scheduler_config.json"):
        good = (model / name).read_bytes()
        for text in (b"", b"{", b"[1, 2]", b'{"in_channels": "four", "vocab_size": [], "_class_name": 3, "hidden_size": {}}', b"\xff" * 40, b"[" * 500000, b"/*\"*/{\"a\":" + b"[" * 500000):
            (model / name).write_bytes(text)
            refuse(folder, 3, "txt2img", *base_of(model), "-o", folder / "out.png") if name != "model_index.json" else None
        (model / name).write_bytes(good)
        (model / name).unlink()
        os.mkfifo(model / name)
        refuse(folder, 3, "txt2img", *base_of(model), "-o", folder / "out.png", says=name)
        (model / name).unlink()
        (model / name).write_bytes(good)
    good = model / "text_encoder"
    shutil.move(good, folder / "good")
    shutil.copytree(REFERENCE / "tiny-sdxl/text_encoder", good)
    refuse(folder, 3, "txt2img", *base_of(model), "-o", folder / "out.png", says="the UNet takes 128")
    shutil.rmtree(good)
    shutil.move(folder / "good", good)
    config = json.loads((model / "unet/config.json").read_text())
    for key, value in (("in_channels", 10 ** 9), ("block_out_channels", [0, 0, 0, 0]), ("attention_head_dim", 0), ("layers_per_block", 10 ** 6),
                       ("cross_attention_dim", -5), ("norm_num_groups", 7)):
        (model / "unet/config.json").write_text(json.dumps({**config, key: value}))
        refuse(folder, 3, "txt2img", *base_of(model), "-o", folder / "out.png")


def test_pickles_are_refused(folder):
    for name, content in (("model.ckpt", b"PK\x03\x04" + b"x" * 100), ("old.ckpt", b"\x80\x02}q\x00(X\x05\0\0\0state."), ("hidden.safetensors", b"PK\x03\x04" + b"x" * 1000),
                          ("model.pt", b"PK\x03\x04" + b"x" * 100), ("model.bin", b"PK\x03\x04" + b"x" * 100)):
        (folder / name).write_bytes(content)
        error = refuse(folder, 3, "txt2img", *base_of(folder / name), "-o", folder / "out.png")
        assert "pickle" in error and "safetensors" in error, error


def test_not_a_number_names_the_stage(folder):
    for part, file, tensor, says in (("unet", UNET, "conv_in.weight", "UNet"), ("vae", "vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight", "VAE"),
                                     ("text", "text_encoder/model.safetensors", "text_model.final_layer_norm.weight", "text")):
        model = copy_model(MODEL, folder / part)
        header, body = read_safetensors(model / file)
        start, _ = header[tensor]["data_offsets"]
        body[start:start + 2] = struct.pack("<H", 0x7E00)
        write_safetensors(model / file, header, body)
        error = refuse(folder, 1, "txt2img", *base_of(model), "-o", folder / "out.png", says="finite")
        assert says.lower() in error.lower(), error
        refuse(folder, 3, "models", "verify", model, says=[tensor, "finite"])
        shutil.rmtree(model)


def png_header(width, height, depth=8, colour=2):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_absurd_pictures(folder):
    good = make_picture(folder / "good.png").read_bytes()
    jpeg = (MEDIA / "baseline.jpg").read_bytes()
    contents = {"zero.png": png_header(0, 0), "huge.png": png_header(60000, 60000), "deep.png": png_header(60000, 60000, 16, 6),
                "half.png": good[:len(good) // 2], "empty.png": b"", "text.png": b"hello", "bad.png": good[:60] + b"\xff" * 20 + good[80:],
                "half.jpg": jpeg[:len(jpeg) // 4], "zero.ppm": b"P6\n0 0\n255\n", "huge.ppm": b"P6\n60000 60000\n255\n",
                "gif.gif": b"GIF89a" + b"\0" * 50}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        start = time.monotonic()
        refuse(folder, 3, *REDRAW, "-i", folder / name, "-o", folder / "out.png", says=name)
        refuse(folder, 3, *REDRAW, "-i", folder / "good.png", "--mask", folder / name, "-o", folder / "out.png", says=name)
        assert time.monotonic() - start < 10, name
    refuse(folder, 3, *REDRAW, "-i", folder, "-o", folder / "out.png")


def read_ppm(path):
    _, size, _, pixels = path.read_bytes().split(b"\n", 3)
    return (*map(int, size.split()), pixels)


def test_unusual_pictures_work(folder):
    for name in ("cmyk.jpg", "rgb16.png", "animated.webp", "orientation-6.jpg", "turned.webp", "palette.png", "bilevel.png", "grey.png",
                 "interlaced.png", "rgba.png", "progressive.jpg", "grey-alpha.png"):
        width, height, pixels = read_ppm(MEDIA / (name.split(".")[0] + ".ppm"))
        got = draw(folder / "a.png", "-i", MEDIA / name, task="img2img", base=REDRAW[1:])
        assert got[:2] == (max(width // 8, 1) * 8, max(height // 8, 1) * 8), (name, got[:2])
        if name in ("rgba.png", "grey-alpha.png"):
            continue
        write_png(folder / "plain.png", width, height, pixels)
        assert difference(draw(folder / "b.png", "-i", folder / "plain.png", task="img2img", base=REDRAW[1:])[2], got[2])[0] < 0.5, name
    write_png(folder / "dot.png", 1, 1, b"\1\2\3")
    result = reverie(*REDRAW, "-i", folder / "dot.png", "-o", folder / "c.png")
    assert "1x1" in result.error and read_png(folder / "c.png")[:2] == (8, 8)


run_tests(globals())
