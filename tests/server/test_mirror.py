#!/usr/bin/env python3
"""The mirror with a real (tiny) model: frames come back drawn, and the live parameters change what is seen."""
import time

from serve import MODEL, Server, eventually, osc, run_tests
from ws_client import WebSocket, decode, encode

SIZE = 64
OPTIONS = ["--model", MODEL, "--size", f"{SIZE}x{SIZE}", "--threads", 1, "--pace", "off"]


def picture(left, right):
    """A frame with one colour on each half."""
    row = bytes(left) * (SIZE // 2) + bytes(right) * (SIZE // 2)
    return encode(row * SIZE, SIZE, SIZE, quality=95)


RED, BLUE, GREY = (220, 30, 30), (30, 30, 220), (128, 128, 128)


class Mirror(WebSocket):
    def __init__(self, server):
        super().__init__(server.port)
        assert self.status == 101, self.head

    def shows(self, frame, times=1):
        """What comes back for this frame, sent until an answer surely belongs to it."""
        for _ in range(times):
            self.send(frame)
            reply = self.receive(30)
            assert reply is not None, "no picture came back"
        width, height, rgb = decode(reply)
        assert (width, height) == (SIZE, SIZE)
        return rgb


def mean(rgb, half):
    """Of the middle of the left (0) or right (1) half."""
    pixels = [rgb[3 * (y * SIZE + x):3 * (y * SIZE + x) + 3]
              for y in range(16, 48) for x in range(half * SIZE // 2 + 8, half * SIZE // 2 + 24)]
    return [sum(p[c] for p in pixels) / len(pixels) for c in range(3)]


def close(colour, wanted, within=12):
    return all(abs(a - b) <= within for a, b in zip(colour, wanted))


def distance(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


def test_parameters_change_the_picture(_):
    frame = picture(RED, BLUE)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        server.post({"prompt": "a red fox", "seed": 1, "steps": 2, "strength": 0.7})
        first = mirror.shows(frame, 2)
        assert distance(first, mirror.shows(frame)) < 1.0, "the same noise: the picture stands still"
        for change in ({"prompt": "a green forest in the rain"}, {"seed": 2}, {"steps": 4, "strength": 1.0}, {"mode": "soft"}):
            server.post({"prompt": "a red fox", "seed": 1, "steps": 2, "strength": 0.7})
            server.post(change)
            assert distance(first, mirror.shows(frame, 2)) > 1.0, change
        server.post({"prompt": "a red fox", "seed": 1, "steps": 2, "strength": 0.7})
        assert distance(first, mirror.shows(frame, 2)) < 1.0, "and comes back"
        mirror.close()
        assert server.metric('reverie_frames_total{outcome="shown"}') >= 10
        assert server.metric('reverie_frames_total{outcome="failed"}') == 0


def test_blends_lie_between(_):
    frame = picture(GREY, GREY)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        pair = [{"text": "a red fox", "weight": 1}, {"text": "a \"green\" forest \\", "weight": 0}]
        server.post({"strength": 1.0, "prompts": pair})
        a = mirror.shows(frame, 2)
        pair[0]["weight"], pair[1]["weight"] = 0, 1
        server.post({"prompts": pair})
        b = mirror.shows(frame, 2)
        assert distance(a, b) > 1.0
        pair[0]["weight"] = pair[1]["weight"] = 1
        server.post({"prompts": pair})
        middle = mirror.shows(frame, 2)
        assert 0 < distance(a, middle) < distance(a, b) * 1.2 and 0 < distance(b, middle) < distance(a, b) * 1.2
        server.post({"prompt": '("a red fox", "a forest").blend(0.5, 0.5)'})
        assert distance(a, mirror.shows(frame, 2)) > 0
        mirror.close()


def test_prompts_and_seeds_travel(_):
    """With ramp_ms the picture goes over to the new one by and by, and arrives."""
    frame = picture(GREY, GREY)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        first = {"prompt": "a red fox", "seed": 1, "strength": 1.0, "ramp_ms": 0}
        for change in ({"prompt": "a green forest in the rain"}, {"seed": 99}):
            server.post({**first, **change})
            eventually(lambda: distance(mirror.shows(frame, 2), mirror.shows(frame)) < 0.5, "it stands still")
            there = mirror.shows(frame, 2)
            server.post(first)
            here = eventually(lambda: (now := mirror.shows(frame, 2)) and distance(now, there) > 1.0 and now, "it went back")
            server.post({"ramp_ms": 3000, **change})
            ways = []
            until = time.monotonic() + 30
            while time.monotonic() < until and (not ways or ways[-1] > 0.5):
                ways.append(distance(mirror.shows(frame), there))
            whole = distance(here, there)
            assert ways[-1] <= 0.5, (change, whole, ways)
            assert any(0.15 * whole < way < 0.85 * whole for way in ways), (change, whole, ways)
        mirror.close()


def test_a_prompt_that_cannot_be_read_changes_nothing(_):
    frame = picture(GREY, GREY)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        before = mirror.shows(frame, 2)
        server.post({"prompt": '("a", "b").blend(0, 0)'})
        assert distance(mirror.shows(frame, 3), before) < 0.5
        eventually(lambda: "prompt-failed" in server.logs(), "it is said")
        assert server.metric('reverie_frames_total{outcome="failed"}') == 0
        mirror.close()


def test_passthrough_opacity_mirror_pause(_):
    frame = picture(RED, BLUE)
    with Server("--size", "64x64", "--pace", "off") as server:
        mirror = Mirror(server)
        shown = mirror.shows(frame, 2)
        assert close(mean(shown, 0), [255 - v for v in RED]) and close(mean(shown, 1), [255 - v for v in BLUE])
        server.post({"mirror": True})
        shown = mirror.shows(frame, 2)
        assert close(mean(shown, 0), [255 - v for v in BLUE]) and close(mean(shown, 1), [255 - v for v in RED])
        server.post({"mirror": False, "passthrough": True})
        assert close(mean(mirror.shows(frame, 2), 0), RED)
        server.post({"passthrough": False, "opacity": 0.5})
        assert close(mean(mirror.shows(frame, 2), 0), [127.5] * 3)
        server.post({"opacity": 0.0})
        assert close(mean(mirror.shows(frame, 2), 1), BLUE)
        server.post({"opacity": 1.0, "paused": True})
        mirror.drain(0.3)
        for _ in range(5):
            mirror.send(frame)
        assert mirror.receive(0.7) is None, "nothing new is shown"
        server.post({"paused": False})
        assert close(mean(mirror.shows(frame, 2), 0), [255 - v for v in RED])
        mirror.close()


def test_effect_beside_a_model(_):
    """?effect=invert needs no model: it works before one is loaded, and beside it."""
    with Server(*OPTIONS, effect=False) as server:
        plain = WebSocket(server.port, "/ws?effect=invert")
        assert plain.status == 101
        plain.send(picture(RED, BLUE))
        width, height, rgb = decode(plain.receive(30))
        assert (width, height) == (SIZE, SIZE) and close(mean(rgb, 0), [255 - v for v in RED])
        mirror = Mirror(server)
        assert mirror.shows(picture(RED, BLUE))
        names = {d["name"] for d in server.json("/api/stats")["devices"]}
        assert names == {"auto", "invert"}
        plain.close()
        mirror.close()


def test_two_devices(_):
    """Two engines on the CPU: both draw, and the order stays."""
    with Server(*OPTIONS, "--device", "cpu,cpu", effect=False) as server:
        eventually(lambda: len(server.json("/api/stats")["devices"]) == 2, "both are open")
        mirror = Mirror(server)
        frame = picture(RED, BLUE)
        until = time.monotonic() + 30
        while time.monotonic() < until and min(d["served"] for d in server.json("/api/stats")["devices"]) < 2:
            for _ in range(4):
                mirror.send(frame)
            mirror.drain(0.1)
        stats = server.json("/api/stats")
        assert min(d["served"] for d in stats["devices"]) >= 2, stats["devices"]
        assert stats["frames"]["failed"] == 0
        mirror.close()


def test_statistics(_):
    with Server("--size", "64x64") as server:
        mirror = Mirror(server)
        for _ in range(20):
            mirror.shows(picture(RED, BLUE))
            time.sleep(0.01)
        stats = server.json("/api/stats")
        session = stats["sessions"][0]
        assert session["transport"] == "ws" and session["frames"]["shown"] == 20 and session["age_ms"]["count"] == 20
        assert 0 < session["age_ms"]["p50"] <= session["age_ms"]["p95"] <= session["age_ms"]["p99"] <= session["age_ms"]["max"]
        for stage in ("wait", "render", "service", "hold", "decode", "encode"):
            assert stage in session["stages_ms"], stage
        assert session["stages_ms"]["decode"]["count"] > 0 and session["stages_ms"]["encode"]["count"] > 0
        assert session["counters"]["frames_in"] == 20 and session["counters"]["bytes_in"] > 2000
        text = server.request("/metrics")[2].decode()
        for stage in ("wait", "service", "age", "decode", "encode"):
            assert f'reverie_frame_seconds_count{{stage="{stage}"}}' in text and f'stage="{stage}",le="+Inf"' in text
        mirror.close()
        eventually(lambda: server.state()["clients"] == 0, "it left")
        assert server.metric('reverie_frames_total{outcome="shown"}') == 20, "counters never fall"


if __name__ == "__main__":
    run_tests(globals())
