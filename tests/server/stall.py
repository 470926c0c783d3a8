"""A device that hangs: the thread of that name in a running program is stopped where it stands, as in a driver that does
not answer, and goes on later. The program itself knows nothing of this (ptrace of one thread)."""
import ctypes
import os
import pathlib

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
ALL_KINDS = 0x40000000  # __WALL: threads too

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class NotAllowed(Exception):
    pass


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def threads_of(process, name):
    """The kernel keeps 15 characters of a name."""
    tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
    return sorted(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name[:15])


class Stalled:
    """`with Stalled(process, name): ...`; without a name the main thread. NotAllowed where programs may not be traced."""

    def __init__(self, process, name=None):
        found = threads_of(process, name) if name else [process]
        assert len(found) == 1, f"{len(found)} threads are called {name}"
        self.thread = found[0]

    def __enter__(self):
        try:
            _ptrace(SEIZE, self.thread)
        except PermissionError as error:
            raise NotAllowed(str(error))
        _ptrace(INTERRUPT, self.thread)
        os.waitpid(self.thread, ALL_KINDS)
        return self

    def __exit__(self, *_):
        """One that was killed meanwhile is only waited for: its process cannot end before."""
        try:
            _ptrace(DETACH, self.thread)
        except ProcessLookupError:
            os.waitpid(self.thread, ALL_KINDS)
