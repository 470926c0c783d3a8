"""Films and folders of frames, and picking up where a run was cut off."""
import signal
import subprocess
import time

from common import (BINARY, MODEL, difference, draw, environment, make_picture, read_png, refuse, reverie, run_tests, tree)
from terminal import run_in_terminal

BASE = ["--model", MODEL, "-p", "a fox", "--steps", 4, "--strength", 0.5, "--sampler", "euler_a", "--cfg", 1, "--threads", 1]
FRAMES = 5


def make_frames(folder, count=FRAMES):
    folder.mkdir()
    for i in range(count):
        make_picture(folder / f"shot{i + 8}.png", 64, 48, shift=30 * i)  # 8, 9, 10: by number, not by letter
    return folder


def frames_of(folder):
    return [read_png(path) for path in sorted(folder.glob("frame-*.png"))]


def redraw(source, out, *arguments):
    return reverie("video", *BASE, "-i", source, "-o", out, *arguments)


def test_folder_to_folder(folder):
    source = make_frames(folder / "in")
    redraw(source, folder / "out")
    frames = frames_of(folder / "out")
    assert len(frames) == FRAMES and all(frame[:2] == (64, 48) for frame in frames)
    for i in (0, FRAMES - 1):
        alone = draw(folder / "one.png", "-i", source / f"shot{i + 8}.png", "--seed", 0, task="img2img", base=BASE)
        assert alone[:2] == frames[i][:2] and alone[3] == frames[i][3], "size and texts"
        assert difference(alone[2], frames[i][2])[1] <= 1, "a frame is what img2img makes of it"
    assert f"{FRAMES} frames are there already" in redraw(source, folder / "out").error
    assert frames_of(folder / "out") == frames
    odd = make_frames(folder / "odd", 2)
    make_picture(odd / "shot8.png", 75, 51)
    assert "75x51" in redraw(odd, folder / "out2").error
    assert [frame[:2] for frame in frames_of(folder / "out2")] == [(72, 48)] * 2, "all frames have the size of the first"


def test_films(folder):
    source = make_frames(folder / "in")
    for name in ("a.mp4", "a.mkv", "a.webm"):
        redraw(source, folder / name)
    assert (folder / "a.mp4").read_bytes()[4:8] == b"ftyp" and (folder / "a.webm").read_bytes()[:4] == b"\x1aE\xdf\xa3"
    redraw(folder / "a.mp4", folder / "b.mp4")
    redraw(folder / "b.mp4", folder / "out")
    assert len(frames_of(folder / "out")) == FRAMES
    redraw(folder / "a.webm", folder / "small", "--width", 32, "--height", 24)
    assert [frame[:2] for frame in frames_of(folder / "small")] == [(32, 24)] * FRAMES
    assert {name for name in tree(folder) if "/" not in name} == {"in", "a.mp4", "a.mkv", "a.webm", "b.mp4", "out", "small"}


