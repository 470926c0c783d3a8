#!/usr/bin/env python3
"""A minute of a show: `show.py MODEL [--vae V] [--second MODEL] [--device D] [--size 1024x1024] [--seconds 60]`.

$REVERIE serves the model, a client keeps two frames under way, and the prompt changes every second. After a third of the time a second model
is loaded from its file beside them, draws a picture and is unloaded; after two thirds it draws again. (A server before this one has drawn with
it, too, so that the fastest ways of its ops are known.) Prints one line of JSON: milliseconds of a frame on the device and between pictures
(median, p99, slowest, and the slowest few with the second in which they came), slowest over median, and when the second model was asked for and
how long its picture and its unloading took. `measure()` is what scripts/gpu-proof calls.
"""
import argparse
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "server"))
import serve  # noqa: E402
import ws_client as ws  # noqa: E402

PROMPTS = ["a red fox in the snow", "a city of glass at night", "watercolour of a harbour", "portrait of an old king, oil on canvas",
           "sunflowers under a storm", "origami bird", "jellyfish in the deep sea"]
JSON = {"Content-Type": "application/json"}


def photograph(width, height):
    rows = (bytes((x * 255 // width, y * 255 // height, (x ^ y) & 255)) for y in range(height) for x in range(width))
    return ws.encode(b"".join(rows), width, height)


class Camera(threading.Thread):
    """Answers each picture with the next frame."""

    def __init__(self, server, frame):
        super().__init__(daemon=True)
        self.socket, self.frame, self.sequence = ws.WebSocket(server.port, protocol="reverie.1"), frame, 0
        self.times, self.done, self.fault = [], threading.Event(), None

    def send(self):
        self.sequence += 1
        self.socket.send(ws.header(ws.FRAME, self.sequence) + self.frame)

    def run(self):
        try:
            self.send()
            self.send()
            while not self.done.is_set():
                reply = self.socket.receive(30)
                self.times.append(time.monotonic())
                self.socket.send(ws.header(ws.ACK, ws.HEADER.unpack(reply[:ws.HEADER.size])[4]))
                self.send()
        except Exception as fault:  # noqa: BLE001
            self.fault = fault

    def leave(self):
        self.done.set()
        self.join()
        if self.fault is not None:
            raise self.fault


def figures(times):
    timed = sorted(((b - a) * 1e3, b - times[0]) for a, b in zip(times, times[1:]))
    gaps = [gap for gap, _ in timed]
    median = gaps[len(gaps) // 2]
    return {"frames": len(gaps), "p50_ms": round(median, 2), "p99_ms": round(gaps[len(gaps) * 99 // 100], 2), "max_ms": round(gaps[-1], 2),
            "max_over_p50": round(gaps[-1] / median, 3), "slowest": [[round(gap, 2), round(at, 1)] for gap, at in timed[:-6:-1]]}


def draw(server, model):
    """A small picture with a model that is loaded for it beside the mirror's, and its unloading: the seconds that each took."""
    seconds = []
    picture = {"prompt": "a lighthouse", "steps": 1, "width": 256, "height": 256,
               "override_settings": {"sd_model_checkpoint": pathlib.Path(model).stem}}
    for path, body in (("txt2img", picture), ("unload-checkpoint", {})):
        begin = time.monotonic()
        status, _, answer = server.request(f"/sdapi/v1/{path}", "POST", json.dumps(body), JSON)
        assert status == 200, answer
        seconds.append(round(time.monotonic() - begin, 2))
    return seconds


class Studio(threading.Thread):
    """Asks for a picture of the second model at each of these times."""

    def __init__(self, server, model, times):
        super().__init__(daemon=True)
        self.server, self.model, self.times, self.drew, self.fault = server, model, times, [], None

    def run(self):
        begin = time.monotonic()
        try:
            for at in self.times:
                time.sleep(max(0.0, begin + at - time.monotonic()))
                asked = round(time.monotonic() - begin, 1)
                self.drew.append([asked] + draw(self.server, self.model))
        except Exception as fault:  # noqa: BLE001
            self.fault = fault


def is_ready(server):
    server.wait_ready()
    while server.status("/readyz") != 200:
        time.sleep(0.01)


def measure(model, vae=None, second=None, device="auto", size="1024x1024", seconds=60.0, precision="auto"):
    options = ["--model", model, "--device", device, "--precision", precision, "--size", size, "--pace", "off"]
    options += ["--vae", vae] if vae else []
    options += ["--models", pathlib.Path(second).parent] if second else []
    width, height = map(int, size.split("x"))
    if second:
        with serve.Server(*options, effect=False, wait=False) as server:
            is_ready(server)
            draw(server, second)
    begin = time.monotonic()
    with serve.Server(*options, effect=False, wait=False) as server:
        is_ready(server)
        ready = time.monotonic() - begin
        server.post({"steps": 2, "strength": 0.7, "prompt": PROMPTS[0]})
        camera = Camera(server, photograph(width, height))
        camera.start()
        time.sleep(min(5.0, seconds / 4))
        warm, start, turn = len(camera.times), time.monotonic(), 0
        studio = Studio(server, second, [seconds / 3, seconds * 2 / 3] if second else [])
        studio.start()
        while time.monotonic() < start + seconds:
            time.sleep(1.0)
            turn += 1
            server.post({"prompt": PROMPTS[turn % len(PROMPTS)]})
        times = camera.times[max(warm - 1, 0):]
        camera.leave()
        studio.join()
        if studio.fault is not None:
            raise studio.fault
        devices = server.json("/api/stats")["devices"]
        return {"ready_s": round(ready, 2), "prompts": turn, "between_pictures": figures(times), "on_device": [d["service_ms"] for d in devices],
                "second_model_asked_drew_unloaded_s": studio.drew}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--vae")
    parser.add_argument("--second")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", default="1024x1024")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--precision", default="auto")
    print(json.dumps(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
