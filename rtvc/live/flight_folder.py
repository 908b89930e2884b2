"""The folder of a flight recorder: for ears, for people, and for `rtvc replay`."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.config import settings_yaml
from rtvc.config.paths import unused_path
from rtvc.config.preset_manager import describe_changes
from rtvc.errors import RtvcError
from rtvc.live.flight_log import Call, ChainLog, FlightLog
from rtvc.live.flight_state import pack_state
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions

REPLAY_FILE = "replay.npz"
FORMAT = 1

COLUMNS = (
    "chain", "block", "position", "size", "settings", "input_crc", "output_crc",
    "delivered", "output_position", "concealed_before",
)  # fmt: skip
"""Columns of the table of calls; see `Row`."""


class Row(NamedTuple):
    """A block, with what became of its output.

    Attributes
    ----------
    call
        The block.
    position
        First sample in the input, -1 if it is not known.
    delivered
        "" (rendered for nobody), "whole" or "changed": joined, shortened or replaced.
    output_position
        First sample of the output that was queued for it, -1 if none was.
    concealed_before
        Samples that others queued since the previous block: concealment.
    """

    call: Call
    position: int
    delivered: str
    output_position: int
    concealed_before: int


DELIVERED = ("", "whole", "changed")


def write_folder(log: FlightLog, parent: Path, devices: dict[str, str]) -> Path:
    """Write a new folder, and return its path; an existing one is never changed.

    Raises
    ------
    RtvcError
        If it cannot be written.
    """
    name = time.strftime("rtvc-minute-%Y-%m-%d-%H%M%S", time.localtime(log.clock))
    partial = parent / f"{name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        try:
            _write(log, partial, devices)
            return partial.rename(unused_path(parent / name))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise RtvcError(f"{parent / name} cannot be written: {error.strerror}.") from None


def _write(log: FlightLog, folder: Path, devices: dict[str, str]) -> None:
    rows = _renderable(delivered_rows(log), log)
    start = rows[0].position if rows else log.input_start
    _write_sounds(log, rows, start, folder)
    settings = _distinct(call.settings for call in log.calls)
    (folder / "settings.yaml").write_text(_settings_text(log), "utf-8")
    (folder / "trace.json").write_text(_listed(_trace(log, rows)), "utf-8")
    (folder / "events.json").write_text(_listed(_events(log, rows)), "utf-8")
    facts = {"versions": versions(), "hardware": hardware(), "devices": devices}
    (folder / "versions.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    _write_replay(log, rows, settings, start, folder / REPLAY_FILE)


def _renderable(rows: list[Row], log: FlightLog) -> list[Row]:
    """Return the blocks from the first one before which the state of its chain is known."""
    known = {(chain, calls) for chain, calls, _ in log.states}
    earliest = log.input_start + log.history if log.input_start else 0
    for number, row in enumerate(rows):
        call = row.call
        if row.position >= earliest and (call.block == 0 or (call.chain, call.block) in known):
            return rows[number:]
    return [row for row in rows if row.position >= 0]


def _write_sounds(log: FlightLog, rows: list[Row], start: int, folder: Path) -> None:
    """Write input and output for ears, both from the time of the first block on."""
    import soundfile

    from rtvc.audio.decoder import reason_of

    begun = rows[0].call.ended if rows else 0.0
    played = next((write.position for write in log.writes if write.at >= begun), 0)
    sounds = {
        "input": log.input[start - log.input_start :],
        "output": log.output[max(0, played - log.output_start) :],
    }
    for name, samples in sounds.items():
        # As bytes: soundfile cannot encode names that are not UTF-8.
        path = os.fsencode(folder / f"{name}.flac")
        try:
            soundfile.write(path, samples, ENGINE_RATE, subtype="PCM_24")
        except soundfile.LibsndfileError as error:
            reason = reason_of(error)
            full = reason == "System error"  # what libsndfile says of a full disk
            raise OSError(0, "the disk may be full" if full else reason) from None


def delivered_rows(log: FlightLog) -> list[Row]:
    """Return all blocks with their positions, and with what became of their output."""
    positions = _positions(log)
    crcs = {call.output_crc for call in log.calls}
    # The chains have threads of their own; one other thread delivers what they have rendered.
    delivering = {write.thread for write in log.writes if write.crc in crcs}
    rendered = [number for number, call in enumerate(log.calls) if call.output_crc >= 0]
    ends = [log.calls[number].ended for number in rendered[1:]] + [log.now]
    rows = [Row(call, at, "", -1, 0) for call, at in zip(log.calls, positions, strict=True)]
    at, concealed = 0, 0
    for number, end in zip(rendered, ends, strict=False):
        call, first = log.calls[number], at
        while at < len(log.writes) and log.writes[at].at < end:
            at += 1
        near = [write for write in log.writes[first:at] if write.at >= call.ended]
        own = next((write for write in near if write.crc == call.output_crc), None)
        own = own or next((write for write in near if write.thread in delivering), None)
        for write in log.writes[first:at]:
            if write is own:
                word = DELIVERED[1 if own.crc == call.output_crc else 2]
                rows[number] = Row(call, positions[number], word, own.position, concealed)
                concealed = 0
            else:
                concealed += write.size
    return rows


def _positions(log: FlightLog) -> list[int]:
    """Return where each block lies in the input, -1 where that is not known."""
    import zlib

    positions = [call.position for call in log.calls]
    following: dict[ChainLog, int] = {}
    for number in range(len(positions) - 1, -1, -1):
        call = log.calls[number]
        if positions[number] < 0 and call.chain in following:
            # Blocks that fill the context of a new chain lie directly before its first own one.
            positions[number] = following[call.chain] - call.size
        at = positions[number] - log.input_start
        block = log.input[max(at, 0) : at + call.size]
        if at < 0 or zlib.crc32(block.tobytes()) != call.input_crc:
            positions[number] = -1
            following.pop(call.chain, None)
        else:
            following[call.chain] = positions[number]
    return positions


def _distinct(settings: Iterable[Settings]) -> dict[Settings, int]:
    found: dict[Settings, int] = {}
    for one in settings:
        found.setdefault(one, len(found))
    return found


def _changes(log: FlightLog) -> Iterator[tuple[float, list[str]]]:
    """Yield time and description of each change of the settings."""
    last: Settings | None = None
    for call in log.calls:
        if last is not None and call.settings is not last and call.settings != last:
            yield call.ended, describe_changes(last, call.settings)
        last = call.settings


def _settings_text(log: FlightLog) -> str:
    final = log.calls[-1].settings if log.calls else Settings()
    values = final.changed()
    mode = values.pop("mode", "converted")
    text = settings_yaml.render({"description": "The settings at the end."}, values)
    lines = [f"# The mode at the end: {mode}.", "# Changes, in seconds before the end:"]
    lines += [f"#   {at - log.now:8.3f}  {', '.join(changes)}" for at, changes in _changes(log)]
    return text + "\n" + "\n".join(lines) + "\n"


def _events(log: FlightLog, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Yield what happened, in order; "at" is in seconds before the end."""
    found = [(e.at, {"kind": e.kind, "text": e.text}) for e in log.events]
    found += [(at, {"kind": "settings", "text": ", ".join(c)}) for at, c in _changes(log)]
    for row in rows:
        if row.delivered == "changed" or row.concealed_before:
            text = (
                f"The block at input sample {row.position} was queued "
                f"{'whole' if row.delivered == 'whole' else 'changed (joined or shortened)'}, "
                f"after {1000 * row.concealed_before / ENGINE_RATE:.0f} ms of other output."
            )
            found.append((row.call.ended, {"kind": "late", "text": text}))
    for at, event in sorted(found, key=lambda pair: pair[0]):
        moment = time.strftime("%H:%M:%S", time.localtime(log.clock + at - log.now))
        yield {"at": round(at - log.now, 4), "time": moment, **event}


