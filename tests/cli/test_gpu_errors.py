"""What a user is told when the GPU's module cannot be used; true with and without a GPU."""
import ctypes
import os

from common import FAST, refuse, reverie, run_tests

NO_DRIVER = "there is no NVIDIA driver"


def has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
        return True
    except OSError:
        return False


def refused(folder, says, module=None, device="cuda"):
    refuse(folder, 4, "txt2img", *FAST, "--device", device, "-o", folder / "x.png", says=says,
           env={"REVERIE_CUDA_MODULE": str(module)} if module else None)


def test_no_driver(folder):
    if not has_driver():
        refused(folder, [NO_DRIVER, "--device cpu"])
        refused(folder, [NO_DRIVER], device="cuda:3")


def test_no_such_gpu(folder):
    if has_driver():
        refused(folder, ["no GPU number 99"], device="cuda:99")


def test_no_such_module(folder):
    refused(folder, ["/nowhere/reverie-cuda.so", "REVERIE_CUDA_MODULE"], "/nowhere/reverie-cuda.so")


def test_no_module_at_all(folder):
    path = folder / "text.so"
    path.write_text("this is not a library")
    refused(folder, ["cannot be loaded"], path)


def test_module_of_another_version(folder):
    refused(folder, ["version", "same version as the program"], os.environ["OTHER_VERSION"])


def test_precisions(folder):
    refuse(folder, 4, "txt2img", *FAST, "--device", "cpu", "--precision", "fp16", "-o", folder / "x.png", says="fp32 only")
    refuse(folder, 2, "txt2img", *FAST, "--device", "cuda:x", "-o", folder / "x.png", says="cuda:x")


def test_auto_falls_back(folder):
    """Without a usable GPU the CPU draws."""
    env = {"REVERIE_CUDA_MODULE": "/nowhere/reverie-cuda.so"}
    reverie("txt2img", *FAST, "--device", "auto", "-o", folder / "x.png", env=env)
    assert (folder / "x.png").exists()


run_tests(globals())
