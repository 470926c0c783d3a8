#!/usr/bin/env python3
"""The studio under load, on a server of its own with the built-in model:

    progress   clients that ask for /sdapi/v1/progress while many jobs are queued and one draws: how long answers take
    start      from a request to the first sampler step, without the text encoding, on an idle server
    switch     jobs that ask for another model each time, with room for one: what memory does over the switches

    REVERIE=build/reverie tests/tools/studio_load.py [progress|start|switch ...] [--short] [--json FILE]

Without --short: 1,000 jobs, 50 clients at 2 Hz for 60 s, 200 starts, 1,000 switches. Ends with 1 when an answer is wrong, and
with --strict also when a target is missed: p99 of progress under 20 ms, start under 5 ms, memory that grows by less than
512 bytes a switch (with --short 32 KB: then it still fills caches that are bounded). Figures depend on what else the machine does."""
import argparse
import http.client
import json
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "server"))
os.environ.setdefault("REVERIE", "build/reverie")
from serve import Server, eventually  # noqa: E402

MINI = pathlib.Path(__file__).resolve().parent.parent.parent / "models" / "mini"
JSON = {"Content-Type": "application/json"}
TARGETS = {"progress": ("p99_ms", 20.0), "start": ("p50_ms", 5.0), "switch": ("bytes_per_switch", 512.0)}


class Client(Server):
    """Keeps one connection: libsoup 3.2 (Debian 12) does not free 1.9 KB of each that it had. The server ends one that
    is not used for a minute."""
    connection, used = None, 0.0

    def request(self, path, method="GET", body=None, headers=None, **_):
        if self.connection is None or time.monotonic() - self.used > 30:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        self.used = time.monotonic()
        self.connection.request(method, path, body=body, headers=headers or {})
        reply = self.connection.getresponse()
        return reply.status, reply.headers, reply.read()

    def stop(self, **more):
        if self.connection is not None:
            self.connection.close()
        super().stop(**more)


def submit(server, **changes):
    job = {"kind": "txt2img", "prompt": "a lake", "steps": 4, "width": 256, "height": 256, "seed": 1, **changes}
    status, _, body = server.request("/api/v1/jobs", "POST", json.dumps(job), JSON)
    assert status == 202, (status, body)
    return json.loads(body)["id"]


def done(server, job):
    def ended():
        answer = server.json(f"/api/v1/jobs/{job}")
        return answer if answer["ended"] else None
    answer = eventually(ended, f"job {job} ends", 120)
    assert answer["state"] == "done", answer
    return answer


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# ---- progress ----

class Poller(threading.Thread):
    """One page: keeps its connection, and asks twice a second."""

    def __init__(self, server, begin, until):
        super().__init__(daemon=True)
        self.server, self.begin, self.until, self.times, self.fault = server, begin, until, [], None
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
        next_time = self.begin
        try:
            while next_time < self.until:
                time.sleep(max(0.0, next_time - time.monotonic()))
                start = time.perf_counter()
                connection.request("GET", "/sdapi/v1/progress")
                reply = connection.getresponse()
                body = reply.read()
                self.times.append(time.perf_counter() - start)
                assert reply.status == 200 and b'"progress"' in body, (reply.status, body)
                next_time += 0.5
        except Exception as fault:  # noqa: BLE001
            self.fault = fault


def progress(options):
    jobs, clients, seconds = (200, 20, 4) if options.short else (1000, 50, 60)
    with tempfile.TemporaryDirectory() as data, Client("--threads", options.threads, data=data) as server:
        done(server, submit(server, steps=1))
        long = submit(server, steps=500, width=512, height=512)
        queued = [submit(server, seed=n) for n in range(jobs)]
        eventually(lambda: server.json(f"/api/v1/jobs/{long}")["step"] > 0, "a job draws", 120)
        now = time.monotonic() + 0.2
        pollers = [Poller(server, now + 0.5 * n / clients, now + seconds) for n in range(clients)]
        for poller in pollers:
            poller.join()
            if poller.fault is not None:
                raise poller.fault
        state = server.json(f"/api/v1/jobs/{long}")
        left = server.json("/api/v1/jobs?limit=1")["queue"]["jobs"]
        assert left > jobs // 2, "the queue was full all the time"
        for job in (long, *queued):
            server.status(f"/api/v1/jobs/{job}", method="DELETE")
        times = [1000 * t for poller in pollers for t in poller.times]
    return {"jobs": jobs, "clients": clients, "requests": len(times), "drew_steps": state["step"], "p50_ms": percentile(times, 0.5),
            "p99_ms": percentile(times, 0.99), "max_ms": max(times)}


