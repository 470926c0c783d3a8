#!/usr/bin/env python3
"""The WebSocket and MJPEG transports of `reverie serve --effect invert`, from outside: the original clients'
protocol, the subprotocol reverie.1, bad input, floods, slow and vanished readers.

REVERIE names the binary. """
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from bystander import Bystander
from ws_client import (ACK, FRAME, GREY, HEADER, PATIENCE, PING_KIND, PONG_KIND, PROGRESSIVE, TEXT, YUV444, Closed, WebSocket,
                       decode, encode, header, many_scans, numbered, read_number)

BINARY = os.environ.get("REVERIE", "build/reverie")
SANITIZED = os.environ.get("REVERIE_SANITIZER", "none") != "none"  # slow: no claims about time or memory


class Server:
    def __init__(self, env=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.data = tempfile.TemporaryDirectory()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--effect", "invert", "--size", "512x512", "--listen", f"127.0.0.1:{self.port}",
             "--data", self.data.name], stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **(env or {})})
        line = self.process.stdout.readline()
        assert line.startswith("reverie: ready on "), line

    def stats(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/stats", timeout=PATIENCE) as reply:
            return json.load(reply)

    def session(self, number=-1):
        return self.stats()["sessions"][number]

    def total(self, name):
        """A counter of /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE) as reply:
            line = next(line for line in reply.read().decode().splitlines() if line.startswith(name + " "))
        return int(line.split()[1])

    def total_becomes(self, name, least):
        until = time.monotonic() + PATIENCE
        while self.total(name) < least:
            assert time.monotonic() < until, f"{name} is {self.total(name)}, not {least}"
            time.sleep(0.1)

    def post(self, changes):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/state", json.dumps(changes).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    def memory(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        kept = os.path.join(self.data.name, "mirror.json")
        if os.path.exists(kept):
            with open(kept, encoding="utf-8") as file:
                self.kept = json.load(file)
        self.data.cleanup()
        self.log.seek(0)
        if code != 0:
            sys.exit(f"the server ended with {code}: {self.log.read().decode(errors='replace')[-4000:]}")


def steady(server, seconds, fps=30, least=0):
    """Round trips, seconds, of a client that sends at an even rate, so many frames at least; with its numbers checked."""
    times = []
    ws = WebSocket(server.port)
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until or number < least:
        begun = time.monotonic()
        number += 1
        ws.send(numbered(number, 128, 128))
        reply = ws.receive()
        assert reply is not None, "a well-behaved client got no answer"
        assert read_number(reply)[0] == number
        times.append(time.monotonic() - begun)
        time.sleep(max(0, 1 / fps - (time.monotonic() - begun)))
    ws.close()
    return sorted(times)


class Original(unittest.TestCase):
    """What the pages of transformirror-web and GenDJ do."""

    def check_inverted(self, reply, number, colour=(55, 195, 145), tolerance=6):
        got, middle = read_number(reply)
        self.assertEqual(got, number)
        for have, want in zip(middle, colour):
            self.assertLessEqual(abs(have - want), tolerance)

    def test_transformirror_square_frames(self):
        ws = WebSocket(server.port)
        self.assertNotIn("permessage-deflate", ws.head)
        self.assertNotIn("Sec-WebSocket-Protocol", ws.head)
        for number in (1, 2, 3):
            ws.send(numbered(number, 1080, 1080, quality=50))
            self.check_inverted(ws.receive(), number)
        self.assertIsNone(ws.receive(0.2), "more answers than frames")
        ws.close()

    def test_gendj_warm_up_on_any_path(self):
        for path in ("/", "/socket", "/a/b?c=d", "/wss/"):
            ws = WebSocket(server.port, path)
            self.assertEqual(ws.status, 101)
            for _ in range(4):
                ws.send(encode(bytes(3 * 512 * 512), 512, 512))
                width, height, rgb = decode(ws.receive())
                self.assertEqual((width, height), (512, 512))
                self.assertGreaterEqual(min(rgb[::97]), 250)
            ws.close()

    def test_what_is_something_else_is_no_socket(self):
        for path in ("/api/state", "/mirror", "/prompt/x", "/offer", "/static/mirror/main.js"):
            self.assertEqual(WebSocket(server.port, path).status, 404, path)
        refused = WebSocket(server.port, "/ws", extra=["Sec-WebSocket-Version: 12"])
        self.assertEqual(refused.status, 400)
        self.assertIn("Sec-WebSocket-Version: 13", refused.head)
        self.assertEqual(WebSocket(server.port, "/ws", protocol="reverie.2").status, 400)

    def test_what_cannot_be_opened_is_told(self):
        for query in ("effect=sepia", "watch=abc", "watch=-1"):
            ws = WebSocket(server.port, "/ws?" + query)
            with self.assertRaises(Closed) as caught:
                ws.receive(5)
            self.assertEqual(caught.exception.code, 1013, query)
            ws.close()

    def test_a_pause_is_not_waited_for(self):
        """A first frame, and after some seconds one frame after the other."""
        ws = WebSocket(server.port)
        ws.send(numbered(1))
        ws.receive()
        time.sleep(4)
        begun = time.monotonic()
        for number in range(2, 5):
            ws.send(numbered(number))
            self.assertEqual(read_number(ws.receive())[0], number)
        self.assertLess(time.monotonic() - begun, 4)
        ws.close()

    def test_other_shapes_and_kinds(self):
        ws = WebSocket(server.port)
        ws.send(encode(bytes((200, 60, 110)) * (640 * 360), 640, 360, subsampling=YUV444))
        width, height, rgb = decode(ws.receive())
        self.assertEqual((width, height), (512, 512))
        self.assertLessEqual(abs(rgb[0] - 55), 6)
        ws.send(numbered(77, 512, 512, flags=PROGRESSIVE))
        self.check_inverted(ws.receive(), 77)
        ws.send(numbered(78, 256, 256, colour=(100, 100, 100), subsampling=GREY))
        self.check_inverted(ws.receive(), 78, (155, 155, 155))
        ws.close()

    def test_frames_come_back_in_order(self):
        ws = WebSocket(server.port)
        seen = []
        for number in range(1, 121):
            ws.send(numbered(number, 256, 256))
            time.sleep(1 / 120)
            seen += [read_number(message)[0] for message in ws.drain(0.001)]
        while seen[-1:] != [120] and (message := ws.receive()) is not None:
            seen.append(read_number(message)[0])
        self.assertEqual(seen, sorted(set(seen)))
        self.assertEqual(seen[-1], 120, "the newest frame was lost")
        ws.close()


class BadInput(unittest.TestCase):
    """Another client's frames go on all the while, and counters tell what came."""

    def setUp(self):
        self.bystander = Bystander(server.port)
        self.bystander.__enter__()
        self.addCleanup(self.bystander.__exit__, None)

    def test_garbage_is_ignored(self):
        ws = WebSocket(server.port)
        bad_before = server.total("reverie_transport_bad_input_total")
        good = numbered(9)
        huge = bytearray(good)
        at = huge.index(b"\xff\xc0") + 5
        huge[at : at + 4] = b"\x60\x00\x60\x00"
        bads = (b"", b"\0" * 100000, b"hello", good[:-200], good[:30], b"\xff\xd8\xff\xd9", bytes(huge), many_scans(4000, 400),
                os.urandom(50000))
        for sent, bad in enumerate(bads, 1):
            ws.send(bad)
            server.total_becomes("reverie_transport_bad_input_total", bad_before + sent)
        for text in (b'{"prompt": "no"}', b"", good[:4].decode("latin-1").encode()):
            ws.send(text, TEXT)
        server.total_becomes("reverie_transport_bad_input_total", bad_before + len(bads) + 3)
        self.assertIsNone(ws.receive(0.2))
        ws.send(good)
        self.assertEqual(read_number(ws.receive())[0], 9)
        counters = next(s for s in server.stats()["sessions"] if s["counters"]["bad_input"])["counters"]
        self.assertEqual((counters["bad_input"], counters["frames_in"], counters["frames_out"]), (len(bads) + 3, len(bads) + 1, 1))
        ws.close()

    def test_costly_pictures_are_bearable(self):
        """The largest that are taken, and progressive ones in many scans, as fast as they are worked on."""
        ws = WebSocket(server.port)
        for frame in (numbered(7, 4096, 4096, quality=30), numbered(8, 2000, 2000, flags=PROGRESSIVE), many_scans(400, 380)):
            for _ in range(3):
                ws.send(frame)
                self.assertEqual(decode(ws.receive(60))[:2], (512, 512))
        ws.close()

    def test_too_large_a_message_ends_the_connection(self):
        before = server.total("reverie_transport_cut_off_total")
        ws = WebSocket(server.port)
        with self.assertRaises((Closed, ConnectionError)) as caught:
            ws.send(bytes((16 << 20) + 1))
            ws.receive()
        if isinstance(caught.exception, Closed):
            self.assertIn(caught.exception.code, (1009, None))
        server.total_becomes("reverie_transport_cut_off_total", before + 1)

    def test_endless_fragments_do_not_fill_memory(self):
        before, cut = server.memory(), server.total("reverie_transport_cut_off_total")
        ws = WebSocket(server.port)
        try:
            ws.send(bytes(1 << 20), final=False)
            for _ in range(300):
                ws.send(bytes(1 << 20), kind=0, final=False)
        except (ConnectionError, TimeoutError):
            pass
        if not SANITIZED:
            self.assertLess(server.memory() - before, 120 << 20)
        server.total_becomes("reverie_transport_cut_off_total", cut + 1)
        ws.close()

    def test_unmasked_and_reserved_bits_end_the_connection(self):
        before = server.total("reverie_transport_cut_off_total")
        for bytes_ in (b"\x82\x03abc", b"\xf2\x83\0\0\0\0abc", b"\x83\x83\0\0\0\0abc"):
            ws = WebSocket(server.port)
            ws.socket.sendall(bytes_)
            with self.assertRaises(Closed):
                ws.receive()
        server.total_becomes("reverie_transport_cut_off_total", before + 3)

    def test_absurd_stamps_harm_only_their_sender(self):
        """Capture times and ages are the client's own: whatever they say, frames come back."""
        ws = WebSocket(server.port, protocol="reverie.1")
        for sequence, captured in ((1, 2**64 - 1), (2, 0), (3, 1), (4, 2**63), (4294967295, 7)):
            ws.send(header(FRAME, sequence, captured) + numbered(sequence % 256))
            fields = HEADER.unpack(ws.receive()[:32])
            self.assertEqual((fields[4], fields[6]), (sequence, captured))
            ws.send(header(ACK, sequence, extra=struct.pack("<II", 2**32 - 1, 2**32 - 1)))
        ws.close()


class Header(unittest.TestCase):
    """The subprotocol reverie.1."""

    def test_header_comes_back(self):
        ws = WebSocket(server.port, protocol="reverie.1")
        self.assertIn("reverie.1", ws.head)
        for sequence, number in ((0, 9), (7, 1), (8, 2), (4000000000, 3)):
            ws.send(header(FRAME, sequence, 123456789 + sequence) + numbered(number))
            reply = ws.receive()
            magic, kind, flags, quality, got, _, captured, extra = HEADER.unpack(reply[:32])
            self.assertEqual((magic, kind, flags, got, captured), (b"RVR1", FRAME, 0, sequence, 123456789 + sequence))
            self.assertTrue(30 <= quality <= 100)
            self.assertLess(max(struct.unpack("<4H", extra)), 50000)
            self.assertEqual(read_number(reply[32:])[0], number)
            ws.send(header(ACK, got, extra=struct.pack("<II", 30000, 0)))
        ws.send(header(FRAME, 9) + numbered(4))
        self.assertIsNone(ws.receive(0.3), "an old sequence number was shown")
        ws.close()

    def test_two_unacknowledged_frames_at_most_and_the_newest_waits(self):
        ws = WebSocket(server.port, protocol="reverie.1")
        for number in range(1, 11):
            ws.send(header(FRAME, number) + numbered(number))
            time.sleep(0.05)
        got = [HEADER.unpack(ws.receive()[:32])[4] for _ in range(2)]
        self.assertIsNone(ws.receive(0.5), "a third came unasked")
        ws.send(header(ACK, got[0]))
        self.assertEqual(HEADER.unpack(ws.receive()[:32])[4], 10)
        ws.send(header(ACK, 10))
        self.assertIsNone(ws.receive(0.3))
        ws.close()

    def test_ping_is_answered_with_the_clock(self):
        ws = WebSocket(server.port, protocol="reverie.1")
        clocks = []
        for number in (1, 2):
            ws.send(header(PING_KIND, number, 1000 + number))
            fields = HEADER.unpack(ws.receive())
            self.assertEqual((fields[1], fields[4], fields[6]), (PONG_KIND, number, 1000 + number))
            clocks.append(struct.unpack("<Q", fields[7])[0])
            time.sleep(0.1)
        self.assertTrue(90_000 < clocks[1] - clocks[0] < 10_000_000, "microseconds")
        ws.close()

    def test_bad_headers_are_ignored(self):
        ws = WebSocket(server.port, protocol="reverie.1")
        frame = header(FRAME, 1) + numbered(5)
        for bad in (b"", b"RVR1", frame[:31], b"XXXX" + frame[4:], frame[:4] + b"\x09" + frame[5:], numbered(5),
                    header(ACK, 999), header(PONG_KIND, 1), frame[:32]):
            ws.send(bad)
            time.sleep(0.02)
        ws.send(header(FRAME, 2) + numbered(6))
        self.assertEqual(read_number(ws.receive()[32:])[0], 6)
        ws.close()


class Load(unittest.TestCase):
    def check_others(self, seconds):
        before = server.memory()
        times = steady(server, seconds)
        if not SANITIZED:
            self.assertLess(times[len(times) * 9 // 10], 1.0)
            self.assertLess(server.memory() - before, 60 << 20)

    def test_flood_of_frames(self):
        stop = threading.Event()
        answers = []

        def flood():
            ws = WebSocket(server.port)
            reader = threading.Thread(target=lambda: answers.extend(read_all(ws)))
            reader.start()
            frame = numbered(1)
            while not stop.is_set():
                ws.send(frame)
                time.sleep(0.001)
            ws.socket.shutdown(socket.SHUT_RDWR)
            reader.join()
            ws.close()

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            self.check_others(3)
            flooder = max(server.stats()["sessions"], key=lambda s: s["counters"]["frames_in"])
        finally:
            stop.set()
            thread.join()
        self.assertGreater(len(answers), 20, "the flooding client was starved")
        counters, frames = flooder["counters"], flooder["frames"]
        self.assertLessEqual(abs(counters["frames_in"] - counters["skipped_in"] - frames["pushed"]), 2, "each frame is accounted for")
        ended = sum(frames[name] for name in ("shown", "dropped", "late", "failed"))
        self.assertLessEqual(abs(frames["pushed"] - ended), 4)
        self.assertLessEqual(abs(frames["shown"] - counters["skipped_out"] - counters["frames_out"]), 4)

    def test_client_that_never_reads(self):
        stuck = WebSocket(server.port, receive_buffer=4096)
        stuck.socket.settimeout(1)
        noise = os.urandom(3 * 512 * 512)
        stop = threading.Event()

        def push():
            while not stop.is_set():
                try:
                    stuck.send(numbered(1, noise=noise))
                except OSError:
                    return
                time.sleep(1 / 60)

        thread = threading.Thread(target=push)
        thread.start()
        try:
            self.check_others(4)
            session = max(server.stats()["sessions"], key=lambda s: s["counters"]["skipped_out"])
            self.assertGreater(session["counters"]["skipped_out"], 10, "pictures that found no room are counted")
        finally:
            stop.set()
            thread.join()
            stuck.close()

    def test_slow_link_gets_smaller_frames_and_no_growing_delay(self):
        """About 3 Mb/s: a reader that takes 8 KB at a time."""
        ws = WebSocket(server.port, receive_buffer=16384)
        noise = os.urandom(3 * 512 * 512)
        stop = threading.Event()
        sent = {}

        def push():
            number = 0
            while not stop.is_set():
                number += 1
                sent[number] = time.monotonic()
                ws.send(numbered(number, noise=noise))
                time.sleep(1 / 30)

        thread = threading.Thread(target=push)
        thread.start()
        slow_reads(ws, 400_000)
        sizes, ages, until = [], [], time.monotonic() + 10
        while time.monotonic() < until:
            message = ws.receive()
            sizes.append(len(message))
            ages.append(time.monotonic() - sent[read_number(message)[0]])
        stop.set()
        thread.join()
        ws.close()
        last = sorted(sizes[len(sizes) // 2 :])
        self.assertLess(last[len(last) // 2], sizes[0] / 2, "quality did not follow the link")
        last = sorted(ages[len(ages) // 2 :])
        self.assertLess(last[len(last) // 2], 1.5, "old frames queue")

    def test_low_rate_keeps_quality(self):
        """Ten frames a second to a client that acknowledges nothing: the time between frames is no delay."""
        ws = WebSocket(server.port)
        noise = os.urandom(3 * 512 * 512)
        sizes = []
        for number in range(1, 40):
            ws.send(numbered(number, noise=noise))
            sizes.append(len(ws.receive()))
            time.sleep(0.1)
        ws.close()
        if not SANITIZED:
            self.assertGreater(min(sizes), 0.7 * sizes[0])

    @unittest.skipIf(SANITIZED, "measures time")
    def test_residence_is_small(self):
        """What the server adds to decoding, the effect and encoding, at 30 frames a second."""
        server.post({"pace": "off"})
        try:
            ws = WebSocket(server.port)
            frame = numbered(1, 512, 512)
            for _ in range(120):
                begun = time.monotonic()
                ws.send(frame)
                ws.receive()
                time.sleep(max(0, 1 / 30 + begun - time.monotonic()))
            residence = server.stats()["sessions"][-1]["stages_ms"]["residence"]
            ws.close()
        finally:
            server.post({"pace": "smooth"})
        print(f"residence beyond codecs, ms: {residence}", file=sys.stderr)
        self.assertGreater(residence["count"], 100)
        self.assertLess(residence["p50"], 10)  # p99 too on a machine that does nothing else

    def test_vanished_client_is_closed(self):
        """Answers no pings and sends nothing, as behind a link that went dead; one of them within a frame."""
        before = server.total("reverie_transport_cut_off_total")
        half = WebSocket(server.port)
        half.socket.sendall(b"\x82\xff" + struct.pack("!Q", 50000) + b"\0\0\0\0" + b"\xff\xd8\xff")
        ws = WebSocket(server.port)
        ws.answers_pings = False
        begun = time.monotonic()
        with self.assertRaises(Closed):
            while time.monotonic() < begun + 120:
                ws.receive(1)
        self.assertLess(15, time.monotonic() - begun)
        server.total_becomes("reverie_transport_cut_off_total", before + 2)
        half.close()


def read_all(ws):
    messages = []
    try:
        while True:
            message = ws.receive(5)
            if message is None:
                break
            messages.append(len(message))
    except (Closed, OSError, TimeoutError):
        pass
    return messages


def slow_reads(ws, bytes_per_second):
    """Makes the socket of `ws` read at a steady rate."""
    plain = ws.socket

    class Slow:
        def recv(self, count):
            time.sleep(8192 / bytes_per_second)
            return plain.recv(min(count, 8192))

        def __getattr__(self, name):
            return getattr(plain, name)

    ws.socket = Slow()


class Mjpeg(unittest.TestCase):
    def test_boundary_follows_each_picture(self):
        camera = WebSocket(server.port)
        viewer = socket.create_connection(("127.0.0.1", server.port), 10)
        viewer.sendall(b"GET /stream.mjpeg HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        head = b""
        while b"--frame\r\n" not in head:
            head += viewer.recv(4096)
        self.assertIn(b"multipart/x-mixed-replace; boundary=frame", head)
        stream = head[head.index(b"--frame\r\n") + 9 :]
        for number in (3, 4, 5):
            camera.send(numbered(number))
            camera.receive()
            while b"\r\n--frame\r\n" not in stream:  # ends although no other frame was sent
                data = viewer.recv(65536)
                self.assertTrue(data)
                stream += data
            part, stream = stream.split(b"\r\n--frame\r\n", 1)
            self.assertIn(b"Content-Type: image/jpeg\r\n", part)
            body = part.split(b"\r\n\r\n", 1)[1]
            self.assertEqual(read_number(body[: body.rindex(b"\xff\xd9") + 2])[0], number)
        viewer.close()
        camera.send(numbered(6))
        self.assertEqual(read_number(camera.receive())[0], 6)
        camera.close()

    def test_wrong_numbers_are_refused(self):
        for query in ("client=abc", "client=-1", "quality=high", "client="):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://127.0.0.1:{server.port}/stream.mjpeg?{query}", timeout=10)
            self.assertEqual(caught.exception.code, 400, query)
            caught.exception.close()

    def test_viewers_that_leave_before_a_picture_make_room(self):
        """As many as there is room for, twice, while no camera sends anything."""
        before = server.total("reverie_watchers")
        for _ in range(2):
            viewers = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(60)]
            for viewer in viewers:
                viewer.sendall(b"GET /stream.mjpeg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                self.assertIn(b"200 OK", viewer.recv(4096))
            server.total_becomes("reverie_watchers", before + 60)
            for viewer in viewers:
                viewer.close()
            until = time.monotonic() + 30
            while server.total("reverie_watchers") > before:
                self.assertLess(time.monotonic(), until, "those that left are forgotten")
                time.sleep(0.1)

    def test_watching_socket_sees_the_camera(self):
        camera = WebSocket(server.port)
        viewer = WebSocket(server.port, "/ws?watch=0")
        time.sleep(0.1)
        for number in (11, 12):
            camera.send(numbered(number))
            self.assertEqual(read_number(camera.receive())[0], number)
            self.assertEqual(read_number(viewer.receive())[0], number)
        viewer.close()
        camera.close()


HALF_OPEN = [b"", b"GET /api/state HTTP/1.1\r\nHost: ", b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n",
             b"POST /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{",
             b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /he"]


def open_halfway(port):
    """Connections that never finish what they began, or only stay."""
    connections = [socket.create_connection(("127.0.0.1", port), 100) for _ in range(5 * len(HALF_OPEN))]
    for i, connection in enumerate(connections):
        connection.sendall(HALF_OPEN[i % len(HALF_OPEN)])
    return connections


def wait_for_end(connections):
    """The server closes them by itself; what was asked for completely is not among them."""
    with Bystander(server.port):
        for connection in connections:
            while connection.recv(65536):
                pass
            connection.close()
    assert server.total("reverie_half_open_closed_total") >= len(connections)


if __name__ == "__main__":
    server = Server()
    try:
        halfway = open_halfway(server.port)  # they stay while the tests run
        listener = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/events", timeout=100)
        program = unittest.main(exit=False, verbosity=2, warnings="ignore")
        wait_for_end(halfway)
        assert listener.readline(), "a stream was closed"
        listener.close()
    finally:
        server.stop()
    sys.exit(0 if program.result.wasSuccessful() else 1)
