"""Renders the input of a flight recorder's folder again, with the same or other settings."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.engine.chain import Chain
from rtvc.engine.chain_state import write_state
from rtvc.engine.voice import Voice
from rtvc.errors import RtvcError, UsageError
from rtvc.library.preset_morph import resolve_morph
from rtvc.live.flight_folder import COLUMNS, DELIVERED, FORMAT, REPLAY_FILE
from rtvc.live.flight_state import unpack_state
from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings

_DAMAGED = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError),
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
)
"""What NumPy, `zipfile` and reading the values raise for a damaged file."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The content of ``replay.npz``.

    Attributes
    ----------
    input
        (samples,) float32.
    input_start, start
        Position since the start of the run of the first sample of the input, and of the first
        one to render.
    calls
        (calls, columns) int64, the blocks in order of time; see `flight_folder.COLUMNS`.
    settings, chains
        Settings by number, and the settings that each chain was built for.
    states
        Chain, number of blocks that it had processed, and its state then.
    learned
        The same, with the part of the state that it then had from another chain.
    rtvc
        The version of rtvc that saved it.
    """

    input: Float32
    input_start: int
    start: int
    calls: np.ndarray[Any, np.dtype[np.int64]]
    settings: list[Settings]
    chains: dict[int, Settings]
    states: list[tuple[int, int, dict[str, Any]]]
    learned: list[tuple[int, int, dict[str, Any]]]
    rtvc: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A rendered folder.

    Attributes
    ----------
    output
        (samples,) float32, as long as ``input.flac`` and aligned with it; the voice's delay is
        not compensated.
    rendered, identical
        Blocks that were rendered, and those whose output is that of the run, bit for bit.
    unknown
        Blocks that cannot be rendered as in the run, since what came before was not saved.
    changed
        Blocks of the run that were dropped, or queued joined, shortened or after concealment.
    approximate
        Whether the run suppressed noise, whose state is not saved.
    """

    output: Float32
    rendered: int = 0
    identical: int = 0
    unknown: int = 0
    changed: int = 0
    approximate: bool = False


def load(folder: Path) -> Saved:
    """Return what a folder of the flight recorder contains.

    Raises
    ------
    UsageError
        If it is none.
    RtvcError
        If it cannot be read, is damaged, or from a newer version.
    """
    path = folder / REPLAY_FILE
    if not path.is_file():
        if not folder.exists():
            raise UsageError(f"There is no folder {str(folder)!r}.")
        raise UsageError(
            f"There is no {REPLAY_FILE} in {str(folder)!r}. Give a folder that the flight recorder "
            "saved."
        )
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays["facts"].tobytes())
        if facts["format"] > FORMAT:
            raise RtvcError(f"{path} is from rtvc {facts['versions']['rtvc']}; use that version.")
        return Saved(
            input=np.asarray(arrays["input"], np.float32).reshape(-1),
            input_start=int(facts["input_start"]),
            start=int(facts["start"]),
            calls=np.asarray(arrays["calls"], np.int64).reshape(-1, len(COLUMNS)),
            settings=[Settings().replace(**one) for one in facts["settings"]],
            chains={int(k): Settings().replace(**one) for k, one in facts["chains"].items()},
            states=_states(facts["states"], arrays),
            learned=_states(facts.get("learned", []), arrays),
            rtvc=str(facts["versions"]["rtvc"]),
        )
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.strerror:
            raise RtvcError(f"{path} cannot be read: {error.strerror}.") from None
        raise RtvcError(f"{path} is damaged. Save another one.") from None


def _states(
    kept: list[dict[str, Any]], arrays: dict[str, np.ndarray[Any, Any]]
) -> list[tuple[int, int, dict[str, Any]]]:
    return [(one["chain"], one["calls"], unpack_state(one["state"], arrays)) for one in kept]


