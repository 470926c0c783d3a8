#!/usr/bin/env python3
"""A soak of `reverie serve --effect invert`: four clients coming and going for a long time, some of them rude, with memory,
order and counters watched. One of them is a real Chromium, three of whose four visits are over WebRTC
(tests/browser/visit.mjs); it is left out, and the result says so, where Chromium is missing.

    REVERIE=build-asan/reverie tests/tools/soak.py --minutes 30

Each picture out of order is told with its client, transport and numbers; one whose number cannot be read is told with the
levels of its bars, and judged only when such pictures are many (one of a hundred).

Ends with 0 when nothing crashed, no frame came out of order, and memory stayed flat: the median of the last third is no more
than a tenth, or 20 MB, over that of the middle third; so for what malloc has given out (3 MB) and for open files (40). A
sanitized build is given a small quarantine for freed memory, so that this can be asked of it, too; its resident memory is still
mostly what the sanitizer keeps, and what malloc has given out is what tells a leak. Prints a line a minute, and a table of
memory over time at the end."""
import argparse
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "server"))
os.environ.setdefault("REVERIE", "build/reverie")
from serve import Server  # noqa: E402
from ws_client import Closed, WebSocket, numbered, read_bars  # noqa: E402

TESTS = pathlib.Path(__file__).resolve().parent.parent
OFFER = (TESTS / "data" / "sdp" / "chrome-offer.sdp").read_text()
# GLib leaks its old table of quarks by design when GStreamer makes it grow (tests/cli/common.py).
SANITIZER = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0:quarantine_size_mb=16:thread_local_quarantine_size_kb=64:malloc_context_size=10"}


class Tally:
    def __init__(self):
        self.lock, self.begun = threading.Lock(), time.monotonic()
        self.counts = dict(visits=0, sent=0, shown=0, out_of_order=0, refused=0, rude=0, offers=0, webrtc_visits=0,
                           webrtc_shown=0, unseen=0, unreadable=0)
        self.faults = []  # what went wrong, a line each

    def add(self, **more):
        with self.lock:
            for name, amount in more.items():
                self.counts[name] += amount

    def fault(self, text):
        print(f"FAULT after {time.monotonic() - self.begun:.0f} s: {text}", flush=True)
        with self.lock:
            self.faults.append(text)


class Order:
    """Of one visit's pictures. A number must have been sent and be above the last one; only clear bars tell one."""

    def __init__(self, tally, who, first):
        self.tally, self.who, self.first, self.last = tally, who, first, first - 1

    def check(self, jpeg, newest):
        bars = read_bars(jpeg)
        self.tally.add(shown=1)
        if any(64 < level < 192 for level in bars):
            self.tally.add(unreadable=1)
            print(f"{self.who}: a picture whose number cannot be read, bars {bars}, after {self.last}, newest sent {newest}", flush=True)
            return
        got = sum(1 << i for i, level in enumerate(bars) if level < 128)
        if not self.last < got <= newest:
            self.tally.add(out_of_order=1)
            kind = "was never sent" if got > newest or got < self.first else "came twice" if got == self.last else "came too late"
            self.tally.fault(f"{self.who}: frame {got} {kind}: the one before was {self.last}, sent were {self.first} to {newest}, bars {bars}")
        self.last = max(self.last, min(got, newest))


def polite_visit(port, tally, seconds, fps, client):
    """Sends numbered frames at an even rate, and holds what comes back to order."""
    ws = WebSocket(port)
    tally.add(visits=1)
    until, number = time.monotonic() + seconds, random.randrange(1000)
    order = Order(tally, f"client {client} over WebSocket, visit of {seconds:.0f} s", number + 1)
    try:
        while time.monotonic() < until:
            begun = time.monotonic()
            number += 1
            ws.send(numbered(number, 128, 128))
            tally.add(sent=1)
            reply = ws.receive(max(0.001, begun + 1 / fps - time.monotonic()))
            if reply is not None:
                order.check(reply, number)
            time.sleep(max(0, begun + 1 / fps - time.monotonic()))
    finally:
        ws.socket.close() if random.random() < 0.5 else ws.close()


