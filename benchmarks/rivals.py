"""Programs that side_by_side.py compares rtvc with, each in a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Rival:
    """Steps of another program, run by a worker of benchmarks/ in that program's environment.

    Parameters
    ----------
    name
        Name of the program, for messages.
    command
        Command of the worker.
    request
        The first request, see torch_worker.py.

    Attributes
    ----------
    facts
        What the worker says about the program, such as its version.
    """

    def __init__(self, name: str, command: list[str], request: dict[str, Any]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},  # transformers looks for nothing in the net
        )
        self.facts = self._ask(request)

    def whole(self) -> dict[str, float]:
        """Run one step; return its times in seconds."""
        answer = self._ask("step")
        return {name: seconds for name, seconds in answer.items() if name != "stages"}

    def by_stages(self) -> dict[str, float]:
        """Run one step; return the time of its stages in seconds."""
        stages: dict[str, float] = self._ask("step")["stages"]
        return stages

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        reply = ""
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        answer: dict[str, Any] = json.loads(reply or "{}")
        if not answer or "error" in answer:
            self.stop()
            reason = answer.get("error", "it ended early; its output above has the reason.")
            sys.exit(f"{self._name}: {reason}")
        return answer


def missing_import(python: str, module: str) -> str:
    """Return a sentence if a Python cannot find a module, or "". Imports nothing."""
    words = [python, "-c", f"import importlib.util as u; print(u.find_spec({module!r}) is None)"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.stdout.strip() not in ("True", "False"):
        return f"{python} is not a Python that can be run."
    missing = done.stdout.strip() == "True"
    return f"{python} has no {module}: give an environment with it." if missing else ""
