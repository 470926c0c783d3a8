"""Disks that fill, memory that ends, Ctrl-C, kill, closed pipes and corrupted files: one clear line or none, the right
exit code, nothing left behind, never a crash, never a hang."""
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from common import (BINARY, FAST, MODEL, REFERENCE, SANITIZED, ERROR_LINE, Skip, check_stderr, copy_model, environment, make_picture,
                    read_png, refuse, reverie, run_tests, tree)

SLOW = ["--model", MODEL, "-p", "a fox", "--steps", 1000, "--width", 64, "--height", 64, "--threads", 1, "--sampler", "euler"]


def limit_files(size):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return limit


def test_files_that_may_not_grow(folder):
    for arguments in (["txt2img", *FAST, "-o", folder / "out.png"], ["txt2img", *FAST, "-o", folder / "out.jpg"],
                      ["models", "convert", MODEL, "-o", folder / "m.safetensors"], ["models", "convert", MODEL, "-o", folder / "m"]):
        error = refuse(folder, 1, *arguments, preexec_fn=limit_files(1000))
        assert "room" in error or "write" in error, error
    source = folder / "in"
    source.mkdir()
    for i in range(3):
        make_picture(source / f"{i}.png")
    base = ["video", "--model", MODEL, "-p", "a", "--steps", 2, "--threads", 1, "--cfg", 1, "-i", source, "-o"]
    reverie(*base, folder / "out", expect=1, preexec_fn=limit_files(2000))
    assert not list(folder.glob("**/.*")), tree(folder)
    refuse(folder, 1, *base, folder / "film.mkv", preexec_fn=limit_files(500))


def full_disk(folder, kilobytes):
    """A small file system; a test that needs one is skipped where mounting is not allowed."""
    place = folder / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", place], capture_output=True).returncode == 0
    if not mounted:
        raise Skip("mounting a small disk is not allowed here")
    return place


def test_full_disk(folder):
    place = full_disk(folder, 64)
    try:
        (place / "filler").write_bytes(b"x" * 60 * 1024)
        error = refuse(place, 1, "txt2img", *FAST, "-o", place / "out.png")
        assert "room" in error, error
        refuse(place, 1, "models", "convert", MODEL, "-o", place / "m.safetensors")
        refuse(place, 1, "models", "convert", MODEL, "-o", place / "m")
        source = folder / "in"
        source.mkdir()
        make_picture(source / "0.png")
        refuse(place, 1, "video", "--model", MODEL, "-p", "a", "--steps", 2, "--threads", 1, "--cfg", 1, "-i", source, "-o", place / "out")
        for name in ("/dev/full",):
            with open(name, "wb") as full:
                result = subprocess.run([str(word) for word in (BINARY, "txt2img", *FAST, "-o", "-")], stdout=full, stderr=subprocess.PIPE, env=environment())
                assert result.returncode == 1 and ERROR_LINE.match(result.stderr.decode()), result
    finally:
        subprocess.run(["umount", place], check=True)


def test_standard_output_that_takes_nothing(folder):
    for arguments in (["txt2img", *FAST, "-o", "-"], ["txt2img", *FAST, "-o", folder / "a.png", "--json"], ["tokenize", "-p", "a", "--json"],
                      ["tokenize", "-p", "a"], ["models", "info", MODEL, "--json"], ["models", "info", MODEL], ["models", "list", "--models", REFERENCE],
                      ["--help"], ["txt2img", "--help"], ["--version"]):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([str(word) for word in (BINARY, *arguments)], stdout=full, stderr=subprocess.PIPE, env=environment())
        assert result.returncode == 1 and ERROR_LINE.match(result.stderr.decode()), (arguments, result)
        reading, writing = os.pipe()
        os.close(reading)
        result = subprocess.run([str(word) for word in (BINARY, *arguments)], stdout=writing, stderr=subprocess.PIPE, env=environment())
        os.close(writing)
        assert result.returncode == 1 and ERROR_LINE.match(result.stderr.decode()), (arguments, result)


def test_closed_streams(folder):
    def close():
        for descriptor in (0, 1, 2):
            os.close(descriptor)
    out = folder / "a.png"
    process = subprocess.Popen([str(word) for word in (BINARY, "txt2img", *FAST, "--json", "-o", out, "--width", 71)], preexec_fn=close, env=environment())
    assert process.wait(60) == 1, "the JSON could not be written"
    reverie("txt2img", *FAST, "-o", folder / "b.png")
    if out.exists():
        assert read_png(out) == read_png(folder / "b.png"), "messages went into the picture"