def rude_visit(port, tally, server):
    """Garbage, a flood, a silent reader, an offer that is never followed up, odd parameters."""
    tally.add(rude=1)
    kind = random.randrange(5)
    if kind == 4:
        body = json.dumps({"sdp": OFFER, "type": "offer"})
        server.request("/offer", "POST", body, {"Content-Type": "application/json"})
        tally.add(offers=1)
        return
    if kind == 3:
        # Nothing that would make the numbers in the pictures unreadable.
        server.post({"seed": random.randrange(1000), "opacity": random.uniform(0.9, 1), "steps": random.randrange(99), "ramp_ms": 200})
        server.post({"opacity": 1, "prompt": "x" * random.randrange(5000)})
        return
    ws = WebSocket(port)
    for i in range(200):
        ws.send(os.urandom(random.randrange(1, 3000)) if kind == 0 else numbered(i + 1, 128, 128))
    if kind == 2:
        time.sleep(2)
    ws.socket.close()


def client(server, tally, until, seed):
    random.seed(seed)
    while time.monotonic() < until:
        try:
            if random.random() < 0.15:
                rude_visit(server.port, tally, server)
            else:
                polite_visit(server.port, tally, min(random.expovariate(1 / 15) + 1, until - time.monotonic() + 0.1), 30, seed)
        except (OSError, Closed):
            tally.add(refused=1)
        except Exception as error:  # a fault of the server's answers, or of this program
            tally.fault(f"client {seed}: {error!r}")
        time.sleep(random.random())


def has_browser():
    return (shutil.which("node") and os.access(os.environ.get("REVERIE_CHROMIUM", "/usr/bin/chromium"), os.X_OK)
            and (TESTS / "browser" / "node_modules" / "playwright-core").is_dir())


def browser_client(server, tally, until, seed):
    """What tests/browser/visit.mjs sees. A visit without a picture is a fault only when there are many: see main."""
    command = ["node", str(TESTS / "browser" / "visit.mjs"), f"http://127.0.0.1:{server.port}", str(until - time.monotonic()), str(seed)]
    visitor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in visitor.stdout:
        visit = json.loads(line)
        tally.add(visits=1, shown=visit["shown"], out_of_order=visit["outOfOrder"], unseen=int(visit["transport"] is None))
        if visit["transport"] == "webrtc":
            tally.add(webrtc_visits=1, webrtc_shown=visit["shown"])
        if visit["outOfOrder"]:
            tally.fault(f"Chromium over {visit['transport']}: {visit['reason']}")
        elif visit["reason"]:
            print(f"Chromium over {visit['transport'] or 'no transport'}: {visit['reason']}", flush=True)
    if visitor.wait() != 0:
        tally.fault(f"the browser's visitor ended with {visitor.returncode}")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def memory(server):
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def heap(server):
    """Megabytes that malloc has given out."""
    text = server.request("/metrics", headers={"Connection": "close"})[2].decode()
    return float(re.search(r"^reverie_heap_bytes (\S+)$", text, re.M)[1]) / 1e6


class Samples:
    """Every five seconds: megabytes resident and given out, and open files."""

    def __init__(self):
        self.sizes, self.heaps, self.files = [], [], []

    def take(self, server):
        try:
            taken = memory(server), heap(server), descriptors(server)
        except (OSError, http.client.HTTPException) as error:
            print(f"not sampled: {error!r}", flush=True)
            return
        for values, value in zip((self.sizes, self.heaps, self.files), taken):
            values.append(value)


