"""``rtvc doctor --live``: runs the engine on the devices in silence, and reports its health."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError
from rtvc.stats import State

if TYPE_CHECKING:
    from rtvc.live.device_session import DeviceSession
    from rtvc.live.health import Health

DEFAULT_S = 20.0
_TROUBLE = (State.MUTED, State.DEVICE_LOST)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.audio.echo_canceller import require_canceller
    from rtvc.audio.silent_output import SilentOutput
    from rtvc.cli import options
    from rtvc.cli.run_devices import print_note, selected_devices
    from rtvc.config.remembered import load_remembered
    from rtvc.device_choice import channel_label
    from rtvc.live.device_session import DeviceSession
    from rtvc.live.devices import SystemDevices
    from rtvc.live.startup_sizing import startup_sizing

    remembered, note = load_remembered()
    settings = remembered.settings
    options.require_voice(settings)
    require_canceller(settings.echo)
    devices = SystemDevices().open(selected_devices(args, remembered))
    sizing, advice = startup_sizing(settings, remembered.profile, remembered.chosen)
    for sentence in filter(None, (note, advice.notes, advice.warnings)):
        print_note(sentence)
    seconds = args.seconds or DEFAULT_S
    channel = f" ({label})" if (label := channel_label(devices.channel)) else ""
    print_note(
        f"Converts {devices.names.input!r}{channel} with voice {settings.voice!r} for "
        f"{seconds:g} s. {devices.names.output!r} plays silence. Speak."
    )
    silent = dataclasses.replace(devices, endpoint=SilentOutput(devices.endpoint))
    session = DeviceSession(silent, settings, sizing=sizing)
    session.start()
    try:
        rendered = _watch(session, seconds)
        stats, described = session.session.stats(), devices.described()
    finally:
        session.stop()
    from rtvc.live.health import health

    figures = health(stats, session.measured)
    if not rendered:
        figures = dataclasses.replace(
            figures,
            advice=(
                "Nobody spoke, so the voice rendered nothing and the step times mean little. "
                "Speak while it runs.",
                *figures.advice,
            ),
        )
    _print(args, figures, described, seconds)
    return 1 if figures.late_blocks or figures.underruns or figures.restarts else 0


def _watch(session: DeviceSession, seconds: float) -> bool:
    """Let the session run; return whether anything but silence came in.

    Raises
    ------
    RtvcError
        If the engine ends before that.
    """
    from rtvc.cli.terminal import StatusDisplay

    display, spoke, shown = StatusDisplay(sys.stderr), False, ""
    try:
        while display.elapsed_s < seconds:
            if session.session.wait(0.1):
                reason = session.session.stats().reason
                raise RtvcError(reason or "The engine has stopped. Run it again.")
            stats = session.session.stats()
            spoke = spoke or stats.gate_open
            trouble = stats.reason if stats.state in _TROUBLE else ""
            if trouble and trouble != shown:
                display.note(trouble)
            shown = trouble
            display.show(stats)
    finally:
        display.clear()
    return spoke


def _print(
    args: argparse.Namespace, figures: Health, names: dict[str, str], seconds: float
) -> None:
    from rtvc.cli.run_report import as_json
    from rtvc.live.health import health_lines
    from rtvc.system.info import hardware, versions

    if args.json:
        report = {
            "seconds": seconds,
            "devices": names,
            "health": figures.as_dict(),
            "versions": versions(),
            "hardware": hardware(),
        }
        print(as_json(report), end="")
        return
    print("\n".join(health_lines(figures)))
    for sentence in figures.advice:
        print(f"-> {sentence}")
    if not figures.advice:
        print("Nothing to change.")
