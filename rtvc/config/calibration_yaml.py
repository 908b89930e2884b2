"""The file with the results of ``rtvc calibrate``, one entry per kind of voice."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from rtvc.calibration.conditions import Conditions
from rtvc.calibration.profiles import PROFILES, choose, kind_name
from rtvc.calibration.timing import Timing
from rtvc.config import settings_yaml
from rtvc.config.paths import config_folder, write_atomically
from rtvc.errors import RtvcError

_FORMAT = 1
_HEADER = """\
# Written by 'rtvc calibrate', and read by 'rtvc run': how long steps take on this machine.
# A step takes constant + per_block * block + per_context * context, all in ms; tail is its
# p99 over its p50, longest its maximum over its p50. processing is what parts of the chain
# add where they are on, in ms per ms of block. 'rtvc calibrate' measures again; you may
# delete this file.
"""
_NUMBERS = ("constant", "per_block", "per_context", "tail", "longest", "without_index")
_MAX_NUMBER = 1e6


def calibration_path() -> Path:
    """Return the path of the calibration file."""
    return config_folder() / "calibration.yaml"


def load_calibration() -> tuple[dict[str, Timing], str]:
    """Return the calibration by kind of voice, and a warning or ""."""
    path = calibration_path()
    if not settings_yaml.is_there(path):
        return {}, ""
    try:
        return parse(settings_yaml.read_text(path), str(path)), ""
    except settings_yaml.NewerFormatError as error:
        return {}, f"The calibration is ignored. {error} Update rtvc to use it."
    except RtvcError as error:
        return {}, f"The calibration is ignored. {error} Run 'rtvc calibrate' again."


def save_calibration(timings: Mapping[str, Timing]) -> None:
    """Write the calibration file.

    Raises
    ------
    RtvcError
        If the file cannot be written, or a newer version of rtvc has written the present one.
    """
    refuse_newer()
    write_atomically(calibration_path(), render(timings))


def refuse_newer() -> None:
    """Refuse to replace a calibration that only a newer version of rtvc can read.

    Raises
    ------
    RtvcError
        If it is one.
    """
    settings_yaml.refuse_newer_format(calibration_path(), _FORMAT)


@contextlib.contextmanager
def only_calibration() -> Iterator[None]:
    """Hold a lock while the block runs: two measurements at a time would measure each other.

    The lock is the system's, which ends with the process. Where the system has no locks, the
    block runs all the same.

    Raises
    ------
    RtvcError
        If another program holds the lock.
    """
    path = config_folder() / "running" / "calibrate"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RtvcError(
                "Another 'rtvc calibrate' is running, and two would measure each other. Wait until "
                "it has ended."
            ) from None
        except OSError:
            pass
        yield


def render(timings: Mapping[str, Timing]) -> str:
    """Return the contents of the file."""
    lines = [_HEADER.rstrip("\n"), yaml.safe_dump({"format": _FORMAT}).rstrip("\n"), "voices:"]
    for kind, timing in timings.items():
        entry: dict[str, Any] = {name: _rounded(getattr(timing, name)) for name in _NUMBERS}
        entry["methods"] = {name: _rounded(saved) for name, saved in timing.methods.items()}
        entry["processing"] = {name: _rounded(cost) for name, cost in timing.processing.items()}
        entry["conditions"] = asdict(timing.conditions)
        dumped = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True)
        lines += [f"  {kind}:", *(f"    # {line}" for line in describe_sizes(kind, timing))]
        lines += [f"    {line}" for line in dumped.splitlines()]
    return "\n".join(lines) + "\n"


def describe_sizes(kind: str, timing: Timing) -> list[str]:
    """Return a heading and one line per profile with the sizes for a measurement."""
    lines = []
    for profile in PROFILES.values():
        sizes = choose(timing, profile)
        text = (
            f"no block leaves the margin with a context of {profile.context:.0f} ms"
            if sizes is None
            else f"block {sizes.block:.0f} ms, headroom {sizes.headroom:.0f} ms, "
            f"context {sizes.context:.0f} ms; a step takes {sizes.p99:.1f} ms (p99)"
        )
        lines.append(f"{profile.name}: {text}")
    return [f"{kind_name(kind)}:", *lines]


def parse(text: str, source: str) -> dict[str, Timing]:
    """Parse the contents of a calibration file.

    Parameters
    ----------
    text
        Contents of the file.
    source
        Name of the file, for messages.

    Raises
    ------
    RtvcError
        If it is not what `render` writes.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise RtvcError(f"{where}: This is not valid YAML.") from None
    try:
        document = _mapping(document, "the file")
        if settings_yaml.is_newer_format(document, _FORMAT):
            raise settings_yaml.NewerFormatError(source)
        if document.get("format") != _FORMAT:
            raise ValueError(f"its format is {document.get('format')!r} instead of {_FORMAT}")
        voices = _mapping(document.get("voices"), "voices")
        return {kind: _timing(_mapping(voices[kind], kind), kind) for kind in map(str, voices)}
    except ValueError as clause:
        raise RtvcError(f"{source} cannot be used: {clause}.") from None


def _timing(entry: dict[str, Any], kind: str) -> Timing:
    numbers = {name: _number(entry, name, kind) for name in _NUMBERS}
    if numbers["tail"] < 1:
        raise ValueError(f"the tail of {kind} is below 1")
    if numbers["longest"] < numbers["tail"]:
        raise ValueError(f"the longest step of {kind} is shorter than its tail")
    methods = _mapping(entry.get("methods"), f"the methods of {kind}")
    # Older versions did not measure it.
    processing = _mapping(entry.get("processing", {}), f"the processing of {kind}")
    conditions = _mapping(entry.get("conditions"), f"the conditions of {kind}")
    kinds = {"str": str, "int": int, "bool": bool}
    wanted = {field.name: kinds[str(field.type)] for field in fields(Conditions)}
    conditions = {"low_power": False} | conditions  # older versions did not note it
    for name, type_ in wanted.items():
        if not isinstance(conditions.get(name), type_):
            raise ValueError(f"{name} of {kind} is missing or no {type_.__name__}")
    return Timing(
        **numbers,
        methods={str(name): _number(methods, name, kind) for name in methods},
        processing={str(name): _number(processing, name, kind) for name in processing},
        conditions=Conditions(**{name: conditions[name] for name in wanted}),
    )


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} should be a mapping")
    return value


def _number(entry: dict[str, Any], name: str, kind: str) -> float:
    value = entry.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name} of {kind} is missing or no number")
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{name} of {kind} is {value}, out of range")
    return float(value)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