def watch(server, tally, until):
    samples, said = Samples(), time.monotonic()
    while time.monotonic() < until and server.process.poll() is None:
        time.sleep(5)
        if server.process.poll() is None:
            samples.take(server)
        if time.monotonic() - said > 60 and samples.files:
            said = time.monotonic()
            print(f"{(until - said) / 60:6.1f} min left, {samples.sizes[-1]:.0f} MB, {samples.heaps[-1]:.0f} MB given out, "
                  f"{samples.files[-1]} files, {tally.counts}", flush=True)
    return samples


def begin(server, tally, until, options):
    """The clients' threads."""
    works = [client] * options.clients
    if has_browser():
        works[0] = browser_client
    threads = [threading.Thread(target=work, args=(server, tally, until, options.seed + i), daemon=True) for i, work in enumerate(works)]
    for thread in threads:
        thread.start()
    return threads


def slope(sizes):
    """Megabytes an hour of the straight line through samples five seconds apart."""
    if len(sizes) < 3:
        return 0.0
    return statistics.linear_regression([5 * i / 3600 for i in range(len(sizes))], sizes).slope


def print_memory(samples, minutes):
    """Ten rows and the slope after the first third, in which caches fill."""
    sizes, heaps, n = samples.sizes, samples.heaps, len(samples.sizes)
    print("| minutes | MB, median | MB, most | given out, MB, least | median | open files, median |\n|---|---|---|---|---|---|")
    for i in range(10):
        part = slice(i * n // 10, (i + 1) * n // 10)
        if sizes[part]:
            print(f"| {minutes * i / 10:.0f} to {minutes * (i + 1) / 10:.0f} | {statistics.median(sizes[part]):.0f} | {max(sizes[part]):.0f} "
                  f"| {min(heaps[part]):.1f} | {statistics.median(heaps[part]):.1f} | {statistics.median(samples.files[part]):.0f} |")
    print(f"slope after the first third: {slope(sizes[n // 3:]):+.1f} MB an hour, of what is given out {slope(heaps[n // 3:]):+.1f}")


def grows(values, least):
    """Whether the last third is more than a tenth, and `least`, above the middle one."""
    third = len(values) // 3
    if third == 0:
        return False
    middle, last = statistics.median(values[third : 2 * third]), statistics.median(values[2 * third :])
    return last > max(1.1 * middle, middle + least)


def problems(tally, died, samples):
    wrong, counts = tally.faults[:20], tally.counts
    if died != 0:
        wrong.append(f"the server ended with {died}")
    if counts["out_of_order"]:
        wrong.append(f"{counts['out_of_order']} frames out of order")
    if not counts["shown"]:
        wrong.append("no picture was shown at all")
    if has_browser() and not counts["webrtc_shown"]:
        wrong.append("no picture came over WebRTC")
    if counts["unreadable"] > counts["shown"] // 100:
        wrong.append(f"{counts['unreadable']} of {counts['shown']} pictures could not be read")
    if has_browser() and counts["unseen"] > max(1, counts["visits"] // 20):
        wrong.append(f"{counts['unseen']} visits of the browser saw no picture")
    if grows(samples.sizes, 20) or grows(samples.heaps, 3):
        wrong.append("memory grows: see the table")
    if grows(samples.files, 40):
        wrong.append("open files grow: see the table")
    return wrong


def main():
    parser = argparse.ArgumentParser(description="soak test of the mirror")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally, until = Tally(), time.monotonic() + 60 * options.minutes
    server = Server("--pace", "off", "--size", "256x256", env=SANITIZER)
    clients = begin(server, tally, until, options)
    samples = watch(server, tally, until)
    for thread in clients:
        thread.join(120)
        if thread.is_alive():
            tally.fault("a client did not end: a call hangs")
    died = server.process.poll()
    if died is None:
        server.process.send_signal(signal.SIGTERM)
        died = server.process.wait(60)
    print_memory(samples, options.minutes)
    print(f"ended with {died}; {tally.counts}{'' if has_browser() else '; without a browser: no WebRTC'}")
    wrong = problems(tally, died, samples)
    if died != 0:
        print(server.logs()[-5000:])
    print("\n".join(["WRONG:", *wrong]) if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