def kill_at_frame(frame, *arguments):
    """SIGKILL as soon as the file of that frame is there."""
    process = subprocess.Popen([str(word) for word in (BINARY, "video", *BASE, *arguments)], env=environment(None, arguments), stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not frame.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"


def test_goes_on_after_kill(folder):
    source = make_frames(folder / "in", 12)
    slow = ["--steps", 12]
    redraw(source, folder / "whole", *slow)
    kill_at_frame(folder / "cut" / "frame-000002.png", "-i", source, "-o", folder / "cut", *slow)
    (folder / "cut" / ".frame-000003.png.abcdef").write_bytes(b"half written")
    before = (folder / "cut" / "frame-000001.png").stat().st_mtime_ns
    assert "going on" in redraw(source, folder / "cut", *slow).error
    assert (folder / "cut" / "frame-000001.png").stat().st_mtime_ns == before, "finished frames are not drawn again"
    assert frames_of(folder / "cut") == frames_of(folder / "whole")
    assert tree(folder / "cut") == tree(folder / "whole")


def test_film_goes_on_after_kill(folder):
    source = make_frames(folder / "in", 12)
    redraw(source, folder / "film.webm")
    redraw(folder / "film.webm", folder / "whole.webm", "--steps", 12)
    kill_at_frame(folder / "cut.webm.parts" / "frame-000003.png", "-i", folder / "film.webm", "-o", folder / "cut.webm", "--steps", 12)
    assert not (folder / "cut.webm").exists()
    redraw(folder / "film.webm", folder / "cut.webm", "--steps", 12)
    assert not (folder / "cut.webm.parts").exists()
    for name in ("whole", "cut"):
        redraw(folder / f"{name}.webm", folder / name)
    assert frames_of(folder / "cut") == frames_of(folder / "whole") and len(frames_of(folder / "cut")) == 12


def test_other_settings_are_refused(folder):
    source, out = make_frames(folder / "in", 2), folder / "out"
    other = make_frames(folder / "other", 1)
    redraw(source, out)
    base = ["video", *BASE, "-i", source, "-o", out]
    for change in (["-p", "a cat"], ["--seed", 1], ["--steps", 5], ["--strength", 0.75], ["--cfg", 2], ["-n", "blurry", "--cfg", 1.5],
                   ["--sampler", "euler"], ["--schedule", "karras"], ["--noise", "nv"], ["--width", 32], ["--clip-skip", 2],
                   ["--eta", 0.5], ["--prediction", "v_prediction"], ["--prompt-syntax", "plain"], ["-i", other]):
        refuse(folder, 2, *base, *change, says=["other settings", str(out)])
    reverie(*base, "--threads", 2)
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("keep me")
    refuse(folder, 2, "video", *BASE, "-i", source, "-o", folder / "mine", says="other files")
    refuse(folder, 2, "video", *BASE, "-i", source, "-o", source, says="other files")


def test_wrong_usage(folder):
    source = make_frames(folder / "in", 2)
    refuse(folder, 2, "video", *BASE, "-i", source, says="-o")
    refuse(folder, 2, "video", *BASE, "-o", folder / "out", says="-i")
    refuse(folder, 2, "video", *BASE, "-i", source, "-o", "-")
    refuse(folder, 2, "video", *BASE, "-i", source, "-o", folder / "out", "--seed", "-1", says="seed")
    refuse(folder, 2, "video", *BASE, "-i", source, "-o", folder / "out", "--count", 2, says="--count")
    refuse(folder, 3, "video", *BASE, "-i", folder / "none", "-o", folder / "out")
    (folder / "empty").mkdir()
    refuse(folder, 3, "video", *BASE, "-i", folder / "empty", "-o", folder / "out", says="no frames")
    (folder / "text.mp4").write_text("this is no film" * 100)
    refuse(folder, 3, "video", *BASE, "-i", folder / "text.mp4", "-o", folder / "out")
    (source / "shot8.png").write_bytes(b"broken")
    refuse(folder, 3, "video", *BASE, "-i", source, "-o", folder / "out")


def test_broken_frame_in_the_middle(folder):
    source = make_frames(folder / "in", 4)
    good = (source / "shot10.png").read_bytes()
    (source / "shot10.png").write_bytes(good[:len(good) // 2])
    result = reverie("video", *BASE, "-i", source, "-o", folder / "out", expect=3)
    assert "shot10.png" in result.error and len(frames_of(folder / "out")) == 2
    (source / "shot10.png").write_bytes(good)
    redraw(source, folder / "out")
    assert len(frames_of(folder / "out")) == 4


def test_progress(folder):
    source = make_frames(folder / "in")
    code, text = run_in_terminal([BINARY, "video", *BASE, "-i", source, "-o", folder / "out"], {"TERM": "xterm"})
    assert code == 0 and b"5/5" in text and (b"frame/s" in text or b"s/frame" in text) and b"left" in text, text


run_tests(globals())
