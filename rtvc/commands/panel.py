"""What ``rtvc run`` opens on a terminal: the control panel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.config import Choices
    from rtvc.sizing import Sizing


def run(choices: Choices, sizing: Sizing, message: str, *, remember: bool) -> int:
    """Open the panel, and return the exit code once it is closed.

    Parameters
    ----------
    choices
        Devices and settings to begin with.
    sizing
        What is known of this machine.
    message
        A sentence to begin with.
    remember
        Whether devices and settings are kept for the next run.

    Raises
    ------
    RtvcError
        If the panel failed; the sound has been stopped then.
    """
    from rtvc.config import config_folder
    from rtvc.rig import LiveRig
    from rtvc.studio import Studio
    from rtvc.terminal import apart_from_noise
    from rtvc.tui.app import Panel

    log = config_folder() / "panel.log"
    studio = Studio(LiveRig(), choices, sizing=sizing, remember=remember)
    panel = Panel(studio, message)
    try:
        with apart_from_noise(log):
            panel.run()
    finally:
        studio.close()
    if panel.return_code == 1:
        raise RtvcError(f"The panel failed; {log} says where. 'rtvc --no-tui' does without it.")
    if panel.farewell:
        print(panel.farewell, file=sys.stderr)
    return panel.return_code or 0