def _trace(log: FlightLog, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Yield the events of a Chrome trace, with times in microseconds."""
    begin = min([log.now, *(call.ended - sum(call.stages) for call in log.calls[:1])])

    def at(moment: float) -> float:
        return round(1e6 * (moment - begin), 1)

    for row in rows:
        call = row.call
        start = call.ended - sum(call.stages)
        facts = {"position": row.position, "delivered": row.delivered, "chain": call.chain.number}
        common = {"ph": "X", "pid": 1, "tid": 1}
        name = "step" if call.stages else "skip"
        yield {**common, "name": name, "ts": at(start), "dur": round(1e6 * sum(call.stages), 1),
               "args": facts}  # fmt: skip
        for part, seconds in zip(("condition", "voice", "output"), call.stages, strict=False):
            yield {**common, "name": part, "ts": at(start), "dur": round(1e6 * seconds, 1)}
            start += seconds
    delivered = {row.output_position for row in rows}
    for write in log.writes:
        if write.position not in delivered:
            yield {"ph": "X", "pid": 1, "tid": 2, "name": "concealment", "ts": at(write.at),
                   "dur": round(1e6 * write.size / ENGINE_RATE, 1)}  # fmt: skip
    for event in log.events:
        # The events of a long run would make the trace as long as the run.
        if event.at >= begin or not log.input_start:
            yield {"ph": "i", "s": "g", "pid": 1, "tid": 1, "ts": at(event.at), "name": event.kind,
                   "args": {"text": event.text}}  # fmt: skip
    for fill in log.fills:
        yield {"ph": "C", "pid": 1, "ts": at(fill.at), "name": "queued",
               "args": {"input ms": round(1000 * fill.input_s, 2),
                        "output ms": round(1000 * fill.output_s, 2)}}  # fmt: skip


def _listed(entries: Iterable[dict[str, Any]]) -> str:
    # One at a time: encoding a long list at once would keep the interpreter from the engine.
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"


def _write_replay(
    log: FlightLog, rows: list[Row], settings: dict[Settings, int], start: int, path: Path
) -> None:
    """Write what a replay needs: the exact input, the blocks, and the states of the chains."""
    chains = {call.chain.number: call.chain for call in log.calls}
    arrays: dict[str, np.ndarray[Any, Any]] = {"input": log.input}
    states, learned = (
        [
            {"chain": chain.number, "calls": calls, "state": pack_state(state, arrays)}
            for chain, calls, state in kept
        ]
        for kept in (log.states, log.learned)
    )
    table = np.array(
        [
            (
                row.call.chain.number, row.call.block, row.position, row.call.size,
                settings[row.call.settings], row.call.input_crc, row.call.output_crc,
                DELIVERED.index(row.delivered), row.output_position, row.concealed_before,
            )
            for row in rows
        ],
        np.int64,
    ).reshape(-1, len(COLUMNS))  # fmt: skip
    facts = {
        "format": FORMAT,
        "versions": versions(),
        "input_start": log.input_start,
        "start": start,
        "output_start": log.output_start,
        "settings": [_as_dict(one) for one in settings],
        "chains": {number: _as_dict(chain.built_for) for number, chain in chains.items()},
        "states": states,
        "learned": learned,
    }
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez_compressed(path, facts=text, calls=table, **arrays)  # type: ignore[arg-type]


def _as_dict(settings: Settings) -> dict[str, Any]:
    return dict(settings.changed())
