#!/usr/bin/env python3
"""A client that minds its own business while others misbehave: each of its frames must come back, with its number and in
order. In tests: `with Bystander(port) as other: ...`; alone: `bystander.py PORT [ADDRESS]`, until its standard input ends."""
import sys
import threading
import time

from ws_client import WebSocket, numbered, read_number

FRAMES = [numbered(number, 64, 64) for number in range(256)]


class Bystander:
    def __init__(self, port, address="127.0.0.1", fps=20, patience=60, path="/ws"):
        self.port, self.address, self.fps, self.patience, self.path = port, address, fps, patience, path
        self.seen, self.slowest, self.fault = 0, 0.0, None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            ws = WebSocket(self.port, self.path, address=self.address)
            while not self.stopping.is_set():
                begun, number = time.monotonic(), (self.seen + 1) % 256
                ws.send(FRAMES[number])
                reply = ws.receive(self.patience)
                assert reply is not None, f"frame {number} did not come back in {self.patience} s"
                assert read_number(reply)[0] == number, f"frame {read_number(reply)[0]} came back for {number}"
                self.seen += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.stopping.wait(max(0, begun + 1 / self.fps - time.monotonic()))
            ws.close()
        except Exception as error:
            self.fault = repr(error)

    def sees_more(self, frames=5):
        """Frames go on from now."""
        wanted, until = self.seen + frames, time.monotonic() + self.patience
        while self.seen < wanted and self.fault is None and time.monotonic() < until:
            time.sleep(0.02)
        assert self.fault is None and self.seen >= wanted, f"another client was disturbed: {self.fault}, {self.seen} frames"

    def __enter__(self):
        self.thread.start()
        self.sees_more(1)
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.sees_more()
        finally:
            self.stopping.set()
            self.thread.join(self.patience + 5)


if __name__ == "__main__":
    with Bystander(int(sys.argv[1]), *sys.argv[2:3]) as bystander:
        print("watching", flush=True)
        sys.stdin.read()
    print(f"{bystander.seen} frames, the slowest took {bystander.slowest:.3f} s", flush=True)