def replay(
    saved: Saved, find_voice: Callable[[str], Voice], changes: dict[str, Value] | None = None
) -> Replay:
    """Render the input again. Uses MLX in the calling thread.

    Parameters
    ----------
    saved
        What was saved.
    find_voice
        Returns the voice of a name.
    changes
        Settings that differ from those of the run, for its whole length. If one of them
        needs another chain (the voice or a size), the run's own blocks are not used.

    Raises
    ------
    RtvcError
        If a voice cannot be loaded, or the folder has no block that can be rendered.
    """
    changes = changes or {}
    if any(SETTINGS[name].shape for name in changes):
        return _again(saved, find_voice, changes)
    return _as_it_ran(saved, find_voice, changes)


def _as_it_ran(
    saved: Saved, find_voice: Callable[[str], Voice], changes: dict[str, Value]
) -> Replay:
    output = np.zeros(saved.input.size, np.float32)
    end = rendered = identical = unknown = 0
    changed = 0
    chains: dict[int, Chain | None] = {}
    states = {(chain, calls): state for chain, calls, state in saved.states}
    learned = {(chain, calls): state for chain, calls, state in saved.learned}
    last_calls = {row["chain"]: row["block"] for row in _rows(saved)}
    for row in _rows(saved):
        number, index, at = row["chain"], row["block"], row["position"] - saved.input_start
        live = row["output_crc"] >= 0
        delivered = DELIVERED[row["delivered"]]
        known = 0 <= at <= saved.input.size - row["size"] and row["position"] >= 0
        chain = chains.get(number)
        if index == 0 or (number, index) in states:
            chain = _chain(find_voice, saved.chains[number])
            if (number, index) in states:
                write_state(chain, states[number, index])
            chains[number] = chain
        if chain is not None and (number, index) in learned:
            write_state(chain, learned[number, index])
        if chain is None or not known:
            chains[number] = None
            unknown += live
            continue
        block = saved.input[at : at + row["size"]]
        settings = saved.settings[row["settings"]].replace(**changes)
        if not live:
            chain.skip(block, settings)
        else:
            audio = chain.step(block, settings).output
            rendered += 1
            identical += zlib.crc32(audio.tobytes()) == row["output_crc"]
            if at >= end:
                changed += delivered != "whole" or row["concealed_before"] > 0
                output[at : at + audio.size] = audio
                end = at + audio.size
        if index == last_calls[number]:
            chains[number] = None  # releases its memory
    if not rendered:
        raise RtvcError("No block of this folder can be rendered again.")
    output = output[saved.start - saved.input_start :]
    approximate = any(settings.noise != "off" for settings in saved.chains.values())
    return Replay(output, rendered, identical, unknown, changed, approximate)


def _again(saved: Saved, find_voice: Callable[[str], Voice], changes: dict[str, Value]) -> Replay:
    starts = np.array([row["position"] - saved.input_start for row in _rows(saved)] or [0])
    numbers = [row["settings"] for row in _rows(saved)] or [0]

    def settings_at(sample: int) -> Settings:
        return saved.settings[numbers[int(np.argmin(np.abs(starts - sample)))]].replace(**changes)

    first = settings_at(0)
    built_for = saved.chains[min(saved.chains)].replace(**changes) if saved.chains else first
    chain = _chain(find_voice, built_for)
    shape = {name: getattr(built_for, name) for name, one in SETTINGS.items() if one.shape}
    first_sample = saved.start - saved.input_start
    blocks = (saved.input.size - first_sample) // chain.block
    output = np.zeros(saved.input.size - first_sample, np.float32)
    for at in range(0, blocks * chain.block, chain.block):
        begin = first_sample + at
        block = saved.input[begin : begin + chain.block]
        settings = settings_at(begin).replace(**shape)
        output[at : at + chain.block] = chain.step(block, settings).output
    return Replay(output, rendered=blocks)


def _chain(find_voice: Callable[[str], Voice], settings: Settings) -> Chain:
    settings = resolve_morph(settings)
    return Chain(find_voice(settings.voice_to_load), settings)


def _rows(saved: Saved) -> Iterator[dict[str, int]]:
    for values in saved.calls.tolist():
        yield dict(zip(COLUMNS, values, strict=True))