def limit_memory(size):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return limit


def test_memory_that_ends(folder):
    if SANITIZED:
        raise Skip("sanitizers reserve the whole address space")
    out = folder / "out.png"
    arguments = ["txt2img", *FAST, "--width", 512, "--height", 512, "--threads", 2, "--steps", 1, "--cfg", 1, "-o", out]
    codes = []
    for size in (60, 80, 100, 120, 140, 160, 180, 200, 240, 280, 350, 450, 700, 1000, 3000):
        result = subprocess.run([str(word) for word in (BINARY, *arguments)], capture_output=True, env=environment(), timeout=100,
                                preexec_fn=limit_memory(size << 20))
        error = result.stderr.decode().strip()
        codes.append(result.returncode)
        if result.returncode == 0:
            out.unlink()
            continue
        assert result.returncode == 4 and ERROR_LINE.fullmatch(error), f"{size} MB: exit {result.returncode}: {error}"
        assert tree(folder) == set(), tree(folder)
    assert codes.count(4) >= 4 and codes[-1] == 0, codes
    print("#", codes)


def handles_interrupt(process):
    """Whether the process has taken over SIGINT: before that the kernel's way of ending it is right, too."""
    try:
        text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = [line for line in text.splitlines() if line.startswith("SigCgt")]
    return bool(caught) and bool(int(caught[0].split()[1], 16) & 1 << (signal.SIGINT - 1))


