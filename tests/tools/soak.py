#!/usr/bin/env python3
"""A soak of `reverie serve --effect invert`: four clients coming and going for a long time, some of them rude, with memory,
order and counters watched.

    REVERIE=build-asan/reverie tests/tools/soak.py --minutes 30

Ends with 0 when nothing crashed, no frame came out of order, and memory stayed flat (in the second half no more than
a tenth, or 20 MB, over the first; not asked of sanitized builds, which keep freed memory). Prints a line a minute."""
import argparse
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "server"))
os.environ.setdefault("REVERIE", "build/reverie")
from serve import SANITIZED, Server  # noqa: E402
from ws_client import Closed, WebSocket, numbered, read_number  # noqa: E402

OFFER = (pathlib.Path(__file__).resolve().parent.parent / "data" / "sdp" / "chrome-offer.sdp").read_text()


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.counts = dict(visits=0, sent=0, shown=0, out_of_order=0, refused=0, rude=0, offers=0)
        self.faults = []

    def add(self, **more):
        with self.lock:
            for name, amount in more.items():
                self.counts[name] += amount


def polite_visit(port, tally, seconds, fps):
    """Sends numbered frames at an even rate, and holds what comes back to order."""
    ws = WebSocket(port)
    tally.add(visits=1)
    until, number, last = time.monotonic() + seconds, random.randrange(1000), 0
    try:
        while time.monotonic() < until:
            begun = time.monotonic()
            number += 1
            ws.send(numbered(number, 128, 128))
            tally.add(sent=1)
            reply = ws.receive(max(0.001, begun + 1 / fps - time.monotonic()))
            if reply is not None:
                got, _ = read_number(reply)
                tally.add(shown=1, out_of_order=int(got <= last))
                last = got
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
        server.post({"seed": random.randrange(1000), "opacity": random.random(), "mirror": random.random() < 0.5, "ramp_ms": 200})
        server.post({"opacity": 1, "mirror": False, "passthrough": False})
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
                polite_visit(server.port, tally, min(random.expovariate(1 / 15) + 1, until - time.monotonic() + 0.1), 30)
        except (OSError, Closed):
            tally.add(refused=1)
        except Exception as error:  # a fault of the server's answers, or of this program
            tally.faults.append(repr(error))
        time.sleep(random.random())


def memory(server):
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def watch(server, tally, until):
    """Megabytes, every five seconds."""
    sizes, said = [], time.monotonic()
    while time.monotonic() < until and server.process.poll() is None:
        time.sleep(5)
        if server.process.poll() is None:
            sizes.append(memory(server))
        if time.monotonic() - said > 60:
            said = time.monotonic()
            print(f"{(until - said) / 60:6.1f} min left, {sizes[-1]:.0f} MB, {tally.counts}", flush=True)
    return sizes


def main():
    parser = argparse.ArgumentParser(description="soak test of the mirror")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally, until = Tally(), time.monotonic() + 60 * options.minutes
    # GLib leaks its old table of quarks by design when GStreamer makes it grow (tests/cli/common.py).
    server = Server("--pace", "off", env={"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"})
    clients = [threading.Thread(target=client, args=(server, tally, until, options.seed + i)) for i in range(options.clients)]
    for thread in clients:
        thread.start()
    sizes = watch(server, tally, until)
    for thread in clients:
        thread.join(60)
    died = server.process.poll()
    if died is None:
        server.process.send_signal(signal.SIGTERM)
        died = server.process.wait(60)
    half = len(sizes) // 2
    first, second = max(sizes[:half], default=0), max(sizes[half:], default=0)
    print(f"ended with {died}; memory at most {first:.0f} MB in the first half, {second:.0f} MB in the second; {tally.counts}")
    wrong = [*tally.faults[:5]]
    if died != 0:
        wrong.append(f"the server ended with {died}: {server.logs()[-3000:]}")
    if tally.counts["out_of_order"] or not tally.counts["shown"]:
        wrong.append("frames out of order, or none")
    if not SANITIZED and second > max(1.1 * first, first + 20):
        wrong.append("memory grows")
    print("\n".join(wrong) if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
