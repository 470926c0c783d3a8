"""A terminal for the binary to write to."""
import os
import pty
import select
import subprocess

from common import environment


def run_in_terminal(command, env, timeout=120):
    """Exit code and everything written to standard error, which is a terminal."""
    mine, theirs = pty.openpty()
    plain = {name: value for name, value in environment().items()
             if name not in ("KITTY_WINDOW_ID", "COLORTERM", "TERM_PROGRAM", "WEZTERM_PANE")}
    process = subprocess.Popen([str(word) for word in command], stderr=theirs, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                               env={**plain, **env})
    os.close(theirs)
    text = b""
    while select.select([mine], [], [], timeout)[0]:
        try:
            piece = os.read(mine, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(mine)
    return process.wait(timeout), text
