"""The process of the fork server: `python -m lineal.cli.fork_server ADDRESS [MODULE ...]` (`step/forkserver.py`)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lineal.cli.main import run_command
from lineal.step.forkserver import serve


def main() -> None:
    """Serves at the address given as the first argument, with the modules that follow."""
    serve(sys.argv[1], sys.argv[2:], run_command)
    shutil.rmtree(Path(sys.argv[1]).parent, ignore_errors=True)


if __name__ == "__main__":
    main()
