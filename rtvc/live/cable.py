"""A virtual cable on PulseAudio or PipeWire: made, used and removed.

The cable is a null sink. rtvc plays into it, and a call records its monitor. While rtvc plays
into it, the monitor is the system's default microphone, so that a program without a choice, or
one whose microphone disappears, does not record the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rtvc.config.paths import config_folder, write_atomically
from rtvc.errors import RtvcError
from rtvc.system.processes import is_running

SINK = "rtvc_cable"
MICROPHONE = f"{SINK}.monitor"
"""Name of the source that a call records."""
_LIMIT_S = 2.0
_HOW = (
    "In your call, choose 'Monitor of rtvc_cable' as the microphone, then start rtvc with "
    "'rtvc --cable'."
)


@dataclass(frozen=True, slots=True)
class _Made:
    """What rtvc has changed in the sound server, kept in a file until it is undone.

    Attributes
    ----------
    module
        Number of the module that is the cable, -1 if rtvc has not made one.
    source
        The default microphone before the cable, "" if it has not been changed.
    process
        The process that has changed it.
    """

    module: int = -1
    source: str = ""
    process: int = 0


def is_available() -> bool:
    """Return whether this system has a sound server that can make a cable."""
    return sys.platform.startswith("linux") and shutil.which("pactl") is not None


def exists() -> bool:
    """Return whether there is a cable, made by rtvc or not."""
    return any(line.split("\t")[1:2] == [SINK] for line in _pactl("list", "short", "sinks"))


def make() -> str:
    """Make the cable unless there is one, and return a message.

    Raises
    ------
    RtvcError
        If the sound server does not answer or refuses.
    """
    repair()
    if exists():
        return f"The cable {SINK!r} is there. {_HOW}"
    number = _pactl(
        "load-module",
        "module-null-sink",
        f"sink_name={SINK}",
        f"sink_properties=device.description={SINK}",
    )
    made = replace(_load(), module=int(number[0]))
    _save(made)
    if made.source:  # the cable of a run had vanished
        _pactl("set-default-source", MICROPHONE)
    return f"Made the cable {SINK!r}. {_HOW} 'rtvc cable --remove' removes it."


def remove() -> str:
    """Undo what rtvc has changed in the sound server, also in an earlier run.

    Raises
    ------
    RtvcError
        If the sound server does not answer, or another rtvc is using the cable.
    """
    made = _load()
    if made.source and _runs(made.process):
        raise RtvcError(f"rtvc (process {made.process}) uses the cable. End it first.")
    repair()
    # After a restart of the server another module may have the number.
    mine = f"{made.module}\tmodule-null-sink\t"
    modules = _pactl("list", "short", "modules")
    if not any(line.startswith(mine) and f"sink_name={SINK}" in line for line in modules):
        _save(_Made())
        return "There is no cable that rtvc has made."
    _pactl("unload-module", str(made.module))
    _save(_Made())
    return f"Removed the cable {SINK!r}."


def is_left_behind() -> bool:
    """Return whether a run that was killed has left the cable as the default microphone."""
    made = _load()
    return bool(made.source) and not _runs(made.process)


def repair() -> bool:
    """Restore the default microphone after a run that was killed; return whether it was needed."""
    if not is_left_behind():
        return False
    _restore(_load())
    return True


@contextmanager
def in_use() -> Iterator[None]:
    """Let streams that are opened in the block play into the cable, which is made if needed.

    The cable's monitor is the default microphone meanwhile. rtvc itself records the one that was
    the default before.

    Raises
    ------
    RtvcError
        If the sound server does not answer or refuses.
    """
    microphone = _left_microphone()
    if not microphone:
        make()
        if (made := _load()).source:
            raise RtvcError(f"rtvc (process {made.process}) uses the cable. End it first.")
        microphone = _default_source()
    made = _Made(_load().module)
    before = {name: os.environ.get(name) for name in ("PULSE_SINK", "PULSE_SOURCE")}
    os.environ["PULSE_SINK"] = SINK
    if microphone != MICROPHONE:
        os.environ.setdefault("PULSE_SOURCE", microphone)
        # Written first: a run that is killed must be undone by the next one.
        made = _Made(made.module, microphone, os.getpid())
        _save(made)
        _pactl("set-default-source", MICROPHONE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if made.source:
            with suppress(RtvcError):  # the next run, or `remove`, tries again
                _restore(made)


def _left_microphone() -> str:
    """Return the default microphone before a run that was killed, if this run can follow it.

    The cable is the default microphone then, and stays so: if the real one were it in between, as
    while a run that has crashed starts again, a call that follows the default would record it.
    """
    if not (is_left_behind() and exists() and _default_source() == MICROPHONE):
        return ""
    source = _load().source
    return source if _is_source(source) else ""


def _restore(made: _Made) -> None:
    """Make the earlier microphone the default again, unless the user has chosen another since."""
    if (_default_source() == MICROPHONE or not exists()) and _is_source(made.source):
        _pactl("set-default-source", made.source)
    _save(_Made(module=made.module))


def _is_source(name: str) -> bool:
    return any(line.split("\t")[1:2] == [name] for line in _pactl("list", "short", "sources"))


def _default_source() -> str:
    prefix = "Default Source: "
    lines = _pactl("info")
    return next((line.removeprefix(prefix) for line in lines if line.startswith(prefix)), "")


def _pactl(*words: str) -> list[str]:
    """Run pactl, and return the lines of its output."""
    try:
        done = subprocess.run(
            ["pactl", *words],
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT_S,
            check=True,
        )
    except FileNotFoundError:
        raise RtvcError("'pactl' is missing. Install the package pulseaudio-utils.") from None
    except subprocess.TimeoutExpired:
        raise RtvcError("The sound server does not answer. Start it again.") from None
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip().splitlines()[-1:] or ["unknown error"]
        if "onnection refused" in why[0]:
            raise RtvcError(
                "No sound server runs. Start PulseAudio or PipeWire, then run rtvc again."
            ) from None
        raise RtvcError(f"The sound server refuses 'pactl {words[0]}': {why[0]}.") from None
    return done.stdout.splitlines()


def _runs(process: int) -> bool:
    """Return whether another rtvc runs in a process; 0 is none."""
    if process <= 0 or process == os.getpid() or not is_running(process):
        return False
    with suppress(OSError):
        return b"rtvc" in Path(f"/proc/{process}/cmdline").read_bytes()
    return True


def _path() -> Path:
    return config_folder() / "cable.json"


def _load() -> _Made:
    """Return what the file says, as far as this version knows it."""
    try:
        found = json.loads(_path().read_text())
    except (OSError, ValueError, RecursionError):
        return _Made()
    if not isinstance(found, dict):
        return _Made()
    known = {name: usual for name, usual in asdict(_Made()).items() if name in found}
    return _Made(**{name: found[name] for name in known if type(found[name]) is type(known[name])})


def _save(made: _Made) -> None:
    if made == _Made():
        _path().unlink(missing_ok=True)
    else:
        write_atomically(_path(), json.dumps(asdict(made)) + "\n")
