"""The file with the device to compute on, and the results of self-tests."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from rtvc.config.paths import config_folder, one_writer, write_atomically
from rtvc.errors import RtvcError

DEVICES = ("auto", "gpu", "cpu")
_MAX_VERDICTS = 20
_MAX_BYTES = 1 << 20


def compute_path() -> Path:
    """Return the path of the file."""
    return config_folder() / "compute.json"


def load_device() -> str:
    """Return the device that you chose: ``"gpu"``, ``"cpu"``, or "" for MLX's own choice."""
    device = _read().get("device")
    return device if device in ("gpu", "cpu") else ""


def save_device(device: str) -> None:
    """Keep one of `DEVICES` for later runs.

    Raises
    ------
    RtvcError
        If the file cannot be written.
    """
    with one_writer(config_folder()):
        if device != (load_device() or "auto"):
            _write(_read() | {"device": device})


class VerdictFile:
    """Results of self-tests by key; see `rtvc.engine.selftest.ladder.Store`."""

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the verdict for a key, None if there is none."""
        found = _verdicts().get(key)
        return found if isinstance(found, dict) else None

    def save(self, key: str, verdict: dict[str, Any]) -> None:
        """Keep the verdict for a key. A file that cannot be written only costs the next test."""
        with contextlib.suppress(RtvcError), one_writer(config_folder()):
            others = {known: value for known, value in _verdicts().items() if known != key}
            kept = [*others.items(), (key, verdict)][-_MAX_VERDICTS:]
            _write(_read() | {"self-tests": dict(kept)})


def _verdicts() -> dict[str, Any]:
    found = _read().get("self-tests")
    return found if isinstance(found, dict) else {}


def _read() -> dict[str, Any]:
    """Return the content; a damaged file counts as empty, since all of it can be made again."""
    path = compute_path()
    try:
        if not path.is_file():  # to open a pipe would wait
            return {}
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= _MAX_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(content: dict[str, Any]) -> None:
    write_atomically(compute_path(), json.dumps(content, indent=1) + "\n")
