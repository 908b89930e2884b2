"""``rtvc run`` with a status line: in a pipe, with ``--no-tui``, and for a limited time."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from rtvc.cli import options, run_recording
from rtvc.cli.guarded import GuardLink
from rtvc.cli.run_devices import RunDevices, print_note
from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.calibration.sizing import Sizing
    from rtvc.cli.stats_file import StatsFile
    from rtvc.cli.terminal import Keyboard, StatusDisplay
    from rtvc.config.remembered import RememberedRun
    from rtvc.live.device_session import DeviceSession
    from rtvc.live.flight_recorder import FlightRecorder
    from rtvc.live.recorder import Recorder


_FIRST_BLOCK_S = 5.0
"""Time that a run of limited length waits for its first block beyond its end."""


def run(
    args: argparse.Namespace,
    devices: RunDevices,
    remembered: RememberedRun,
    sizing: Sizing,
    link: GuardLink,
) -> int:
    """Run with a status line instead of the panel, and return the exit code.

    Parameters
    ----------
    args
        The arguments of ``rtvc run``.
    devices
        Open the devices.
    remembered
        The settings, and what is remembered of this run.
    sizing
        Decides the sizes that the user has not set.
    link
        Connects this process to its guard.

    Raises
    ------
    RtvcError
        If the engine has stopped, or no device came.
    """
    from rtvc.cli.stats_file import StatsFile
    from rtvc.cli.terminal import Keyboard, StatusDisplay
    from rtvc.live.device_session import DeviceSession
    from rtvc.live.recorder import Recorder

    flight = run_recording.flight_recorder(args, remembered.recording)
    session = DeviceSession(
        devices.open(),
        remembered.settings,
        sizing=sizing,
        flight=flight,
        wait_for_voice=not options.shape_voice(args),
        fail_open=args.fail_open,
    )
    recorder = Recorder(partial(setattr, session.endpoint, "recording"), remembered.recording)
    run_recording.start_recording(args, recorder)
    stats_file = StatsFile(args.stats, session)
    display = StatusDisplay(sys.stdout, muted=remembered.settings.mode == "muted")
    missing = ""
    try:
        with Keyboard() as keyboard:
            session.start()
            if flight is not None:
                flight.watch(session.session.stats, lambda: session.devices.names_now()._asdict())
            remember = devices.live and not args.no_save
            saved = session.devices.remembered(remembered)
            if remember:
                _remember(saved)
            try:
                sources = session, recorder, flight, stats_file
                _watch(sources, keyboard, display, seconds=args.seconds, live=devices.live)
                missing = _missing(session, args.seconds, live=devices.live)
            finally:
                link.report("closing")
                session.session.stop()
                display.clear()
                if flight is not None:
                    flight.look(session.session.stats())
                    flight.close()
                if remember and (problem := session.keep_sizes()):
                    print_note(problem)
                found = session.devices.remembered(remembered)
                if remember and found != saved:  # devices that were waited for
                    _remember(found)
    except BaseException:
        # Ctrl-C is a normal end: write the statistics and the file all the same.
        recorded = run_recording.stop_recording(recorder, flight)
        if session.session.stats().blocks:
            _finish(stats_file, session, display.elapsed_s, recorded)
        elif recorded:
            print(recorded)
        raise
    recorded = run_recording.stop_recording(recorder, flight)
    _finish(stats_file, session, display.elapsed_s, recorded)
    if missing:
        raise RtvcError(missing)
    return 0


def _remember(run: RememberedRun) -> None:
    """Remember devices and settings; a run does not end because that fails."""
    from rtvc.config.remembered import save_remembered

    try:
        save_remembered(run)
    except RtvcError as error:
        print_note(f"This run is not remembered. {error}")


def _missing(session: DeviceSession, seconds: float | None, *, live: bool) -> str:
    """Return a sentence if nothing was converted because something was missing, else ""."""
    devices = _missing_devices(session) if live and seconds is not None else ""
    if seconds is not None and _is_starting(session, live=live):
        return (
            f"Nothing was converted: no block was finished in {seconds + _FIRST_BLOCK_S:g} s. End "
            "other programs that use the CPU."
        )
    return devices or _missing_voice(session)


def _missing_devices(session: DeviceSession) -> str:
    """Return a sentence if the devices of a run never came, else ""."""
    if session.devices.in_use() is not None:
        return ""
    reason = session.session.stats().reason or "The devices did not start."
    return f"Nothing was converted: no device came in this time. {reason}"


def _missing_voice(session: DeviceSession) -> str:
    """Return a sentence if nothing was converted for want of a voice, else ""."""
    from rtvc.engine.supervisor import NO_VOICE

    stats = session.session.stats()
    if stats.blocks or NO_VOICE not in stats.restart_causes:
        return ""
    return f"Nothing was converted. {stats.last_cause}"


def _is_starting(session: DeviceSession, *, live: bool) -> bool:
    """Return whether nothing is missing, but no block has been processed yet."""
    if session.session.stats().blocks or session.devices.endpoint.finished:
        return False
    return not _missing_voice(session) and not (live and _missing_devices(session))


def _watch(
    sources: tuple[DeviceSession, Recorder, FlightRecorder | None, StatsFile],
    keyboard: Keyboard,
    display: StatusDisplay,
    *,
    seconds: float | None,
    live: bool,
) -> None:
    shown, session = "", sources[0]
    while not session.session.wait(0.1):
        stats = session.session.stats()
        if stats.reason and stats.reason != shown:
            display.note(stats.reason)
        shown = stats.reason
        for source in sources:
            if source is not None and (message := source.take_message()):
                display.note(message)
        display.show(stats)
        if "q" in keyboard.pressed().lower():
            return
        if seconds is not None and display.elapsed_s >= seconds:
            late = display.elapsed_s >= seconds + _FIRST_BLOCK_S
            if late or not _is_starting(session, live=live):
                return
    if not session.devices.endpoint.finished:
        reason = session.session.stats().reason
        raise RtvcError(reason or "The engine has stopped. Start rtvc again.")


def _finish(stats_file: StatsFile, session: DeviceSession, elapsed_s: float, recorded: str) -> None:
    """Write the files, print what there is, and only then raise the error of one that failed."""
    from rtvc.cli.status_line import summary

    lines = [summary(session.session.stats(), elapsed_s), recorded]
    failures: list[RtvcError] = []
    # Files first: the terminal or the reader of standard output may be gone.
    for write in (session.devices.keep, partial(stats_file.finish, elapsed_s)):
        try:
            lines.append(write())
        except RtvcError as error:
            failures.append(error)
    print("\n".join(filter(None, lines)))
    if failures:
        raise RtvcError(" ".join(map(str, failures)))
