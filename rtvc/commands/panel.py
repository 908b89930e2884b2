"""What ``rtvc run`` opens on a terminal: the control panel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.commands.scenes import Scene
    from rtvc.settings import Settings


def run(scene: Scene, settings: Settings, *, remember: bool) -> int:
    """Open the panel, and return the exit code once it is closed.

    Parameters
    ----------
    scene
        The devices to begin with; where there are none, the panel waits for some, and
        the demonstration plays meanwhile.
    settings
        The settings to begin with.
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
    stand_in = None if scene.live else scene.open
    studio = Studio(LiveRig(), scene.choices(settings), remember=remember, stand_in=stand_in)
    panel = Panel(studio, scene.advice)
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
