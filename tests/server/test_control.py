#!/usr/bin/env python3
"""The live parameters: our own JSON, and the forms of the programs that are replaced, over HTTP and OSC."""
import http.client
import json
import random
import socket
import struct
import time
import urllib.parse

from bystander import Bystander
from serve import PATIENCE, Server, eventually, free_port, osc, osc_bundle, run_tests


def texts(state):
    return [(p["text"], round(p["weight"], 6)) for p in state["prompts"]]


def test_state_of_fast_trt(_):
    with Server() as server:
        first = server.state()
        for name in ("prompt prompts seed strength steps blend opacity passthrough mirror fps frame_ms queued_frames dropped_frames "
                     "width height revision pace conditioning_ms capture_ms display_ms loop_ms status_text use_latest_frame frame_mode").split():
            assert name in first, name
        status, state = server.post({"prompt": "a neon mirror portrait", "seed": 42, "strength": 0.7, "steps": 2, "blend": 0.5,
                                     "use_latest_frame": True, "output_mode": "auto", "unknown": {"x": [1]}})
        assert status == 200 and state["prompt"] == "a neon mirror portrait" and state["seed"] == 42
        assert (state["status_text"], state["use_latest_frame"], state["frame_mode"]) == ("ready", True, "latest")
        assert state["blend"] == state["opacity"] == 0.5 and state["revision"] == first["revision"] + 1
        for change, name, want in (({"seed": "7"}, "seed", 7), ({"seed": 8.0}, "seed", 8), ({"steps": "4"}, "steps", 4),
                                   ({"passthrough": 1}, "passthrough", True), ({"passthrough": "off"}, "passthrough", False),
                                   ({"left_right_flip": True}, "mirror", True), ({"strength": 1}, "strength", 1.0),
                                   ({"opacity": 7}, "opacity", 1.0), ({"mode": "soft"}, "steps", 3), ({"mode": "hard"}, "strength", 0.7),
                                   ({"mode": "soft", "steps": 5}, "steps", 5), ({"pace": "latency-budget=80"}, "pace", "latency-budget=80"),
                                   ({"seed": str(2**64 - 1)}, "seed", str(2**64 - 1)), ({"paused": True}, "paused", True)):
            status, state = server.post(change)
            assert status == 200 and state[name] == want, (change, state)


def test_nested_state_of_fast_trt(_):
    with Server("--osc", (port := free_port(socket.SOCK_DGRAM))) as server:
        server.post({"prompt": "a cat", "seed": 7, "steps": 3, "left_right_flip": True})
        state = server.state()
        for name in ("prompt", "seed", "steps", "strength", "blend", "passthrough", "left_right_flip", "mirror"):
            assert state["controls"][name] == state[name], name
        assert (state["controls"]["prompt"], state["controls"]["seed"]) == ("a cat", 7)
        config = state["config"]
        assert (config["http_port"], config["osc_port"]) == (server.port, port)
        assert config["cached_resolutions"] == [{"width": 128, "height": 128}] and config["requested_width"] == 128
        assert state["status"] == {"camera_ready": False, "model_ready": True, "resolution_changing": False, "last_error": "",
                                   "message": "ready"}
        assert state["stats"]["diffusion_fps"] == 0 and {"camera_fps", "display_ms", "dropped_frames"} <= set(state["stats"])
        assert server.json("/directory/dancers")["status"] == "updated"


def test_a_change_is_whole_or_none(_):
    with Server() as server:
        before = server.state()
        for change in ({"prompt": "x", "steps": 0}, {"prompt": "x", "steps": 51}, {"seed": -1, "prompt": "x"}, {"prompt": 7},
                       {"prompt": "x" * 4001}, {"strength": 1.5}, {"strength": None}, {"strength": []}, {"passthrough": "perhaps"},
                       {"prompts": []}, {"prompts": [{"text": "a", "weight": -1}]}, {"prompts": [{"text": "a", "weight": 0}]},
                       {"prompts": [{"weight": 1}]}, {"prompts": [1]}, {"prompts": "a"}, {"prompts": ["a"] * 17}, {"mode": "odd"},
                       {"pace": "odd"}, {"pace": "latency-budget=-1"}, {"ramp_ms": -5}, {"seed": 1e300}, {"seed": "1x"},
                       {"seed": str(2**64)}, {"prompts": [{"text": "a", "weight": "much"}]}, {"prompts": [{"text": "a", "weight": []}]}):
            status, reply = server.post(change)
            assert status == 400 and reply["error"], change
        assert server.state() == before


def test_prompts_of_any_number(_):
    with Server() as server:
        state = server.post({"prompts": ["a", {"text": "b", "weight": 2}, {"text": "c\nd"}]})[1]
        assert texts(state) == [("a", 1), ("b", 2), ("c d", 1)]
        assert texts(server.post({"prompts": [{"text": "a", "weight": "0.5"}, {"text": "b", "weight": True}]})[1]) == [("a", 0.5), ("b", 1)]
        assert texts(server.post({"prompts": [str(i) for i in range(16)]})[1])[15] == ("15", 1)
        assert texts(server.post({"prompt": "alone"})[1]) == [("alone", 1)]


