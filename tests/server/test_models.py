#!/usr/bin/env python3
"""Models that come, go, change and are cut short while the server runs, and those that stay loaded."""
import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import sys
import threading
import time

from serve import Server, eventually, run_tests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import studio_load  # noqa: E402

JSON = {"Content-Type": "application/json"}
BESIDE = {"Lora": "lora", "embeddings": "embedding", "VAE": "vae", "ESRGAN": "upscaler", "ControlNet": "controlnet"}


def tensors(number, size=4096):
    """A safetensors file of one tensor."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([number]) * size


def minis(folder, count):
    """Copies of the built-in model with other weights each."""
    for number in range(count):
        shutil.copytree(studio_load.MINI, folder / f"mini-{number}")
        studio_load.change_weights(next((folder / f"mini-{number}" / "unet").glob("*.safetensors")), number)


def draw(server, model, **changes):
    body = {"prompt": "a lake", "steps": 1, "width": 64, "height": 64, "seed": 1, "override_settings": {"sd_model_checkpoint": model}, **changes}
    status, _, answer = server.request("/sdapi/v1/txt2img", "POST", json.dumps(body), JSON)
    return status, json.loads(answer)


def pixels(image):
    """Of a PNG, packed: without the text, which says more than what was drawn."""
    data, at, packed = base64.b64decode(image), 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return packed


def drawn(server, model):
    status, answer = draw(server, model)
    assert status == 200, (status, answer)
    return pixels(answer["images"][0])


class Events:
    """What a page hears: (name, data) since the last time that it asked."""

    def __init__(self, server):
        self.text, self.socket = b"", socket.create_connection(("127.0.0.1", server.port), 60)
        self.socket.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.socket.settimeout(0.1)
        self.seen = []

    def changed(self):
        """Kinds of lists that changed, one entry an event."""
        with contextlib.suppress(TimeoutError):
            while chunk := self.socket.recv(65536):
                self.text += chunk
        blocks = self.text.decode().replace("\r", "").split("\n\n")
        self.text = blocks.pop().encode()
        for block in blocks:
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if lines.get("event") == "models":
                self.seen.append(json.loads(lines["data"])["changed"])
        return self.seen

    def kinds(self):
        return {kind for event in self.changed() for kind in event}


def checkpoints(server):
    return [model["model_name"] for model in server.json("/sdapi/v1/sd-models")]


def test_folders_are_watched(folder):
    models = folder / "models"
    models.mkdir()
    with Server("--models", models, data=folder / "data") as server:
        events, whole = Events(server), tensors(1, 1 << 20)
        assert "new" not in checkpoints(server)
        with open(models / "new.safetensors", "wb") as file:  # a copy that takes its time
            for at in range(0, len(whole), 1 << 16):
                file.write(whole[at:at + (1 << 16)])
                file.flush()
                assert "new" not in checkpoints(server), f"{at} bytes of {len(whole)}"
                time.sleep(0.08)
        eventually(lambda: "checkpoint" in events.kinds(), "the page hears of a checkpoint")
        assert "new" in checkpoints(server) and events.seen == [["checkpoint"]], events.seen
        eventually(lambda: [m["sha256"] for m in server.json("/sdapi/v1/sd-models") if m["model_name"] == "new"] == [hashlib.sha256(whole).hexdigest()],
                   "it is hashed")
        events.seen.clear()
        for number, name in enumerate(BESIDE):  # folders that were not there
            (models / name).mkdir()
            (models / name / f"one-{name}.safetensors").write_bytes(tensors(number))
        eventually(lambda: events.kinds() == set(BESIDE.values()), "the page hears of all else")
        assert "one-Lora" in [lora["name"] for lora in server.json("/sdapi/v1/loras")]
        assert "one-VAE.safetensors" in [vae["model_name"] for vae in server.json("/sdapi/v1/sd-vae")]
        assert "one-ESRGAN" in [upscaler["name"] for upscaler in server.json("/sdapi/v1/upscalers")]
        assert any("one-ControlNet" in name for name in server.json("/controlnet/model_list")["model_list"])
        events.seen.clear()
        (models / "Lora" / "half.safetensors").write_bytes(tensors(1)[:-1])
        (models / "Lora" / "one-Lora.safetensors").rename(models / "Lora" / "two.safetensors")
        (models / "VAE" / "one-VAE.safetensors").unlink()
        (models / "new.safetensors").unlink()
        eventually(lambda: events.kinds() == {"lora", "vae", "checkpoint"}, "it hears of what went")
        assert [lora["name"] for lora in server.json("/sdapi/v1/loras")] == ["two"], "and none that is half there"
        assert "new" not in checkpoints(server) and server.json("/sdapi/v1/sd-vae") == []
        events.seen.clear()
        (models / "notes.txt").write_text("of no interest")
        time.sleep(1.5)
        assert events.changed() == []


def test_the_same_name_with_other_numbers(folder):
    """A model that is replaced is loaded again, though it was resident."""
    minis(folder / "models", 2)
    with Server("--models", folder / "models", "--threads", 1, data=folder / "data") as server:
        first, other = drawn(server, "mini-0"), drawn(server, "mini-1")
        assert first != other and drawn(server, "mini-0") == first
        unet = "unet/diffusion_pytorch_model.safetensors"
        shutil.copy(folder / "models/mini-1" / unet, folder / "models/mini-0" / "unet/.new")
        os.replace(folder / "models/mini-0/unet/.new", folder / "models/mini-0" / unet)
        assert drawn(server, "mini-0") == other


def test_cut_short_in_use(folder):
    """A program writes a model again and again into the file that is in use: jobs fail or draw the right picture, the server stays."""
    minis(folder / "models", 1)
    unet = folder / "models/mini-0/unet/diffusion_pytorch_model.safetensors"
    whole, stop, outcomes = unet.read_bytes(), threading.Event(), []

    def write_again():
        while not stop.is_set():
            with open(unet, "r+b") as file:
                for cut in (len(whole) // 2, 4096, 0):
                    file.truncate(cut // 4096 * 4096)
                    time.sleep(0.01)
                file.seek(0)
                file.write(whole)
            time.sleep(random.uniform(0.0, 0.6))

    with Server("--models", folder / "models", "--threads", 1, data=folder / "data") as server:
        right = drawn(server, "mini-0")
        writer = threading.Thread(target=write_again)
        writer.start()
        try:
            for _ in range(20):
                status, answer = draw(server, "mini-0")
                outcomes.append(status)
                assert (pixels(answer["images"][0]) == right) if status == 200 else "mini-0" in json.dumps(answer), (status, answer)
        finally:
            stop.set()
            writer.join()
        print(f"# {outcomes.count(200)} of {len(outcomes)} jobs drew")
        assert server.process.poll() is None and server.status("/healthz") == 200
        assert drawn(server, "mini-0") == right, "whole again, it draws as before"


def test_budget_and_order(folder):
    """Room for two: the least recently used goes, and comes back when a job names it."""
    minis(folder / "models", 3)
    with Server("--models", folder / "models", "--threads", 1, "--model-memory", 110, data=folder / "data") as server:
        def loaded():
            return server.json("/api/stats")["model_bytes"]

        pictures = {name: drawn(server, name) for name in ("mini-0", "mini-1", "mini-2")}
        one = loaded() / 2
        assert 30e6 < one < 55e6, f"two are loaded: {loaded()}"
        assert len(set(pictures.values())) == 3
        for name in ("mini-0", "mini-1", "mini-2", "mini-0", "mini-0", "mini-2", "mini-1"):
            assert drawn(server, name) == pictures[name], name
            assert loaded() <= 110e6, "the budget is kept"
        wanted = ["mini-2", "mini-1", "mini-0"] * 2  # all wait at once; what one needs is given up for another meanwhile
        with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
            assert list(pool.map(lambda name: drawn(server, name), wanted)) == [pictures[name] for name in wanted]
        assert loaded() <= 110e6


if __name__ == "__main__":
    run_tests(globals())
