"""A WebSocket client of the standard library alone, and JPEG frames with a number in them (turbojpeg through
ctypes). Written from RFC 6455 and docs/protocol.md, not from the server's code."""
import base64
import ctypes
import ctypes.util
import hashlib
import os
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HEADER = struct.Struct("<4sBBHIIQ8s")
FRAME, ACK, PING_KIND, PONG_KIND = 1, 2, 3, 4


PATIENCE = 60.0  # seconds: a slow and busy machine takes its time


class Closed(Exception):
    def __init__(self, code):
        super().__init__(f"closed with code {code}")
        self.code = code


class WebSocket:
    def __init__(self, port, path="/ws", protocol=None, receive_buffer=None, extra=(), address="127.0.0.1"):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((address, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {address}:{port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Extensions: permessage-deflate", *extra]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(4096)
            if not data:
                raise Closed(None)
            self.buffer += data
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.status = int(self.head.split()[1])
        if self.status == 101:
            wanted = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert base64.b64encode(wanted).decode() in self.head
        self.answers_pings = True

    def send(self, payload, kind=BINARY, final=True):
        self.socket.settimeout(PATIENCE)  # not what is left of a short look for a message
        mask = b"\0\0\0\0"  # allowed, and spares the arithmetic
        first = kind | (0x80 if final else 0)
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", first, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, size)
        self.socket.sendall(head + mask + payload)

    def read(self, count):
        parts = [self.buffer]
        have = len(self.buffer)
        while have < count:
            data = self.socket.recv(min(1 << 18, count - have))
            if not data:
                raise Closed(None)
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self.buffer = data[count:]
        return data[:count]

    def receive(self, timeout=PATIENCE):
        """The next binary message; None when none begins in time. Raises Closed."""
        until = time.monotonic() + timeout
        while True:
            try:
                if not self.buffer:
                    self.socket.settimeout(max(0.001, until - time.monotonic()))
                    self.buffer = self.socket.recv(1 << 18)
                    if not self.buffer:
                        raise Closed(None)
            except TimeoutError:
                return None
            except ConnectionError:
                raise Closed(None)
            self.socket.settimeout(PATIENCE)
            try:
                first, second = self.read(2)
                assert first & 0x70 == 0, "an extension was used"
                assert first & 0x80 and not second & 0x80
                size = second & 127
                if size == 126:
                    size = struct.unpack("!H", self.read(2))[0]
                elif size == 127:
                    size = struct.unpack("!Q", self.read(8))[0]
                payload = self.read(size)
            except ConnectionError:
                raise Closed(None)
            if first & 15 == PING and self.answers_pings:
                self.send(payload, PONG)
            elif first & 15 == CLOSE:
                raise Closed(struct.unpack("!H", payload[:2])[0] if payload else None)
            elif first & 15 == BINARY:
                return payload

    def drain(self, seconds):
        messages = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            message = self.receive(max(0.001, until - time.monotonic()))
            if message is not None:
                messages.append(message)
        return messages

    def close(self):
        self.socket.close()


def header(kind, sequence, time_us=0, extra=b"\0" * 8):
    return HEADER.pack(b"RVR1", kind, 0, 0, sequence, 0, time_us, extra)


_turbo = ctypes.CDLL(ctypes.util.find_library("turbojpeg"))
for _name in ("tjInitCompress", "tjInitDecompress"):
    getattr(_turbo, _name).restype = ctypes.c_void_p
_void, _ulong, _int = ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int
_turbo.tjCompress2.argtypes = [_void, ctypes.c_char_p, _int, _int, _int, _int, _void, _void, _int, _int, _int]
_turbo.tjDecompress2.argtypes = [_void, ctypes.c_char_p, _ulong, _void, _int, _int, _int, _int, _int]
_turbo.tjDecompressHeader3.argtypes = [_void, ctypes.c_char_p, _ulong, _void, _void, _void, _void]
_turbo.tjFree.argtypes = [_void]
_turbo.tjDestroy.argtypes = [_void]
YUV444, YUV420, GREY, PROGRESSIVE = 0, 2, 3, 16384


def encode(rgb, width, height, quality=85, subsampling=YUV420, flags=0):
    handle = _turbo.tjInitCompress()
    data, size = ctypes.c_void_p(), ctypes.c_ulong()
    assert _turbo.tjCompress2(handle, rgb, width, 0, height, 0, ctypes.byref(data), ctypes.byref(size), subsampling,
                              quality, flags) == 0
    jpeg = ctypes.string_at(data, size.value)
    _turbo.tjFree(data)
    _turbo.tjDestroy(handle)
    return jpeg


def decode(jpeg):
    """(width, height, rgb bytes)"""
    handle = _turbo.tjInitDecompress()
    width, height, subsampling, colours = (ctypes.c_int() for _ in range(4))
    assert _turbo.tjDecompressHeader3(handle, jpeg, len(jpeg), *map(ctypes.byref, (width, height, subsampling, colours))) == 0
    rgb = ctypes.create_string_buffer(3 * width.value * height.value)
    assert _turbo.tjDecompress2(handle, jpeg, len(jpeg), rgb, width.value, 0, height.value, 0, 0) == 0
    _turbo.tjDestroy(handle)
    return width.value, height.value, rgb.raw


BITS = 16


def numbered(number, width=512, height=512, colour=(200, 60, 110), noise=None, **options):
    """A JPEG of one colour whose top eighth shows a number in black and white bars."""
    bar = b"".join((b"\xff\xff\xff" if number >> i & 1 else b"\0\0\0") * (width // BITS) for i in range(BITS))
    bar += b"\0\0\0" * (width % BITS)
    below = height - height // 8
    body = noise[: 3 * width * below] if noise else bytes(colour) * (width * below)
    return encode(bar * (height // 8) + body, width, height, **options)


def many_scans(side, count):
    """A progressive JPEG whose last scan is there so many times more: few bytes that take long to decode."""
    jpeg = encode(bytes(3 * side * side), side, side, subsampling=GREY, flags=PROGRESSIVE)
    scan = jpeg[jpeg.rindex(b"\xff\xc4"):-2]
    return jpeg[:-2] + count * scan + jpeg[-2:]


def read_bars(jpeg):
    """The red of each of an inverted numbered frame's bars, least significant first: dark for 1."""
    width, height, rgb = decode(jpeg)
    return [rgb[3 * (height // 16 * width + (2 * i + 1) * width // (2 * BITS))] for i in range(BITS)]


def read_number(jpeg):
    """(number, colour in the middle) of an inverted numbered frame."""
    width, height, rgb = decode(jpeg)
    number = sum(1 << i for i, level in enumerate(read_bars(jpeg)) if level < 128)
    middle = 3 * (height // 2 * width + width // 2)
    return number, tuple(rgb[middle : middle + 3])
