"""Run the command `isoxide`, in this process or in a new one."""

import contextlib
import io
import subprocess
import sys

from isoxide._cli import main

#: Options that name the columns of `ueba_tables.actor_days`.
NAMES = ("--entity", "actor", "--time", "day")
#: Days of that table, which are part of the names of the result files.
STEM = "2025-01-20-to-2025-02-28"


def isoxide(*arguments, **options):
    """Run the command in a new process, and return the completed process."""
    command = [sys.executable, "-m", "isoxide", *map(str, arguments)]
    return subprocess.run(command, **{"capture_output": True, "text": True, "check": False, "timeout": 120, **options})


class Done:
    """Result of a command that ran in this process, which is faster than a new one."""

    def __init__(self, *arguments):
        # The streams are text over bytes, like sys.stdout, because the command writes to both layers.
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.returncode = main([str(argument) for argument in arguments])
        for stream in (out, err):
            stream.flush()
        self.stdout, self.stderr = out.buffer.getvalue().decode(), err.buffer.getvalue().decode()

    def ok(self):
        """Assert that the command succeeded without a note, and return its output."""
        assert (self.returncode, self.stderr) == (0, "")
        return self.stdout

    def failed(self, message, code=1):
        """Assert that the command failed with one line on stderr that contains `message`."""
        assert (self.returncode, self.stdout) == (code, ""), self.stderr
        assert self.stderr.startswith("isoxide")
        assert self.stderr.count("\n") == 1
        assert message in self.stderr
        return True


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
