"""The conversion of one file by ``rtvc convert``, and its outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rtvc.cli.convert_jobs import Job
from rtvc.errors import RtvcError
from rtvc.settings import Settings

if TYPE_CHECKING:
    from rtvc.audio.sound_input import SoundInput
    from rtvc.device_choice import ChannelChoice
    from rtvc.engine.voice import Voice

_LARGEST_LOSS = 0.5
"""Share of the sound that may be gone in the result before it is reported."""
_RAW_RATE = 48_000
Status = Literal["converted", "incomplete", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Options:
    """What applies to all files of a command.

    Attributes
    ----------
    settings
        Settings of the voice.
    own_gate
        Whether a flag or the preset sets the gate; else it follows the recording's level.
    rate
        Sample rate of the output in Hz, None for that of the input.
    force
        Whether to overwrite files, and to keep incomplete results under their names.
    offline
        Whether to convert offline.
    channel
        Channel of the input, from 1, or ``"mix"`` or ``"loudest"``.
    raw
        Whether standard input and output are raw float32 samples.
    """

    settings: Settings
    own_gate: bool
    rate: int | None
    force: bool
    offline: bool
    channel: ChannelChoice
    raw: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file.

    Attributes
    ----------
    source
        The input.
    target
        The file that was written, "" if none was.
    status
        ``converted``; ``incomplete`` if the input could not be read whole or the result lacks
        most of its sound; ``failed``; ``skipped``.
    reason
        A sentence about a status other than ``converted``, else "".
    notes
        Sentences about what was done differently from what one expects.
    seconds, speed
        Length of the input, and how many times faster than real time it was converted.
    """

    source: str
    target: str
    status: Status
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    speed: float = 0.0


def convert_file(
    job: Job, options: Options, voice: Voice, show: Callable[[float, float, str], None]
) -> Outcome:
    """Convert one file.

    Parameters
    ----------
    job
        The files.
    options
        The options of the command.
    voice
        The voice to convert to.
    show
        Called with the share that is done, 0 to 1, the seconds since the start, and "reading"
        for the first pass, which finds the length and the levels, or the speed as a multiple of
        real time.

    Raises
    ------
    RtvcError
        If it cannot be read, converted or written.
    """
    from rtvc.audio.local_file import STANDARD_STREAM, local_file, scratch_folder
    from rtvc.audio.sound_file import require_new
    from rtvc.audio.sound_input import inspect

    standard = job.target == STANDARD_STREAM
    if not standard:
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RtvcError(
                f"Cannot make the folder {job.target.parent}: {error.strerror}."
            ) from None
        require_new(job.target, overwrite=options.force)
    raw_rate = (options.rate or _RAW_RATE) if options.raw else 0
    if raw_rate and standard:  # raw samples do not state the rate of the input
        options = dataclasses.replace(options, rate=raw_rate)
    with local_file(job.source, raw_rate) as file, contextlib.ExitStack() as stack:
        began = time.monotonic()
        sound = inspect(
            file.path,
            name=file.name,
            channel=options.channel,
            stated_s=file.stated_s,
            damage=file.damage,
            notes=file.notes,
            report_progress=lambda share: show(share, time.monotonic() - began, "reading"),
        )
        target = (
            stack.enter_context(scratch_folder()) / "result.wav"
            if standard
            else _target(job.target, sound, options)
        )
        converting = time.monotonic()

        def report(share: float) -> None:
            elapsed = max(time.monotonic() - converting, 1e-6)
            speed = share * sound.frames / sound.rate / elapsed
            show(share, elapsed, f"{speed:.1f}x" if speed else "")

        warning, repaired = _convert(sound, target, options, voice, report)
        speed = sound.frames / sound.rate / max(time.monotonic() - converting, 1e-6)
        if standard:
            _send(target, raw=options.raw)
    name = "standard output" if standard else str(target)
    reason = " ".join(filter(None, (_kept(sound, target, job.target, standard), warning)))
    notes = sound.notes + _rate_note(sound, job.target, options)
    if repaired:
        notes += (f"{file.name}: {repaired} blocks were repaired, in which values overflowed.",)
    return Outcome(
        file.name,
        name,
        "incomplete" if reason else "converted",
        reason,
        notes,
        sound.frames / sound.rate,
        speed,
    )


