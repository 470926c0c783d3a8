"""A running `reverie serve` for the tests, and plain HTTP to it. Standard library only."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from common import BINARY, MODEL, SANITIZED, SANITIZER_OPTIONS, run_tests  # noqa: E402,F401

READY = re.compile(r"^reverie: ready on (https?)://(\[[^]]+\]|[^:]+):(\d+)$")
PATIENCE = 120  # seconds: for what a slow and busy machine does in the end, too


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, *options, data=None, listen="127.0.0.1:0", effect=True, env=None, wait=True):
        self.folder = None if data else tempfile.TemporaryDirectory(prefix="reverie-data-")
        self.data = pathlib.Path(data or self.folder.name)
        command = [BINARY, "serve", "--listen", listen, "--data", str(self.data)]
        command += (["--effect", "invert", "--size", "128x128"] if effect else []) + [str(o) for o in options]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, **SANITIZER_OPTIONS, **(env or {})})
        self.scheme = self.port = None
        if wait:
            self.wait_ready()

    def wait_ready(self):
        line = self.process.stdout.readline()
        found = READY.match(line.strip())
        assert found, f"no ready line but {line!r}: {self.logs()}"
        self.scheme, self.host, self.port = found[1], found[2].strip("[]"), int(found[3])

    def logs(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def request(self, path, method="GET", body=None, headers=None, source="127.0.0.1"):
        """Status, headers and body; connection problems are raised."""
        if self.scheme == "https":
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE,
                                                     context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE, source_address=(source, 0))
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()

    def status(self, path, **more):
        return self.request(path, **more)[0]

    def json(self, path, **more):
        status, _, body = self.request(path, **more)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, changes):
        status, _, body = self.request("/api/state", "POST", json.dumps(changes), {"Content-Type": "application/json"})
        return status, json.loads(body)

    def state(self):
        return self.json("/api/state")

    def metric(self, line):
        text = self.request("/metrics")[2].decode()
        found = re.search("^" + re.escape(line) + r" (\S+)$", text, re.M)
        assert found, (line, text)
        return float(found[1])

    def stop(self, how=signal.SIGTERM, limit=60):
        start = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(limit + 5)
        assert code == 0, f"exit {code}: {self.logs()}"
        assert time.monotonic() - start < limit
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        if self.folder:
            self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.process.poll() is None:
            self.stop()
        else:
            if kind is not None:
                print("# " + self.logs().replace("\n", "\n# "))
            self.end()


def refused(*options, expect, env=None, word=""):
    """`reverie serve` must say why in one line, with this exit code, before it serves anything."""
    command = [BINARY, "serve", *map(str, options)]
    result = subprocess.run(command, capture_output=True, timeout=PATIENCE, env={**os.environ, **SANITIZER_OPTIONS, **(env or {})})
    lines = [line for line in result.stderr.decode().splitlines() if line.startswith("reverie: ")]
    assert result.returncode == expect, (options, result.returncode, result.stderr)
    assert len(lines) == 1 and word in lines[0], (options, lines)
    assert b"ready" not in result.stdout


def eventually(check, what, seconds=PATIENCE):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = check()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"this never happened: {what}")


def osc(address, *arguments):
    """One OSC 1.0 message."""
    def text(value):
        raw = value.encode() + b"\0"
        return raw + b"\0" * (-len(raw) % 4)
    types, body = ",", b""
    for value in arguments:
        if isinstance(value, bool):
            types += "T" if value else "F"
        elif isinstance(value, int):
            types, body = types + "i", body + struct.pack(">i", value)
        elif isinstance(value, float):
            types, body = types + "f", body + struct.pack(">f", value)
        else:
            types, body = types + "s", body + text(value)
    return text(address) + text(types) + body


def osc_bundle(*packets):
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(struct.pack(">I", len(p)) + p for p in packets)