def test_transformirror_web(_):
    with Server() as server:
        status, headers, body = server.request("/set?prompt=" + urllib.parse.quote("ein grüner Wald & mehr"))
        assert (status, body.decode()) == (200, "Prompt updated to: ein grüner Wald & mehr")
        assert headers["Content-Type"].startswith("text/plain")
        assert server.state()["prompt"] == "ein grüner Wald & mehr"
        assert server.request("/set?other=1")[::2] == (400, b"No valid parameters provided.")
        assert server.status("/set") == 400


def test_i2i_realtime(_):
    with Server() as server:
        assert server.json("/prompt/" + urllib.parse.quote("sci-fi city, 24/7", safe="")) == {"safety": "safe"}
        assert server.state()["prompt"] == "sci-fi city, 24/7", "nothing is cut out of a prompt"
        assert server.json("/prompt/with/slashes") == {"safety": "safe"} and server.state()["prompt"] == "with/slashes"
        assert server.json("/prompt/?msg=by%20query") == {"safety": "safe"} and server.state()["prompt"] == "by query"
        for path, name, want in (("seed/77", "seed", 77), ("steps/3", "steps", 3), ("strength/0.5", "strength", 0.5),
                                 ("opacity/0.25", "opacity", 0.25), ("opacity/3", "opacity", 1.0), ("passthrough/true", "passthrough", True),
                                 ("passthrough/NO", "passthrough", False), ("fixed_seed/off", "fixed_seed", False),
                                 ("mirror/1", "mirror", True), ("compel/f", "compel", False), ("mode/soft", "steps", 3),
                                 ("mode/hard", "steps", 2), ("strength/1", "strength", 1.0)):
            assert server.json("/" + path) == {"status": "updated"}, path
            assert server.state()[name] == want, path
        for path in ("debug/true", "debug/0", "batch_size/4", "directory/x"):
            assert server.json("/" + path) == {"status": "updated"}, path
        for path in ("seed/x", "steps/0", "steps/", "strength/", "strength/nan", "strength/inf", "passthrough/2x", "mode/loud",
                     "debug/perhaps", f"seed/{2**64}"):
            assert server.status("/" + path) in (400, 404), path
        assert server.status("/mirror") == 200, "the page keeps its address"


def test_gendj(_):
    with Server() as server:
        def post(path):
            status, _, body = server.request(path, "POST")
            return status, json.loads(body)
        assert post("/prompt/one") == (200, {"safety": "safe"}) and post("/secondprompt/two") == (200, {"safety": "safe"})
        assert texts(server.state()) == [("one", 1), ("two", 0)]
        assert post("/blend/0.25") == (200, {"status": "success", "blend": 0.25})
        assert post("/prompt/uno") == (200, {"safety": "safe"})
        assert texts(server.state()) == [("uno", 0.75), ("two", 0.25)], "the pair stays a pair"
        assert post("/blend/1") == (200, {"status": "success", "blend": 1.0}) and texts(server.state())[0] == ("uno", 0)
        status, reply = post("/blend/much")
        assert status == 400 and reply["status"] == "error" and reply["message"]


class Osc:
    def __init__(self, *options):
        self.port = free_port(socket.SOCK_DGRAM)
        self.server = Server("--osc", self.port, *options)
        self.socket = socket.socket(type=socket.SOCK_DGRAM)

    def send(self, packet):
        self.socket.sendto(packet, ("127.0.0.1", self.port))

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *error):
        self.socket.close()
        self.server.__exit__(*error)

    def becomes(self, packet, name, want):
        self.send(packet)

        def check():
            value = self.server.state()[name]
            return value == want or (isinstance(want, float) and abs(value - want) < 1e-6)
        eventually(check, f"{name} becomes {want}")


