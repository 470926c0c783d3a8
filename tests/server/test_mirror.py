#!/usr/bin/env python3
"""The mirror with a real (tiny) model: frames come back drawn, and the live parameters change what is seen."""
import json
import time

from bystander import Bystander
from serve import MODEL, PATIENCE, Server, eventually, free_port, osc, run_tests
from stall import NotAllowed, Stalled
from ws_client import ACK, FRAME, HEADER, Closed, WebSocket, decode, encode, header

SIZE = 64
OPTIONS = ["--model", MODEL, "--size", f"{SIZE}x{SIZE}", "--threads", 1, "--pace", "off"]


def picture(left, right):
    """A frame with one colour on each half."""
    row = bytes(left) * (SIZE // 2) + bytes(right) * (SIZE // 2)
    return encode(row * SIZE, SIZE, SIZE, quality=95)


RED, BLUE, GREY = (220, 30, 30), (30, 30, 220), (128, 128, 128)


class Mirror(WebSocket):
    """Acknowledges each picture at once, so that the server has no reason to send worse ones."""

    def __init__(self, server):
        super().__init__(server.port, protocol="reverie.1")
        assert self.status == 101, self.head
        self.sequence = 0

    def shows(self, frame, times=1):
        """What comes back for this frame, the last of so many times."""
        for _ in range(times):
            self.sequence += 1
            self.send(header(FRAME, self.sequence) + frame)
            reply = self.receive(30)
            assert reply is not None, "no picture came back"
            _, _, _, _, sequence, *_ = HEADER.unpack(reply[:HEADER.size])
            assert sequence == self.sequence, "each picture belongs to its frame"
            self.send(header(ACK, sequence))
        width, height, rgb = decode(reply[HEADER.size:])
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


def settled(server, mirror, frame):
    """The picture once its prompts are encoded, which happens beside the frames that go on meanwhile."""
    mirror.shows(frame, 2)
    eventually(lambda: server.state()["prompts_being_encoded"] == 0, "prompts are encoded")
    return mirror.shows(frame, 3)


def test_parameters_change_the_picture(_):
    frame = picture(RED, BLUE)
    plain = {"prompt": "a red fox", "seed": 1, "steps": 2, "strength": 0.7}
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        server.post(plain)
        first = settled(server, mirror, frame)
        assert distance(first, mirror.shows(frame)) < 0.5, "the same noise: the picture stands still"
        for change in ({"prompt": "a green forest in the rain"}, {"seed": 2}, {"steps": 4, "strength": 1.0}, {"steps": 3, "strength": 0.5}):
            server.post({**plain, **change})
            assert distance(settled(server, mirror, frame), first) > 1.0, change
            server.post(plain)
            assert distance(settled(server, mirror, frame), first) < 0.5, "and comes back"
        mirror.close()
        assert server.metric('reverie_frames_total{outcome="shown"}') >= 10
        assert server.metric('reverie_frames_total{outcome="failed"}') == 0


def test_strength_works_evenly(_):
    """Each strength has a picture of its own; presets are diffusers' own numbers; whole steps on request."""
    frame = picture(RED, BLUE)
    with Server("--size", f"{SIZE}x{SIZE}", "--threads", 1, "--pace", "off", effect=False) as server:  # mini: trailing, as turbo models
        mirror = Mirror(server)
        seen = []
        for strength in (0.0, 0.2, 0.45, 0.55, 0.62, 0.7, 0.8, 0.9, 1.0):
            server.post({"steps": 2, "strength": strength})
            seen.append(settled(server, mirror, frame))
        assert min(distance(a, b) for a, b in zip(seen, seen[1:])) > 0.5, "no dead zone"
        server.post({"smooth_strength": False})
        for strength in (0.5, 0.7, 0.95):
            server.post({"strength": strength})
            assert distance(settled(server, mirror, frame), seen[5]) < 0.5, "int(steps * strength) of the steps"
        server.json("/mode/soft")
        soft = settled(server, mirror, frame)
        server.json("/smooth_strength/on")
        assert distance(settled(server, mirror, frame), soft) < 0.5
        mirror.close()


def test_blends_lie_between(_):
    frame = picture(GREY, GREY)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        pair = [{"text": "a red fox", "weight": 1}, {"text": "a \"green\" forest \\", "weight": 0}]
        seen = []
        for weights in ((1, 0), (0, 1), (1, 1)):
            pair[0]["weight"], pair[1]["weight"] = weights
            server.post({"strength": 1.0, "prompts": pair})
            seen.append(settled(server, mirror, frame))
        a, b, middle = seen
        assert distance(a, b) > 1.0
        assert min(distance(a, middle), distance(b, middle)) > 0.1
        assert server.state()["conditioning_ms"] > 0
        assert max(distance(a, middle), distance(b, middle)) < distance(a, b) * 1.2
        server.post({"prompt": '("a red fox", "a \\"green\\" forest").blend(0.5, 0.5)'})
        assert distance(settled(server, mirror, frame), a) > 0.1
        mirror.close()


def test_prompts_and_seeds_travel(_):
    """With ramp_ms the picture goes over to the new one by and by, and arrives."""
    frame = picture(GREY, GREY)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        first = {"prompt": "a red fox", "seed": 1, "strength": 1.0, "ramp_ms": 0}
        for change in ({"prompt": "a green forest in the rain"}, {"seed": 99}):
            server.post({**first, **change})
            there = settled(server, mirror, frame)
            server.post(first)
            here = settled(server, mirror, frame)
            whole = distance(here, there)
            assert whole > 1.0, change
            server.post({"ramp_ms": 3000, **change})
            ways = []
            eventually(lambda: ways.append(distance(mirror.shows(frame), there)) or ways[-1] < 0.5, "it arrives")
            assert any(0.15 * whole < way < 0.85 * whole for way in ways), (change, whole, ways)
        mirror.close()


def test_a_prompt_that_cannot_be_read_changes_nothing(_):
    frame = picture(GREY, GREY)
    with Server(*OPTIONS, effect=False) as server:
        mirror = Mirror(server)
        before = settled(server, mirror, frame)
        server.post({"prompt": '("a", "b").blend(0, 0)'})
        assert distance(settled(server, mirror, frame), before) < 0.5
        assert "prompt-failed" in server.logs()
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
            mirror.sequence += 1
            mirror.send(header(FRAME, mirror.sequence) + frame)
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
    with Server(*OPTIONS, "--device", "cpu,cpu", "--log", "json", effect=False) as server:
        eventually(lambda: len(server.json("/api/stats")["devices"]) == 2, "both are open")
        mirror = Mirror(server)
        frame = picture(RED, BLUE)
        until = time.monotonic() + 30
        while time.monotonic() < until and min(d["served"] for d in server.json("/api/stats")["devices"]) < 2:
            for _ in range(4):
                mirror.sequence += 1
                mirror.send(header(FRAME, mirror.sequence) + frame)
            for reply in mirror.drain(0.1):
                mirror.send(header(ACK, HEADER.unpack(reply[:HEADER.size])[4]))
        stats = server.json("/api/stats")
        assert min(d["served"] for d in stats["devices"]) >= 2, stats["devices"]
        assert stats["frames"]["failed"] == 0
        assert sorted(d["name"] for d in stats["devices"]) == ["cpu", "cpu#2"], "each has a name of its own"
        try:
            with Bystander(server.port, path="/ws?effect=invert"):
                check_stalls(server, mirror, frame)
        except NotAllowed as reason:
            print(f"# no device was stalled: {reason}")
        mirror.close()


def post_job(server, is_first=True, **changes):
    """Its path; of the first in the queue once it is being drawn."""
    job = {"kind": "txt2img", "prompt": "a red apple", "steps": 4, "width": SIZE, "height": SIZE, **changes}
    status, _, body = server.request("/api/v1/jobs", "POST", json.dumps(job), {"Content-Type": "application/json"})
    assert status == 202
    path = f"/api/v1/jobs/{json.loads(body)['id']}"
    if is_first:
        eventually(lambda: server.json(path)["state"] == "running", "the job is being drawn")
    return path


def look_until_closed(server):
    """Frames, until the server closes the connection, because it begins anew."""
    mirror, frame = Mirror(server), picture(RED, BLUE)
    try:
        for _ in range(100):
            mirror.sequence += 1
            mirror.send(header(FRAME, mirror.sequence) + frame)
            mirror.receive(0.2)
    except (Closed, ConnectionError) as closed:
        assert getattr(closed, "code", 1001) == 1001, closed
        mirror.close()
        return
    raise AssertionError("the device was not lost")


def test_lost_device(_):
    """A device that the process cannot use any more: the process begins anew, pages connect again, no job is lost."""
    frame = picture(RED, BLUE)
    with Server(*OPTIONS, "--device", "cpu,cpu", effect=False, env={"REVERIE_CPU_FAULT": "40"}) as server:
        eventually(lambda: len(server.json("/api/stats")["devices"]) == 2, "both are open")
        mirror = Mirror(server)
        before = mirror.shows(frame)
        mirror.close()
        path, queued = post_job(server, n_iter=12, seed=7), post_job(server, is_first=False, n_iter=2, seed=30)
        look_until_closed(server)
        eventually(lambda: server.status("/readyz") == 200, "ready again")
        mirror = Mirror(server)
        after = mirror.shows(frame)
        assert all(close(mean(after, half), mean(before, half)) for half in (0, 1)), "the same picture as before"
        mirror.close()
        eventually(lambda: all(server.json(job)["ended"] for job in (path, queued)), "the jobs end", 60)
        drawn = [server.json(job) for job in (path, queued)]
        assert [(job["state"], job["pictures"]) for job in drawn] == [("done", 12), ("done", 2)], drawn
        again = post_job(server, is_first=False, n_iter=12, seed=7)
        eventually(lambda: server.json(again)["ended"], "it ends", 60)
        assert server.json(f"{again}/result")["images"] == server.json(f"{path}/result")["images"], "the same pictures"
        assert server.logs().count("restarting why=") == 1 and "a device was lost" in server.logs()
        restarts = server.json("/api/stats")["restarts"]
        assert restarts == {"lost": 1, "asked": 0}, restarts


def almost_a_minute_ago():
    """The environment of a process that replaced another then, as microseconds of the monotonic clock."""
    began = time.monotonic_ns() // 1000 - 50_000_000
    return began, {"REVERIE_BEGAN_ANEW_US": str(began), "REVERIE_RESTARTS": "1:0"}


def waits_for_restart(server):
    status, _, text = server.request("/readyz")
    assert status == 503 and b"a new process tries again in" in text, text
    assert server.status("/healthz") == 200
    restarts = server.json("/api/stats")["restarts"]
    assert 0 < restarts.pop("next_seconds") <= 60 and restarts == {"lost": 1, "asked": 0}, restarts
    job = json.dumps({"kind": "txt2img", "prompt": "a red apple"})
    status, _, text = server.request("/api/v1/jobs", "POST", job, {"Content-Type": "application/json"})
    assert status == 429 and b"waits for a device" in text, text


def begins_anew(server, began):
    eventually(lambda: "restarting why=" in server.logs(), "the server begins anew")
    assert time.monotonic_ns() // 1000 - began >= 60_000_000 and server.logs().count("restart-waits") == 1
    eventually(lambda: server.status("/readyz") == 200, "it is ready again")
    assert server.metric('reverie_restarts_total{reason="lost"}') == 2 and server.metric('reverie_restarts_total{reason="asked"}') == 0


def test_lost_again(_):
    """A process that has only just replaced another is not replaced at once: a minute must have passed."""
    began, env = almost_a_minute_ago()
    with Server(*OPTIONS, "--device", "cpu", effect=False, env={"REVERIE_CPU_FAULT": "40", **env}) as server:
        eventually(lambda: server.status("/readyz") == 200, "ready")
        path = post_job(server, n_iter=30)
        eventually(lambda: "restart-waits" in server.logs(), "the device is lost")
        assert "restarting why=" not in server.logs()
        waits_for_restart(server)
        begins_anew(server, began)
        eventually(lambda: server.json(path)["state"] == "done" and server.json(path)["pictures"] == 30, "the job is drawn")


def test_lost_before_it_is_ready(folder):
    """At a first start that is the end; after a loss it is tried again."""
    port = free_port()
    options = dict(data=folder, effect=False, listen=f"127.0.0.1:{port}", wait=False)
    with Server(*OPTIONS, "--device", "cpu", env={"REVERIE_CPU_FAULT": "1"}, **options) as server:
        assert server.process.wait(PATIENCE) == 4 and "restarting" not in server.logs()
    began, env = almost_a_minute_ago()
    with Server(*OPTIONS, "--device", "cpu", env={"REVERIE_CPU_FAULT": "1", **env}, **options) as server:
        server.scheme, server.host, server.port = "http", "127.0.0.1", port
        eventually(lambda: "restart-waits" in server.logs(), "the device is lost")
        waits_for_restart(server)
        begins_anew(server, began)


def job_at(server, path):
    """Nothing while the server begins anew: whoever asks at that moment loses the connection."""
    try:
        return server.json(path)
    except ConnectionError:
        return {}


def test_job_that_loses_devices(folder):
    """Of a job with which devices are lost again and again the server rids itself; others are drawn."""
    options = dict(data=folder, effect=False, env={"REVERIE_CPU_FAULT": "40"})
    with Server(*OPTIONS, "--device", "cpu", **options) as server:
        path = post_job(server, n_iter=1000)
        eventually(lambda: "device-ready" in server.logs().partition("restarting")[2], "the server begins anew")
        pictures = server.json(path)["pictures"]
        eventually(lambda: job_at(server, path).get("pictures", 0) > pictures, "it is drawn again")
    with Server(*OPTIONS, "--device", "cpu", **options) as server:
        answer = eventually(lambda: job_at(server, path).get("ended") and job_at(server, path), "the job ends")
        assert answer["state"] == "failed" and "lost" in answer["error"], answer
        eventually(lambda: "device-ready" in server.logs().partition("restarting")[2], "the server begins anew")
        other = post_job(server, n_iter=1)
        eventually(lambda: server.json(other)["state"] == "done", "another job")


def halves(jpeg):
    """The mean colours of the left and the right half, whatever its size: six numbers."""
    width, height, rgb = decode(jpeg)
    half = 3 * (width // 2)
    sides = [b"".join(rgb[at:at + half] for at in range(side * half, len(rgb), 3 * width)) for side in (0, 1)]
    return [sum(side[c::3]) / len(side[c::3]) for side in sides for c in range(3)]


def device(server, name):
    return next(d for d in server.json("/api/stats")["devices"] if d["name"] == name)


def check_stalls(server, mirror, frame):
    """A device that hangs is taken out and its frame given up; the other goes on. While both hang the last picture stays,
    and another mirror, on a device of its own, notices nothing. Each comes back when it answers."""
    shown = []  # numbers and pictures

    def flow(until, what):
        """Frames go in without a pause, whether or not something comes back."""
        def step():
            mirror.sequence += 1
            mirror.send(header(FRAME, mirror.sequence) + frame)
            while (reply := mirror.receive(0.05)) is not None:
                number = HEADER.unpack(reply[:HEADER.size])[4]
                shown.append((number, reply[HEADER.size:]))
                mirror.send(header(ACK, number))
            return until()
        eventually(step, what, 3 * PATIENCE)

    def more(count):
        begun = len(shown)
        flow(lambda: len(shown) >= begun + count, f"{count} frames are shown")

    flow(lambda: server.state()["prompts_being_encoded"] == 0, "the prompt is encoded")
    more(3)
    drawn = halves(shown[-1][1])
    with Stalled(server.process.pid, "cpu#2"):
        flow(lambda: device(server, "cpu#2")["taken_out"] == 1, "the device that hangs is taken out")
        more(5)
        assert server.status("/readyz") == 200 and server.metric('reverie_device_up{device="cpu#2"}') == 0
        with Stalled(server.process.pid, "cpu"):
            flow(lambda: server.status("/readyz") == 503, "no device works")
            held, until = len(shown), time.monotonic() + 1
            flow(lambda: time.monotonic() > until, "a second passes")
            assert len(shown) == held, "the last picture stays"
        more(5)
        assert device(server, "cpu")["brought_back"] == 1 and device(server, "cpu#2")["state"] == "out"
    flow(lambda: device(server, "cpu#2")["brought_back"] == 1, "the other comes back too")
    served = device(server, "cpu#2")["served"]
    flow(lambda: device(server, "cpu#2")["served"] > served, "and draws")
    numbers = [number for number, _ in shown]
    assert numbers == sorted(set(numbers)), "never an older one after a newer"
    furthest = max(distance(halves(jpeg), drawn) for _, jpeg in shown)
    assert furthest < 0.2 * distance(halves(frame), drawn), f"only drawn pictures were shown, never the camera's: {furthest}"
    frames = server.json("/api/stats")["frames"]
    assert frames["failed"] >= 1 and frames["failed"] + frames["late"] >= 2, f"one frame of each was given up: {frames}"
    said = [line["text"] for line in map(json.loads, server.logs().splitlines()) if line["event"] == "message"]
    assert any("cpu#2 is taken out" in text for text in said) and "cpu works again" in said, said


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
