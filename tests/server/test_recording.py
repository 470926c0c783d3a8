#!/usr/bin/env python3
"""`reverie serve --record`: films of what a mirror was sent and shown, read back with GStreamer's own demuxer.

REVERIE names the binary."""
import ctypes
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "cli")]
from common import SANITIZER_OPTIONS, Skip  # noqa: E402
from serve import Server as AnyServer, eventually, refused, run_tests  # noqa: E402
from ws_client import WebSocket, numbered, read_number  # noqa: E402

COLOUR, INVERTED = (200, 60, 110), (55, 195, 145)
EOS, ERROR, TIME_FORMAT, PLAYING, NULL = 1, 2, 3, 4, 1

_gst = ctypes.CDLL("libgstreamer-1.0.so.0")
for _name in ("gst_parse_launch", "gst_element_get_bus", "gst_bus_timed_pop_filtered"):
    getattr(_gst, _name).restype = ctypes.c_void_p
_gst.gst_element_get_bus.argtypes = _gst.gst_object_unref.argtypes = _gst.gst_mini_object_unref.argtypes = [ctypes.c_void_p]
_gst.gst_element_set_state.argtypes = [ctypes.c_void_p, ctypes.c_int]
_gst.gst_element_query_duration.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_gst.gst_bus_timed_pop_filtered.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]
_gst.gst_init(None, None)


# GLib's table of quarks, which GStreamer makes grow, "leaks" by design (tests/unit/test_video.c); all else counts.
_suppressions = tempfile.NamedTemporaryFile("w", suffix=".lsan")
_suppressions.write("leak:call_init\nleak:ld-linux-x86-64\n")
_suppressions.flush()
SANITIZER = {"ASAN_OPTIONS": SANITIZER_OPTIONS["ASAN_OPTIONS"] + ":fast_unwind_on_malloc=0",
             "LSAN_OPTIONS": f"suppressions={_suppressions.name}"}


def Server(*options, env=None):
    return AnyServer(*options, env={**SANITIZER, **(env or {})})


def frames_of(path, folder, is_cut=False):
    """The film's JPEGs in order, and its length in seconds as the player says (-1: not known). One that is cut
    anywhere (a full disk) may end in the player's error."""
    folder.mkdir()
    fault = ctypes.c_void_p()
    pipeline = _gst.gst_parse_launch(f'filesrc location="{path}" ! matroskademux ! multifilesink async=false '
                                     f'location="{folder}/%05d.jpg"'.encode(), ctypes.byref(fault))
    assert pipeline and not fault, path
    bus = _gst.gst_element_get_bus(pipeline)
    _gst.gst_element_set_state(pipeline, PLAYING)
    ended = _gst.gst_bus_timed_pop_filtered(bus, 60 * 10**9, EOS | (ERROR if is_cut else 0))
    length = ctypes.c_int64(-1)
    _gst.gst_element_query_duration(pipeline, TIME_FORMAT, ctypes.byref(length))
    _gst.gst_element_set_state(pipeline, NULL)
    assert ended, f"{path} does not play to its end"
    _gst.gst_mini_object_unref(ended)
    _gst.gst_object_unref(bus)
    _gst.gst_object_unref(pipeline)
    jpegs = [file.read_bytes() for file in sorted(folder.iterdir())]
    return jpegs, length.value / 1e9 if length.value > 0 else -1


def show(server, numbers, ws=None, pause=0.0, **options):
    """Sends frames one by one; what was sent and what was shown."""
    ws = ws or WebSocket(server.port)
    sent, shown = [], []
    for number in numbers:
        sent.append(numbered(number, 128, 128, colour=COLOUR, **options))
        ws.send(sent[-1])
        shown.append(ws.receive())
        assert shown[-1] is not None and read_number(shown[-1])[0] == number
        time.sleep(pause)
    return ws, sent, shown


def recording(server, **changes):
    if not changes:
        return server.json("/api/recording")
    return server.json("/api/recording", method="POST", body=json.dumps(changes))


def written(server, frames):
    return eventually(lambda: recording(server)["frames"] >= frames, f"{frames} frames are written")


def closed(server):
    eventually(lambda: recording(server)["files"] == 0, "the files are closed")


def films(folder, ending):
    return sorted(folder.glob(f"*{ending}"))


def test_films_are_what_was_sent_and_shown(folder):
    takes = folder / "takes"
    takes.mkdir()
    with Server("--record", takes) as server:
        assert recording(server)["on"] and server.state()["recording"]["on"]
        start = time.monotonic()
        ws, sent, shown = show(server, range(1, 16), pause=0.05)
        server.post({"prompt": "a second thing"})
        written(server, 30)
        seconds = time.monotonic() - start
        assert server.metric("reverie_recorded_frames_total") == 30 and server.metric("reverie_recording") == 1
        assert server.metric("reverie_recorded_bytes_total") == sum(map(len, sent + shown))
        assert server.metric("reverie_recording_dropped_total") == 0
        ws.close()
        closed(server)
    (entry,), (result,), (notes,) = films(takes, "_1_input.mkv"), films(takes, "_1_output.mkv"), films(takes, "_1_prompts.jsonl")
    assert time.strptime(entry.name[:19], "%Y-%m-%d_%H-%M-%S")
    got, length = frames_of(entry, folder / "in")
    assert got == sent, "the input is not what was sent"
    assert 0.5 < length <= seconds, (length, seconds)
    got, length = frames_of(result, folder / "out")
    assert got == shown, "the output is not what was shown"
    assert 0.5 < length <= seconds, (length, seconds)
    for number, jpeg in enumerate(got, 1):
        have, middle = read_number(jpeg)
        assert have == number and all(abs(a - b) <= 6 for a, b in zip(middle, INVERTED)), (have, middle)
    lines = [json.loads(line) for line in notes.read_text().splitlines()]
    assert len(lines) == 2 and lines[1]["state"]["prompt"] == "a second thing" != lines[0]["state"]["prompt"]
    assert 0 <= lines[0]["time"] < 0.5 < lines[1]["time"] <= seconds