def test_osc_addresses(_):
    with Osc() as o:
        o.becomes(osc("/prompt", "a", "cat", 9), "prompt", "a cat 9")
        o.becomes(osc("/prompt/0", "first"), "prompt", "first")
        o.send(osc("/prompt/1", "second", "words"))
        o.becomes(osc("/blend_t", 0.5), "crossfade", 0.5)
        assert texts(o.server.state()) == [("first", 0.5), ("second words", 0.5)]
        o.becomes(osc("/blend", "A", "B \"quoted\"", 0.25), "crossfade", 0.25)
        assert texts(o.server.state()) == [("A", 0.75), ("B \"quoted\"", 0.25)]
        o.becomes(osc("/blend", 0.5), "opacity", 0.5)
        o.becomes(osc("/transformirror/seed", 11), "seed", 11)
        o.becomes(osc("/seed", 12.0), "seed", 12)
        o.becomes(osc("/seed", "13"), "seed", 13)
        o.becomes(osc("/steps", 4), "steps", 4)
        o.becomes(osc("/mode", "soft"), "steps", 3)
        o.becomes(osc("/strength", 1), "strength", 1.0)
        o.becomes(osc("/passthrough", True), "passthrough", True)
        o.becomes(osc("/passthrough", 0), "passthrough", False)
        o.becomes(osc("/left_right_flip", True), "mirror", True)
        o.becomes(osc("/scene", 0), "paused", True)
        o.becomes(osc("/scene", 1), "paused", False)
        o.becomes(osc_bundle(osc("/steps", 5), osc_bundle(osc("/seed", 99))), "seed", 99)
        assert o.server.state()["steps"] == 5, "every message of a bundle is read"
        before = o.server.state()
        for packet in (osc("/use_latest_frame", 1), osc("/unknown", 1), osc("/steps", 99), osc("/steps"), osc("/seed", "x")):
            o.send(packet)
        eventually(lambda: o.server.metric('reverie_osc_messages_total{outcome="ignored"}') == 5, "all are counted")
        assert o.server.state() == before


def bad_packets(count):
    rng = random.Random(7)
    good = osc("/prompt", "evil")
    fixed = [b"", b"\0", b"/prompt", b"/prompt\0", b"/prompt\0,s\0\0", b"/prompt\0,s\0\0evil", b"prompt\0\0,s\0\0evil\0\0\0\0",
             b"#bundle\0", b"#bundle\0" + b"\0" * 8 + b"\xff\xff\xff\xff", b"#bundle\0" + b"\0" * 8 + struct.pack(">I", 16) + good[:8],
             b"/steps\0\0,f\0\0\x7f\xc0\0\0", b"/steps\0\0,f\0\0\x7f\x80\0\0", b"/prompt\0,s\0\0\xff\xfe\0\0", b"/seed\0\0\0,b\0\0\x7f\xff\xff\xff",
             b"#bundle\0" * 9, b"/prompt\0," + b"i" * 60 + b"\0\0\0", b"\xff" * 65000, good + b"\0" * 4, good[:-4]]
    nested = good[:-1]
    for _ in range(20):
        nested = osc_bundle(nested + b"\0" * (-len(nested) % 4))
    fixed.append(nested)
    for number in range(count):
        if number < len(fixed):
            yield fixed[number]
        elif number % 2:
            yield good[:rng.randrange(1, len(good) - 1)]
        else:
            yield bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 60)))


def test_ten_thousand_bad_osc_packets(_):
    with Osc() as o:
        before = o.server.state()
        memory = o.server.metric("process_resident_memory_bytes")
        slowest = 0.0
        with Bystander(o.server.port):
            for number, packet in enumerate(bad_packets(10000)):
                o.send(packet)
                if number % 100 == 0:  # more would not fit into the socket of a server that has no core just now
                    start = time.monotonic()
                    assert o.server.status("/healthz") == 200
                    slowest = max(slowest, time.monotonic() - start)
        eventually(lambda: o.server.metric('reverie_osc_messages_total{outcome="bad"}') > 5000, "they are counted")
        assert o.server.state() == before, "nothing changed"
        assert o.server.metric("process_resident_memory_bytes") - memory < 16 << 20
        assert slowest < 20
        assert o.server.logs().count("osc-bad-packet") <= 3, "the log is not flooded"
        o.becomes(osc("/seed", 5), "seed", 5)


def test_osc_port_taken(folder):
    from serve import refused
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        refused("--data", folder, "--effect", "invert", "--listen", "127.0.0.1:0", "--osc", other.getsockname()[1], expect=1)


class Events:
    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.connection.request("GET", "/api/events")
        self.reply = self.connection.getresponse()
        assert self.reply.headers["Content-Type"] == "text/event-stream"

    def next(self, kind):
        found = False
        while True:
            line = self.reply.readline()
            assert line, "the stream ended"
            if line.startswith(b"event: "):
                found = line == b"event: " + kind + b"\n"
            elif found and line.startswith(b"data: "):
                return json.loads(line[6:])

    def close(self):
        self.connection.sock and self.connection.sock.close()
        self.reply.close()


def test_events(_):
    with Server() as server:
        listener, other = Events(server), Events(server)
        assert listener.next(b"state")["prompt"] == "a psychedelic landscape"
        assert listener.next(b"stats")["sessions"] == []
        other.next(b"state")
        server.status("/prompt/news")
        assert listener.next(b"state")["prompt"] == "news"
        listener.close()  # in the middle
        for number in range(20):
            server.status(f"/seed/{number}")
        state = other.next(b"state")
        while state["seed"] != 19:
            state = other.next(b"state")
        stuck = [Events(server) for _ in range(20)]  # never read
        for number in range(300):
            server.status(f"/seed/{number}")
        assert server.status("/healthz") == 200
        for one in stuck:
            one.close()
        other.close()


if __name__ == "__main__":
    run_tests(globals())
