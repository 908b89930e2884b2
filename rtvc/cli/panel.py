"""What ``rtvc run`` opens on a terminal: the control panel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.calibration.sizing import Sizing
    from rtvc.cli.run_devices import RunDevices
    from rtvc.config.remembered import RememberedRun


def run(
    devices: RunDevices, remembered: RememberedRun, sizing: Sizing, warnings: str, *, remember: bool
) -> int:
    """Open the panel, and return the exit code once it is closed.

    Parameters
    ----------
    devices
        The devices to begin with; where there are none, the panel waits for some, and
        the demonstration plays meanwhile.
    remembered
        Devices and settings to begin with.
    sizing
        What is known of this machine.
    warnings
        What a person should know about that, "" if nothing.
    remember
        Whether devices and settings are kept for the next run.

    Raises
    ------
    RtvcError
        If the panel failed; the sound has been stopped then.
    """
    from rtvc.cli.terminal import redirect_stderr
    from rtvc.config.paths import config_folder
    from rtvc.live.controller import Controller
    from rtvc.live.devices import SystemDevices
    from rtvc.tui.app import Panel

    log = config_folder() / "panel.log"
    stand_in = None if devices.live else devices.open
    controller = Controller(
        SystemDevices(), remembered, sizing=sizing, remember=remember, stand_in=stand_in
    )
    panel = Panel(controller, " ".join(filter(None, (devices.advice, warnings))))
    try:
        with redirect_stderr(log):
            panel.run()
    finally:
        controller.close()
    if panel.return_code == 1:
        raise RtvcError(f"The panel failed; {log} says where. 'rtvc --no-tui' does without it.")
    if panel.farewell:
        print(panel.farewell, file=sys.stderr)
    return panel.return_code or 0
