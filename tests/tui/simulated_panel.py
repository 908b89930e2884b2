"""The panel in this terminal, on simulated devices.

python -m tests.tui.simulated_panel [FPS]
"""

from __future__ import annotations

import sys

from rtvc.config.panel_state import PanelState, save_panel_state
from rtvc.config.remembered import RememberedRun
from rtvc.live.controller import Controller
from rtvc.settings import Settings
from rtvc.tui.app import FPS, Panel
from tests.tui.simulated_devices import SimulatedDevices

if __name__ == "__main__":
    save_panel_state(PanelState(guided=True))
    controller = Controller(
        SimulatedDevices(seconds=600.0), RememberedRun(settings=Settings(pitch=4.0)), remember=False
    )
    try:
        Panel(controller, fps=int(sys.argv[1]) if sys.argv[1:] else FPS).run()
    finally:
        controller.close()
