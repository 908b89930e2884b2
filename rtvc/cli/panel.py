"""The panel that ``rtvc run`` opens in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.live.controller import Controller


def run(controller: Controller, message: str, *, fps: int | None, confirm_dry: bool) -> int:
    """Open the panel, and return the exit code once it is closed.

    Parameters
    ----------
    controller
        The live run, not started yet; it is closed at the end.
    message
        A message to show at the start, or "".
    fps
        Most frames per second, None for the default.
    confirm_dry
        Whether the first press of the key for your own voice asks.

    Raises
    ------
    RtvcError
        If the panel failed; the session is stopped first.
    """
    from rtvc.cli.terminal import redirect_stderr
    from rtvc.config.paths import config_folder
    from rtvc.tui.app import FPS, Panel

    log = config_folder() / "panel.log"
    panel = Panel(controller, message, fps=fps or FPS, confirm_dry=confirm_dry)
    try:
        with redirect_stderr(log):
            panel.run()
    finally:
        controller.close()
    if panel.return_code == 1:
        raise RtvcError(f"The panel failed; see {log}. 'rtvc --plain' runs without it.")
    if panel.exit_message:
        print(panel.exit_message, file=sys.stderr)
    return panel.return_code or 0
