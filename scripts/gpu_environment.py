"""How the programs of a build folder, or of one that scripts/gpu-pack filled, are run on a machine with a GPU."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def find_cudnn():
    """cuDNN as a Python package, where it is not in the linker's path."""
    try:
        import nvidia.cudnn
        return [str(pathlib.Path(folder) / "lib") for folder in nvidia.cudnn.__path__]
    except ImportError:
        return []


def environment(build):
    folders = [str(build / "lib"), "/usr/local/cuda/lib64", *find_cudnn(), os.environ.get("LD_LIBRARY_PATH", "")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders)), "REVERIE": str(build / "reverie"),
            "REVERIE_REFERENCE": str(build / "tests" / "data" / "reference"), "G_TEST_SRCDIR": str(ROOT / "tests"),
            "G_TEST_BUILDDIR": str(build / "tests"), "REVERIE_CUDA_MODULE": str(build / "src/backends/cuda/reverie-cuda.so")}
