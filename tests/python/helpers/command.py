"""Run the command `isoxide` in a process of its own."""

import contextlib
import io
import subprocess
import sys

from isoxide._cli import main

NAMES = ("--entity", "actor", "--time", "day")


STEM = "2025-01-20-to-2025-02-28"


def isoxide(*arguments, **options):
    """Run the command in a process of its own, and return it."""
    command = [sys.executable, "-m", "isoxide", *map(str, arguments)]
    return subprocess.run(command, **{"capture_output": True, "text": True, "check": False, "timeout": 120, **options})


class Done:
    """Result of a command that ran in this process, which is faster than a process of its own."""

    def __init__(self, *arguments):
        # Like sys.stdout of a process, the streams are text over bytes.
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.returncode = main([str(argument) for argument in arguments])
        for stream in (out, err):
            stream.flush()
        self.stdout, self.stderr = out.buffer.getvalue().decode(), err.buffer.getvalue().decode()

    def ok(self):
        assert (self.returncode, self.stderr) == (0, "")
        return self.stdout

    def failed(self, message, code=1):
        assert (self.returncode, self.stdout) == (code, ""), self.stderr
        assert self.stderr.startswith("isoxide")
        assert self.stderr.count("\n") == 1
        assert message in self.stderr
        return True


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