def interrupt(arguments, delay, number=signal.SIGINT, ready=None):
    """Exit code and how long it took from the signal."""
    process = subprocess.Popen([str(word) for word in (BINARY, *arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(None, arguments))
    while process.poll() is None and not (handles_interrupt(process) and (ready is None or ready())):
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(number)
    start = time.monotonic()
    _, stderr = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        check_stderr(stderr.decode().strip(), process.returncode, arguments)
    return process.returncode, time.monotonic() - start, stderr.decode()


PATIENCE = 10.0  # seconds: much less than what is interrupted takes where this is long


def test_interrupted_at_any_time(folder):
    for i in range(12):
        code, seconds, error = interrupt(["txt2img", *SLOW, "-o", folder / "out.png", "--preview", folder / "p.png"], 0.02 * i)
        assert code == 5 and seconds < PATIENCE and "cancelled" in error, (i, code, seconds, error)
        assert tree(folder) == set(), tree(folder)
    code, seconds, _ = interrupt(["txt2img", *SLOW, "-o", folder / "out.png"], 0.3, signal.SIGTERM)
    assert code == 5 and seconds < PATIENCE and tree(folder) == set(), (code, seconds)
    code, _, _ = interrupt(["txt2img", *SLOW, "--steps", 1, "--width", 1024, "--height", 1024, "-o", folder / "out.png"], 0.3)
    assert code == 5 and tree(folder) == set(), "inside of one long step"


def test_interrupted_conversion(folder):
    for i in range(5):
        code, seconds, _ = interrupt(["models", "convert", REFERENCE / "tiny-sdxl", "-o", folder / "m.safetensors"], 0.005 * i)
        assert code in (0, 5) and seconds < PATIENCE
        (folder / "m.safetensors").unlink(missing_ok=code == 5)
        assert tree(folder) == set(), tree(folder)
        assert interrupt(["models", "verify", REFERENCE / "tiny-sdxl"], 0.001 * i)[0] in (0, 5)


def test_interrupted_film(folder):
    source, out = folder / "in", folder / "out"
    source.mkdir()
    for i in range(6):
        make_picture(source / f"{i}.png", shift=i * 20)
    base = ["video", "--model", MODEL, "-p", "a fox", "--steps", 100, "--threads", 1, "--cfg", 1, "-i", source, "-o"]
    code, seconds, _ = interrupt([*base, out], 0.05, ready=(out / "frame-000002.png").exists)
    assert code == 5 and seconds < PATIENCE, (code, seconds)
    assert (out / "frame-000002.png").exists() and not list(out.glob(".*")), "finished frames stay, to go on from"
    code, seconds, _ = interrupt([*base, folder / "film.mp4"], 0.05)
    assert code == 5 and seconds < PATIENCE and not (folder / "film.mp4").exists()


def test_killed(folder):
    for i in range(6):
        interrupt(["txt2img", *FAST, "-o", folder / "out.png", "--preview", folder / "p.png", "--steps", 20], 0.03 * i, signal.SIGKILL)
        for name in tree(folder):
            assert name in ("out.png", "p.png") or name.startswith((".out.png.", ".p.png.")), name
        if (folder / "out.png").exists():
            read_png(folder / "out.png")


def test_read_only_folder(folder):
    place = folder / "locked"
    place.mkdir()
    place.chmod(0o555)
    if os.access(place, os.W_OK):
        arguments = ["setpriv", "--reuid=65534", "--clear-groups", "--"] if shutil.which("setpriv") else None
        if arguments is None:
            raise Skip("root may write anywhere")
        folder.chmod(0o755)
        result = subprocess.run([*arguments, *map(str, (BINARY, "txt2img", *FAST, "-o", place / "a.png"))], capture_output=True, env=environment())
        assert result.returncode == 1 and ERROR_LINE.fullmatch(result.stderr.decode().strip()), result
        assert tree(place) == set()
    else:
        refuse(folder, 1, "txt2img", *FAST, "-o", place / "a.png", says="locked")


def corrupt(path, generator):
    """Changes a file in one of the ways in which files go bad; says how."""
    data = bytearray(path.read_bytes())
    way = generator.randrange(6)
    if way == 0:
        data = data[:generator.randrange(len(data))]
    elif way == 1 and path.suffix in (".json", ".txt"):
        words = [b"0", b"-1", b"1e400", b"null", b"[]", b"{}", b'""', b"9" * 30, b"\\ud800", b"\xff", b"true", b'"', b",", b"\0"]
        at = generator.randrange(len(data))
        data[at:at + generator.randrange(6)] = generator.choice(words)
    elif way == 2:
        at = generator.randrange(len(data))
        data[at:at] = generator.randbytes(generator.randrange(1, 100))
    else:
        # Half of the flips hit the first kilobytes, where headers are.
        reach = len(data) if generator.random() < 0.5 else min(len(data), 20000)
        for _ in range(generator.choice((1, 1, 8, 200))):
            data[generator.randrange(reach)] = generator.randrange(256)
    path.write_bytes(bytes(data))
    return f"{path.name}, way {way}"


def try_corruption(folder, number):
    generator = random.Random(number)
    model = folder / f"model-{number % 2}"
    files = [path for path in sorted(MODEL.rglob("*")) if path.is_file() and path.suffix in (".json", ".txt", ".safetensors")
             and path.parent.name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", MODEL.name) and path.name not in
             ("runs.json", "golden.safetensors", "lora.safetensors", "embedding.safetensors")]
    broken = [generator.choice(files).relative_to(MODEL) for _ in range(generator.choice((1, 1, 2)))]
    try:
        how = [corrupt(model / name, generator) for name in broken]
        out = folder / f"out-{number}.png"
        arguments = ["txt2img", *FAST, "--model", model, "--steps", 1, "--width", 16, "--height", 16, "-o", out]
        if number % 5 == 0:
            arguments = ["models", generator.choice(("info", "verify")), model]
        result = subprocess.run([str(word) for word in (BINARY, *arguments)], capture_output=True, env=environment(), timeout=100)
        error = result.stderr.decode(errors="replace").strip()
        where = f"corruption {number} ({'; '.join(how)}): exit {result.returncode}: {error}"
        assert result.returncode in (0, 1, 3), where
        assert result.returncode == 0 or (ERROR_LINE.fullmatch(error) and not out.exists()), where
        out.unlink(missing_ok=True)
    finally:
        for name in broken:
            shutil.copyfile(MODEL / name, model / name)
    return result.returncode


def test_corrupted_models(folder):
    for i in (0, 1):
        copy_model(MODEL, folder / f"model-{i}")
    count = int(os.environ.get("REVERIE_CORRUPTIONS", 100 if SANITIZED else 60))  # sanitizers see more
    with ThreadPoolExecutor(2) as pool:
        halves = [pool.submit(lambda first: [try_corruption(folder, n) for n in range(first, count, 2)], i) for i in (0, 1)]
        codes = halves[0].result() + halves[1].result()
    assert codes.count(3) > count // 4 and codes.count(0) > 0, {code: codes.count(code) for code in set(codes)}
    assert not list(folder.glob(".*")) and not list(folder.glob("out*"))


run_tests(globals())
