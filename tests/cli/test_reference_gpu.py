"""The runs of the reference models on a GPU in half precision, against the pictures that diffusers drew in float32."""
import json
import math
import subprocess
import sys

from common import BINARY, REFERENCE, environment, read_png, reverie, run_tests
from test_reference import arguments_of

# PSNR in dB that half precision must reach (the pictures have 8 bits a channel).
LEAST = 40.0


def has_gpu():
    probe = subprocess.run([BINARY, "bench", "load", "--model", REFERENCE / "tiny-sd15", "--device", "cuda"], capture_output=True,
                           env=environment())
    return probe.returncode == 0, probe.stderr.decode(errors="replace").strip()


def psnr(got, want):
    squares = sum((a - b) ** 2 for a, b in zip(got, want))
    return 99.0 if squares == 0 else 10.0 * math.log10(255.0 ** 2 * len(want) / squares)


def check_model(name, folder):
    model, bad = REFERENCE / name, []
    for run in json.loads((model / "runs.json").read_text()):
        out = folder / (run["name"] + ".png")
        arguments = ["cuda" if word == "cpu" and before == "--device" else "fp16" if before == "--precision" else word
                     for before, word in zip(["", *arguments_of(model, run, out)], arguments_of(model, run, out))]
        reverie(*arguments, "--model", model)
        got, want = read_png(out)[2], read_png(model / run["picture"])[2]
        assert len(got) == len(want), run["name"]
        decibels = psnr(got, want)
        print(f"# {run['name']}: {decibels:.1f} dB", flush=True)
        if decibels < LEAST:
            bad.append(f"{run['name']}: {decibels:.1f} dB")
    assert not bad, "; ".join(bad)


def test_sd15(folder):
    check_model("tiny-sd15", folder)


def test_sd21(folder):
    check_model("tiny-sd21", folder)


def test_sdxl(folder):
    check_model("tiny-sdxl", folder)


if __name__ == "__main__":
    usable, reason = has_gpu()
    if usable:
        run_tests(globals())
    else:
        print(f"1..0 # SKIP no GPU: {reason}")
        sys.exit(0)
