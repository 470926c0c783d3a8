#!/usr/bin/env python3
"""POST /offer from outside, without a browser: answers, bad offers, ports, peers that never connect.
What a real browser sees is in tests/browser. REVERIE names the binary."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BINARY = os.environ.get("REVERIE", "build/reverie")
SANITIZED = os.environ.get("REVERIE_SANITIZER", "none") != "none"
# GLib leaks its old table of quarks by design when GStreamer makes it grow (tests/cli/common.py).
SANITIZER = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:exitcode=98"}
OFFER = (pathlib.Path(__file__).resolve().parent.parent / "data" / "sdp" / "chrome-offer.sdp").read_text()


class Server:
    def __init__(self, *options):
        self.data = tempfile.TemporaryDirectory()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--effect", "invert", "--size", "128x128", "--listen", "127.0.0.1:0", "--data", self.data.name,
             *options], stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **SANITIZER})
        self.port = int(re.search(r":(\d+)$", self.process.stdout.readline())[1])

    def post(self, body, path="/offer"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, body if isinstance(body, (bytes, str)) else json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text)

    def offer(self, sdp=OFFER, path="/offer"):
        return self.post({"sdp": sdp, "type": "offer"}, path)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(25)
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

    def test_bad_offers_are_refused(self):
        bad = [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"sdp":1,"type":"offer"}', b'{"sdp":{},"type":[]}', b"{" * 5000,
               {"sdp": OFFER, "type": "answer"}, {"sdp": OFFER}, {"type": "offer"}]
        sdps = ["", "v=0", "hello", "\0", OFFER.replace("a=ice-ufrag", "a=ice-ufrog"), OFFER.replace("a=fingerprint", "a=print"),
                OFFER.replace("m=video", "m=audio"), OFFER + "m=video 9 UDP/TLS/RTP/SAVPF 96\n", OFFER.replace("a=mid:0", ""),
                OFFER.replace("a=setup:actpass", "a=setup:holdconn"), OFFER.replace("VP8", "XX8").replace("H264", "XX264"),
                OFFER * 20, OFFER.replace("a=rtpmap:96 ", "a=rtpmap:-1 "), "v=0\r\n" * 2000, "a=candidate:\r\n" * 3000,
                OFFER[:600]]
        for body in bad + [{"sdp": sdp, "type": "offer"} for sdp in sdps]:
            status, answer = self.server.post(body)
            self.assertEqual(status, 400, str(body)[:100])
            self.assertIn("error", answer)
        self.assertEqual(self.server.offer()[0], 200)

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


def free_udp_port():
    """The first of a range that nobody uses now, as far as one probe tells."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    return port if port <= 65000 else port - 1000


class Ports(unittest.TestCase):
    def test_ports_and_public_address(self):
        port = free_udp_port()
        server = Server("--udp-port", str(port), "--public-address", "198.51.100.7")
        try:
            used = []
            for _ in range(3):
                status, answer = server.offer()
                self.assertEqual(status, 200)
                found = candidates(answer["sdp"])
                self.assertEqual(len({number for _, number in found}), 1, "one port for all media")
                used.append(found[0][1])
                self.assertIn(("198.51.100.7", found[0][1]), found)
            self.assertEqual(len(set(used)), 3, "a port of its own for each peer")
            self.assertTrue(all(port <= number < port + 64 for number in used), used)
        finally:
            server.stop()

    def test_peers_that_never_connect_are_forgotten(self):
        server = Server("--udp-port", str(free_udp_port()))
        try:
            first = candidates(server.offer()[1]["sdp"])[0][1]
            time.sleep(18)
            self.assertEqual(candidates(server.offer()[1]["sdp"])[0][1], first, "its port was not given back")
            server.log.seek(0)
            self.assertIn("client-close client=1", server.log.read().decode(errors="replace"))
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
        asker.join(10)
        self.assertLess(took, 3 if not SANITIZED else 10)
        self.assertEqual(len(replies), 1)
        self.assertIn(replies[0], (0, 200, 503))


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
