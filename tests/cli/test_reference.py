"""Every run of the reference models, through the command line, against the pictures that diffusers drew."""
import json

from common import REFERENCE, difference, read_png, reverie, run_tests


def arguments_of(model, run, out):
    sampler, schedule = run["sampler"], run.get("spacing", "leading")
    config = run.get("scheduler_config", {})
    if sampler.endswith("_karras"):
        sampler, schedule = sampler[:-len("_karras")], "karras"
    elif "timestep_spacing" in config:
        schedule = config["timestep_spacing"]
    arguments = [run["task"], "-p", run["prompt"], "-o", out, "--steps", run["steps"], "--cfg", run["cfg_scale"],
                 "--seed", run["seed"], "--sampler", sampler, "--schedule", schedule, "--noise", "cpu",
                 "--device", "cpu", "--precision", "fp32"]
    if "prediction_type" in config:
        arguments += ["--prediction", config["prediction_type"]]
    if "negative_prompt" in run:
        arguments += ["-n", run["negative_prompt"]]
    if run["task"] == "img2img":
        arguments += ["-i", model / run["source"], "--strength", run["strength"]]
    else:
        arguments += ["--width", run["width"], "--height", run["height"]]
    if run.get("vae") == "taesd":
        arguments += ["--vae", model / "taesd"]
    return arguments


def check_runs(model, folder, extra):
    worst = []
    for run in json.loads((model / "runs.json").read_text()):
        out = folder / (run["name"] + ".png")
        reverie(*arguments_of(model, run, out), *extra)
        width, height, got, _ = read_png(out)
        want_width, want_height, want, _ = read_png(model / run["picture"])
        assert (width, height) == (want_width, want_height), run["name"]
        mean, most = difference(got, want)
        print(f"# {run['name']}: mean {mean:.4f}, largest {most}")
        if mean > 0.5 or most > 4:
            worst.append(f"{run['name']}: mean {mean:.3f}, largest {most}")
    assert not worst, "; ".join(worst)


def check_both_layouts(name, folder):
    model = REFERENCE / name
    check_runs(model, folder, ["--model", model])
    single = folder / (name + ".safetensors")
    reverie("models", "convert", model, "-o", single, "--precision", "fp16")
    check_runs(model, folder, ["--model", single, "--tokenizer", model / "tokenizer"])


def test_sd15(folder):
    check_both_layouts("tiny-sd15", folder)


def test_sd21(folder):
    check_both_layouts("tiny-sd21", folder)


def test_sdxl(folder):
    check_both_layouts("tiny-sdxl", folder)


if __name__ == "__main__":
    run_tests(globals())