def _rate_note(sound: SoundInput, target: Path, options: Options) -> tuple[str, ...]:
    """Return a note if the format of the result does not support the rate of the input."""
    from rtvc.audio.sound_file import format_name, supports_rate, usual_rate

    if options.rate is not None or not target.suffix:
        return ()
    if supports_rate(target, sound.rate):
        return ()
    return (
        f"{sound.name}: {format_name(target)} files do not support its {sound.rate} Hz, so the "
        f"result has {usual_rate(target)} Hz.",
    )


def _target(target: Path, sound: SoundInput, options: Options) -> Path:
    """Return the file to write: one next to `target` for a part of the input without --force."""
    from rtvc.config.paths import unused_path

    if not sound.shortfall or options.force:
        return target
    return unused_path(target.with_stem(f"{target.stem}.incomplete"))


def _kept(sound: SoundInput, target: Path, wanted: Path, standard: bool) -> str:
    if not sound.shortfall or standard:
        return sound.shortfall
    hint = "" if target == wanted else f" --force writes it to {wanted}."
    return f"{sound.shortfall} That part is in {target}.{hint}"


def _convert(
    sound: SoundInput,
    target: Path,
    options: Options,
    voice: Voice,
    report: Callable[[float], None],
) -> tuple[str, int]:
    """Convert a file; return a warning about the result, or "", and the blocks repaired."""
    from rtvc.audio.file_endpoint import FileEndpoint
    from rtvc.audio.sound_source import read_whole
    from rtvc.conversion import offline_voice
    from rtvc.session import Session

    settings = options.settings
    if not options.own_gate:
        settings = settings.replace(gate=sound.gate_db)
    used = voice
    if options.offline:
        used = offline_voice(voice, lambda rate: read_whole(sound, rate), settings, report)
    endpoint = FileEndpoint(
        sound,
        target,
        rate=options.rate,
        overwrite=options.force,
        subtype="FLOAT" if options.raw and target.suffix == ".wav" else "",
        ceiling_db=settings.ceiling,
    )
    session = Session(endpoint, settings, lambda name: used)
    try:
        session.start()
        while not session.wait(0.1):
            if used is voice:
                report(endpoint.progress)
        stats = session.stats()
    finally:
        session.stop()
        # After an interrupt during start() the files are open but the session is not started.
        endpoint.stop()
    if not endpoint.complete:
        reason = stats.reason or (
            f"{stats.failed_steps} of {stats.blocks + stats.failed_steps} blocks failed; "
            "please report this with the file."
        )
        raise RtvcError(f"{sound.name} was not converted. {reason}")
    lost = endpoint.levels.lost_share(settings.output_gain)
    # The pauses of a noisy recording become silent.
    largest = 0.99 if settings.noise != "off" or settings.speech_gate else _LARGEST_LOSS
    muted = settings.mode == "muted" or lost <= largest
    return "" if muted else _loss_message(sound, lost, settings), stats.repaired_blocks


def _loss_message(sound: SoundInput, lost: float, settings: Settings) -> str:
    how_much = "silent" if lost > 0.99 else f"silent in {lost:.0%} of the places"
    if sound.loud_db + settings.input_gain < settings.gate + 20:
        hint = f"The gate of {settings.gate:g} dBFS is too high; use --gate {sound.gate_db:.0f}."
    else:
        hint = "Check the voice and the settings."
    return (
        f"The result of {sound.name} is {how_much} where the input has sound (its loud parts are "
        f"at {sound.loud_db:.0f} dBFS). {hint}"
    )


def _send(path: Path, *, raw: bool) -> None:
    """Write a WAV file, or its samples, to standard output."""
    import shutil

    import soundfile

    output = sys.stdout.buffer
    if raw:
        with soundfile.SoundFile(os.fsencode(path)) as sound:
            for block in sound.blocks(1 << 16, dtype="float32"):
                output.write(block.astype("<f4").tobytes())
    else:
        with path.open("rb") as file:
            shutil.copyfileobj(file, output)
    output.flush()


def as_dict(outcome: Outcome) -> dict[str, object]:
    """Return an outcome for JSON."""
    return dataclasses.asdict(outcome) | {
        "seconds": round(outcome.seconds, 3),
        "speed": round(outcome.speed, 2),
    }
