"""The panel in this terminal, on simulated devices, with the flags of ``rtvc run``.

python -m tests.tui.simulated_panel [FLAGS]

The file panel.pid gets its process. SIGUSR1 takes the device away for some seconds.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from rtvc.cli import main, panel
from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from tests.tui.simulated_devices import SimulatedDevices

UNPLUGGED_S = 2.5

if __name__ == "__main__":
    save_panel_state(PanelState(guided=True))
    args = main.parse(["run", *sys.argv[1:]])
    devices = SimulatedDevices(seconds=600.0)
    signal.signal(signal.SIGUSR1, lambda *_: devices.unplug(UNPLUGGED_S))
    Path("panel.pid").write_text(str(os.getpid()))
    controller = Controller(
        devices,
        RememberedRun(settings=Settings(pitch=4.0)),
        remember=False,
        never_dry=args.never_dry,
    )
    sys.exit(panel.run(controller, "", fps=args.fps, confirm_dry=args.confirm_dry))
