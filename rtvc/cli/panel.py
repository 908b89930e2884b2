"""The panel that ``rtvc run`` opens in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.calibration.sizing import Sizing
    from rtvc.cli.run_devices import RunDevices
    from rtvc.config.remembered import RememberedRun
    from rtvc.live.flight_recorder import FlightRecorder
    from rtvc.live.recorder import Recorder


def run(
    devices: RunDevices,
    remembered: RememberedRun,
    sizing: Sizing,
    warnings: str,
    *,
    remember: bool,
    report: Callable[[str], None],
    fail_open: bool,
    prepare: Callable[[Recorder], None],
    flight: FlightRecorder | None,
) -> int:
    """Open the panel, and return the exit code once it is closed.

    Parameters
    ----------
    devices
        The initial devices.
    remembered
        The initial settings, and what the next run remembers.
    sizing
        Step times measured on this machine, and the profile.
    warnings
        Warnings about the sizes, "" if there are none.
    remember
        Whether to store devices and settings for the next run.
    report
        Called with what the guard must know; see `Controller`.
    fail_open
        Whether your own voice is output while a failure keeps rtvc from converting.
    prepare
        Starts the recording, if one is wanted.
    flight
        Keeps the last minute; None keeps nothing.

    Raises
    ------
    RtvcError
        If the panel failed; the session is stopped first.
    """
    from rtvc.cli.terminal import redirect_stderr
    from rtvc.config.paths import config_folder
    from rtvc.live.controller import Controller
    from rtvc.live.devices import SystemDevices
    from rtvc.tui.app import Panel

    log = config_folder() / "panel.log"
    controller = Controller(
        SystemDevices(),
        remembered,
        selection=devices.choice,
        sizing=sizing,
        remember=remember,
        flight=flight,
        report=report,
        fail_open=fail_open,
    )
    prepare(controller.recorder)
    panel = Panel(controller, " ".join(filter(None, (devices.advice, warnings))))
    try:
        with redirect_stderr(log):
            panel.run()
    finally:
        controller.close()
    if panel.return_code == 1:
        raise RtvcError(f"The panel failed; see {log}. 'rtvc --no-tui' runs without it.")
    if panel.exit_message:
        print(panel.exit_message, file=sys.stderr)
    return panel.return_code or 0
