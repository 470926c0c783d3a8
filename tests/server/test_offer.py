#!/usr/bin/env python3
"""POST /offer from outside, without a browser: answers, bad offers, ports, peers that never connect.
What a real browser sees is in tests/browser. REVERIE names the binary."""
import contextlib
import hmac
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

from bystander import Bystander

BINARY = os.environ.get("REVERIE", "build/reverie")
SANITIZED = os.environ.get("REVERIE_SANITIZER", "none") != "none"
PATIENCE = 120  # seconds: for what a slow and busy machine does in the end, too
# GLib leaks its old table of quarks by design when GStreamer makes it grow (tests/cli/common.py).
SANITIZER = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:exitcode=98"}
OFFER = (pathlib.Path(__file__).resolve().parent.parent / "data" / "sdp" / "chrome-offer.sdp").read_text()


class Server:
    def __init__(self, *options, env=None):
        self.data = tempfile.TemporaryDirectory()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--effect", "invert", "--size", "128x128", "--listen", "127.0.0.1:0", "--data", self.data.name,
             *options], stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **SANITIZER, **(env or {})})
        self.port = int(re.search(r":(\d+)$", self.process.stdout.readline())[1])

    def post(self, body, path="/offer"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", path, body if isinstance(body, (bytes, str)) else json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text)

    def metric(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return float(next(line for line in text.splitlines() if line.startswith(name + " ")).rsplit(" ", 1)[1])

    def offer(self, sdp=OFFER, path="/offer"):
        return self.post({"sdp": sdp, "type": "offer"}, path)

    def offers(self, outcome):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return int(re.search(rf'^reverie_offers_total{{outcome="{outcome}"}} (\d+)$', text, re.M)[1])

    def udp_ports(self):
        """Local ports of its sockets, IPv4 and IPv6."""
        own = set()
        for entry in os.scandir(f"/proc/{self.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                own.add(os.readlink(entry.path))
        rows = [line.split() for table in ("udp", "udp6") for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]]
        return {int(row[1].rsplit(":", 1)[1], 16) for row in rows if f"socket:[{row[9]}]" in own}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.data.cleanup()
        if code != 0:
            self.log.seek(0)
            raise AssertionError(f"the server ended with {code}: {self.log.read().decode(errors='replace')[-4000:]}")


def candidates(sdp, transport="udp"):
    """(address, port) of the host candidates over IPv4."""
    found = re.findall(r"^a=candidate:\S+ 1 (\S+) \d+ ([0-9.]+) (\d+) typ host", sdp, re.M)
    return [(address, int(port)) for kind, address, port in found if kind.lower() == transport and int(port) != 9]


class Offers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_answer_is_complete(self):
        for path, codec in (("/offer", "VP8/90000"), ("/offer?effect=invert&codec=h264", "H264/90000")):
            status, answer = self.server.offer(path=path)
            self.assertEqual((status, answer["type"]), (200, "answer"), answer)
            sdp = answer["sdp"]
            self.assertEqual(sdp.count("m="), 1)
            self.assertIn(codec, sdp)
            for line in ("a=sendrecv", "a=setup:active", "a=rtcp-mux", "a=mid:0", "a=fingerprint:sha-256 ", "a=ssrc-group:FID",
                         "nack pli", "transport-cc", "transport-wide-cc-extensions-01", "playout-delay", "color-space"):
                self.assertIn(line, sdp)
            self.assertTrue(candidates(sdp), sdp)
            self.assertIn(" rtx/90000", sdp)
            ports = self.server.udp_ports()
            self.assertTrue({port for _, port in candidates(sdp)} <= ports, (sdp, ports))
            self.assertNotIn(1900, ports, "nobody looks for a router that would open a port (UPnP)")

    def test_bad_offers_are_refused(self):
        bad = [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"sdp":1,"type":"offer"}', b'{"sdp":{},"type":[]}', b"{" * 5000,
               {"sdp": OFFER, "type": "answer"}, {"sdp": OFFER}, {"type": "offer"}]
        sdps = ["", "v=0", "hello", "\0", OFFER.replace("a=ice-ufrag", "a=ice-ufrog"), OFFER.replace("a=fingerprint", "a=print"),
                OFFER.replace("m=video", "m=audio"), OFFER + "m=video 9 UDP/TLS/RTP/SAVPF 96\n", OFFER.replace("a=mid:0", ""),
                OFFER.replace("a=setup:actpass", "a=setup:holdconn"), OFFER.replace("VP8", "XX8").replace("H264", "XX264"),
                OFFER * 20, OFFER.replace("a=rtpmap:96 ", "a=rtpmap:-1 "), "v=0\r\n" * 2000, "a=candidate:\r\n" * 3000,
                OFFER[:600]]
        before = self.server.offers("refused"), self.server.offers("answered")
        bodies = bad + [{"sdp": sdp, "type": "offer"} for sdp in sdps]
        with Bystander(self.server.port):
            for body in bodies:
                status, answer = self.server.post(body)
                self.assertEqual(status, 400, str(body)[:100])
                self.assertIn("error", answer)
        self.assertEqual(self.server.offer()[0], 200)
        self.assertEqual((self.server.offers("refused"), self.server.offers("answered")), (before[0] + len(bodies), before[1] + 1))

    def test_hostile_details_do_no_harm(self):
        """Well-formed enough to be answered or refused: either way the server lives."""
        mutants = [OFFER.replace("a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 " + "x" * 5000),
                   OFFER.replace("a=fmtp:97 apt=96", "a=fmtp:97 apt=apt=;;;=99999999999"),
                   OFFER.replace("a=ssrc-group:FID", "a=ssrc-group:FID -1 x"),
                   OFFER + "a=ssrc:99999999999999 cname\na=ssrc:x\na=rid:h send\na=simulcast:send h\n",
                   OFFER + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\n" * 50,
                   OFFER.replace("a=ice-options:trickle", "a=ice-options:" + "x " * 500),
                   OFFER.replace("c=IN IP4 0.0.0.0", "c=IN IP6 nonsense"),
                   OFFER.replace("a=extmap:4 ", "a=extmap:5 "),
                   OFFER.replace("rtpmap:97 rtx/90000", "rtpmap:97 VP8/90000"),
                   OFFER.replace("a=sendrecv", "a=recvonly"), OFFER.replace("a=sendrecv", "a=sendonly"),
                   OFFER.replace("o=-", "o=" + "x" * 3000)]
        with Bystander(self.server.port):
            for sdp in mutants:
                status, _ = self.server.offer(sdp)
                self.assertIn(status, (200, 400), sdp[:80])
        self.assertEqual(self.server.offer()[0], 200)

    def test_asker_that_leaves_early(self):
        for pause in (0, 0.05, 0.3):
            body = json.dumps({"sdp": OFFER, "type": "offer"})
            with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
                connection.sendall(f"POST /offer HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
                                   f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
                time.sleep(pause)
        self.assertEqual(self.server.offer()[0], 200)


@unittest.skipIf(SANITIZED or "REVERIE_FAKE_NVENC_PLUGIN" not in os.environ, "loads a plugin")
class Encoders(unittest.TestCase):
    def test_the_cards_encoder_is_used_if_it_works(self):
        """With a stand-in for it. GStreamer looks through its plugins at the first offer: nobody else waits for that."""
        with tempfile.TemporaryDirectory() as folder:
            plugin = pathlib.Path(os.environ["REVERIE_FAKE_NVENC_PLUGIN"])
            (pathlib.Path(folder) / plugin.name).symlink_to(plugin)
            paths = {"GST_PLUGIN_PATH": folder, "GST_REGISTRY": folder + "/registry"}
            for state, encoder in (("", "nvh264enc"), ("busy", "x264enc")):
                server = Server(env={**paths, "REVERIE_FAKE_NVENC": state})
                with Bystander(server.port):
                    self.assertEqual(server.offer(path="/offer?codec=h264")[0], 200)
                server.stop()
                server.log.seek(0)
                self.assertIn(f"codec=H264 encoder={encoder}\n", server.log.read().decode())


def free_udp_port():
    """One that nobody uses now, as far as a probe tells."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


def refusal(*options):
    """(exit code, what it says) of a server that must not start."""
    with tempfile.TemporaryDirectory() as data:
        ended = subprocess.run([BINARY, "serve", "--effect", "invert", "--listen", "127.0.0.1:0", "--data", data, *options],
                               capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **SANITIZER})
    return ended.returncode, ended.stderr


def attribute(sdp, name):
    return re.search(rf"^a={name}:(\S+)", sdp, re.M)[1]


def binding_request(username, password, transaction):
    """As a browser's ICE agent sends it (RFC 8489, RFC 8445), which takes the pair for good."""
    def part(kind, value):
        return struct.pack(">HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)
    body = part(0x0006, username.encode()) + part(0x0024, struct.pack(">I", 1845501695)) + \
        part(0x802a, b"\1" * 8) + part(0x0025, b"")

    def header(length):
        return struct.pack(">HHI", 1, length, 0x2112a442) + transaction
    proof = hmac.new(password.encode(), header(len(body) + 24) + body, "sha1").digest()
    body += part(0x0008, proof)
    checked = header(len(body) + 8) + body
    return checked + part(0x8028, struct.pack(">I", zlib.crc32(checked) ^ 0x5354554e))


class Ports(unittest.TestCase):
    def is_answered(self, client, port, sdp, host="127.0.0.1", password=None):
        """Whether a binding request through the port reaches the agent of this answer, and its reply comes back."""
        username = attribute(sdp, "ice-ufrag") + ":" + attribute(OFFER, "ice-ufrag")
        for _ in range(20 if password is None else 3):
            transaction = os.urandom(12)
            client.sendto(binding_request(username, password or attribute(sdp, "ice-pwd"), transaction), (host, port))
            until = time.monotonic() + 1
            while time.monotonic() < until:
                client.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    reply, sender = client.recvfrom(2048)
                except TimeoutError:
                    break
                if reply[:2] == b"\1\1" and reply[8:20] == transaction:
                    return sender == (host, port)
        return False

    def test_one_port_for_all(self):
        port = free_udp_port()
        server = Server("--udp-port", str(port), "--public-address", "198.51.100.7")
        clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(3)]
        try:
            answers = [server.offer()[1]["sdp"] for _ in clients]
            for sdp in answers:
                found = candidates(sdp)
                self.assertIn(("198.51.100.7", port), found)
                self.assertEqual({number for _, number in found}, {port}, sdp)
                self.assertEqual(candidates(sdp, "tcp"), [])
            self.assertEqual(server.metric("reverie_udp_peers"), 3)
            for client, sdp in zip(clients, answers):
                self.assertTrue(self.is_answered(client, port, sdp))
            self.assertTrue(self.is_answered(clients[0], port, answers[0], host="127.0.0.2"), "another address of ours")
            self.assertEqual(server.metric("reverie_udp_paths"), 4)
            with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                self.assertFalse(self.is_answered(stranger, port, answers[0], password="x" * 22))
            self.assertEqual(server.metric('reverie_udp_dropped_total{reason="unauthenticated"}'), 3)
            self.assertEqual(server.metric("reverie_udp_paths"), 4)
        finally:
            for client in clients:
                client.close()
            server.stop()

    def test_port_that_is_mapped_to_another(self):
        server = Server("--udp-port", str(free_udp_port()), "--public-address", "198.51.100.7:40123")
        try:
            self.assertIn(("198.51.100.7", 40123), candidates(server.offer()[1]["sdp"]))
        finally:
            server.stop()

    def test_what_cannot_be_is_refused_at_the_start(self):
        with socket.socket(type=socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 0))
            code, said = refusal("--udp-port", str(taken.getsockname()[1]))
        self.assertEqual(code, 1, said)
        self.assertIn("--udp-port", said)
        for options in (("--public-address", "host.example"), ("--public-address", "192.0.2.7:40123"),
                        ("--udp-port", "7861", "--public-address", "192.0.2.7:0")):
            code, said = refusal(*options)
            self.assertEqual(code, 2, said)
            self.assertIn("--public-address", said)

    def test_peers_that_never_connect_are_forgotten(self):
        server = Server("--udp-port", str(free_udp_port()))
        try:
            self.assertEqual(server.offer()[0], 200)
            until = time.monotonic() + PATIENCE
            while server.metric("reverie_udp_peers") != 0 and time.monotonic() < until:
                time.sleep(0.5)
            self.assertEqual(server.metric("reverie_udp_peers"), 0)
            self.assertEqual(server.metric("reverie_udp_paths"), 0)
            server.log.seek(0)
            self.assertIn("client-close client=1", server.log.read().decode(errors="replace"))
            self.assertEqual(server.offer()[0], 200)
        finally:
            server.stop()


class Stop(unittest.TestCase):
    def test_stopping_does_not_wait_for_peers(self):
        """One peer has its answer, one is asking: the first is closed, the second told so or answered."""
        server = Server()
        self.assertEqual(server.offer()[0], 200)
        replies = []

        def ask():
            try:
                replies.append(server.offer()[0])
            except OSError:
                replies.append(0)  # closed before the reply: the server has ended
        asker = threading.Thread(target=ask)
        asker.start()
        time.sleep(0.1)
        begun = time.monotonic()
        server.stop()
        took = time.monotonic() - begun
        asker.join(PATIENCE)
        self.assertLess(took, 15, "a peer that is gone is waited for longer")
        self.assertEqual(len(replies), 1)
        self.assertIn(replies[0], (0, 200, 503))


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