def test_playable_after_a_kill(folder):
    takes = folder / "takes"
    takes.mkdir()
    server = Server("--record", takes)
    try:
        ws, sent, shown = show(server, range(1, 11))
        written(server, 20)
        for ending, last in (("input", sent[-1]), ("output", shown[-1])):  # it is counted when GStreamer has it
            eventually(lambda: last in films(takes, f"_{ending}.mkv")[0].read_bytes(), "the last frame is in its file")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        ws.close()
    finally:
        server.end()
    for ending, frames in (("input", sent), ("output", shown)):
        got, _ = frames_of(films(takes, f"_{ending}.mkv")[0], folder / ending)
        assert got == frames, (ending, len(got))


def test_route(folder):
    takes = folder / "takes"
    takes.mkdir()
    with Server(env={"REVERIE_RECORD": str(takes)}) as server:
        assert recording(server, on=False) == {**recording(server), "on": False, "error": ""}
        ws, _, _ = show(server, range(1, 4))
        assert not list(takes.iterdir())
        for n, numbers in enumerate((range(4, 8), range(8, 11)), 1):  # within a second too: no file is overwritten
            assert recording(server, on=True)["on"]
            _, sent, shown = show(server, numbers, ws)
            assert not recording(server, on=False)["on"]
            closed(server)
            newest = max(takes.glob("*input*.mkv"), key=lambda path: path.stat().st_mtime_ns)
            assert len(list(takes.glob("*input*.mkv"))) == n
            assert frames_of(newest, folder / f"in{n}")[0] == sent
        for body in ("", "{}", "[]", '{"on":1}', '{"on":"yes"}', '{"on":tru'):
            status, _, text = server.request("/api/recording", "POST", body)
            assert status == 400 and json.loads(text)["error"], (body, status)
        ws.close()
    with Server() as server:
        assert recording(server)["on"] is False
        status, _, text = server.request("/api/recording", "POST", '{"on":true}')
        assert status == 400 and "--record" in json.loads(text)["error"]
        show(server, [1])[0].close()


def test_sizes_limits_and_rubbish(folder):
    """Another file begins with another size and at the limit; what is no picture is left out and counted."""
    takes = folder / "takes"
    takes.mkdir()
    with Server("--record", takes, "--record-limit", 1) as server:
        ws, first, _ = show(server, range(1, 4))
        ws.send(b"no picture at all")
        eventually(lambda: recording(server)["dropped"] == 1, "rubbish is counted")
        noise = os.urandom(3 * 512 * 512)
        other = [numbered(number, 512, 512, noise=noise, quality=98) for number in range(4, 16)]
        for jpeg in other:
            ws.send(jpeg)
            assert ws.receive()
        written(server, 2 * 15)
        ws.close()
        closed(server)
    parts = sorted(takes.glob("*_input*.mkv"), key=lambda path: (len(path.name), path.name))
    assert len(parts) > 3 and [path.name.split("_input")[1] for path in parts[:3]] == [".mkv", "-2.mkv", "-3.mkv"]
    assert all(path.stat().st_size < (1 << 20) + 2 * len(other[0]) for path in parts)
    got = [frames_of(path, folder / str(i))[0] for i, path in enumerate(parts)]
    assert got[0] == first and sum(got[1:], []) == other


def test_full_disk(folder):
    disk = folder / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk],
                                           capture_output=True).returncode != 0:
        raise Skip("no mounts here")
    try:
        with Server("--record", disk) as server:
            noise = os.urandom(3 * 128 * 128)
            ws, _, _ = show(server, range(1, 40), noise=noise, quality=98)
            numbers = itertools.count(40)

            def stopped():  # the show goes on meanwhile
                show(server, [next(numbers)], ws)
                return not recording(server)["on"] and recording(server)

            state = eventually(stopped, "recording stops", 120)
            assert "recording cannot be written" in state["error"] and server.state()["recording"]["error"]
            assert server.logs().count("recording-stopped") == 1, server.logs()
            show(server, itertools.islice(numbers, 10), ws)
            closed(server)
            got, _ = frames_of(films(disk, "_input.mkv")[0], folder / "in", is_cut=True)
            assert got and read_number(got[0])[0] != 0
            for path in disk.iterdir():
                path.unlink()
            assert recording(server, on=True)["error"] == ""
            _, sent, _ = show(server, itertools.islice(numbers, 3), ws)
            ws.close()
            closed(server)
            assert frames_of(films(disk, "_input.mkv")[0], folder / "again")[0] == sent
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_bad_folders(folder):
    refused("--effect", "invert", "--data", folder / "data", "--listen", "127.0.0.1:0", "--record", folder / "none", expect=3,
            word="--record")
    (folder / "file").write_text("")
    refused("--effect", "invert", "--data", folder / "data", "--listen", "127.0.0.1:0", "--record", folder / "file", expect=3)
    refused("--effect", "invert", "--data", folder / "data", "--listen", "127.0.0.1:0", "--record-limit", "0", expect=2)
    refused("--effect", "invert", "--data", folder / "data", "--listen", "127.0.0.1:0", "--record", "/proc", expect=2)


if __name__ == "__main__":
    run_tests(globals())