# ---- start ----

def start(options):
    count = 20 if options.short else 200
    with tempfile.TemporaryDirectory() as data, Client("--threads", options.threads, data=data) as server:
        done(server, submit(server, width=64, height=64, steps=1))
        for number in range(count):
            done(server, submit(server, width=64, height=64, steps=1, seed=number))
        starts = server.json("/api/stats")["job_start_ms"]
        assert starts["count"] == count, starts
    return {"jobs": count, "p50_ms": starts["p50"], "p99_ms": starts["p99"], "max_ms": starts["max"]}


# ---- switch ----

def change_weights(path, number):
    """Other numbers in the same file: the low bytes of every 1000th 16-bit or 32-bit number."""
    data = bytearray(path.read_bytes())
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    for at in range(begin, len(data), 4000):
        data[at] = (data[at] + number) % 256
    path.write_bytes(data)


def settled(server):
    """Bytes of memory that stay in use once the models are given up and the allocator has given back what was theirs."""
    status, _, body = server.request("/sdapi/v1/unload-checkpoint", "POST", "{}", JSON)
    assert status == 200, (status, body)
    for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def slope(points):
    """Of the straight line through them, least squares."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def draw(server, model):
    body = {"prompt": "a lake", "steps": 1, "width": 64, "height": 64, "seed": 1, "override_settings": {"sd_model_checkpoint": model}}
    status, _, answer = server.request("/sdapi/v1/txt2img", "POST", json.dumps(body), JSON)
    assert status == 200, (status, answer)
    return json.loads(answer)["images"][0]


def fill_caches(server, jobs):
    """The newest 1,024 events stay in memory, and pages of the database: they grow up to their bounds and then no more."""
    for number in range(jobs):
        submit(server, width=64, height=64, steps=1, seed=number, prompt="a lake " * 40)
        if number % 50 == 49:
            eventually(lambda: server.json("/api/v1/jobs?limit=1")["queue"]["jobs"] == 0, "the queue is empty", 120)


def switch(options):
    switches, every, warm = (24, 6, 0) if options.short else (1000, 100, 450)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        names = [f"mini-{n}" for n in range(3)]
        for number, name in enumerate(names):
            shutil.copytree(MINI, folder / "models" / name)
            change_weights(next((folder / "models" / name / "unet").glob("*.safetensors")), number)
        with Client("--threads", options.threads, "--models", folder / "models", "--model-memory", 1,
                    data=folder / "data") as server:
            fill_caches(server, warm)
            pictures = {name: draw(server, name) for name in names * 2}
            points, begin = [(0, settled(server))], time.monotonic()
            for number in range(1, switches + 1):
                name = names[number % len(names)]
                assert draw(server, name) == pictures[name], "a model draws the same again"
                if number % every == 0:
                    points.append((number, settled(server)))
            seconds = time.monotonic() - begin
        assert len(set(pictures.values())) == len(names), "each model draws its own picture"
    return {"switches": switches, "seconds": seconds, "switches_per_s": switches / seconds, "first_mb": points[0][1] / 1e6,
            "last_mb": points[-1][1] / 1e6, "most_mb": max(y for _, y in points) / 1e6, "bytes_per_switch": slope(points)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["progress", "start", "switch"])
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--strict", action="store_true", help="fail when a target is missed")
    parser.add_argument("--threads", type=int, default=0, help="of the engine (default: one per core)")
    parser.add_argument("--json", help="write the figures there")
    options = parser.parse_args()
    figures, missed = {}, 0
    for what in options.what:
        if what not in TARGETS:
            parser.error(f"there is no part {what}")
        figures[what] = globals()[what](options)
        name, most = TARGETS[what]
        if what == "switch" and options.short:
            most = 32768.0
        is_met = figures[what][name] < most
        missed += not is_met
        print(f"{what:9}", ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures[what].items()),
              f"({name} under {most:g}: {'yes' if is_met else 'NO'})", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
