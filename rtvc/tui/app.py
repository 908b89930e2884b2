"""The panel: its start, the timer that updates its screens, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import cast

from rich.console import Console, RenderableType
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.screen import Screen

from rtvc.live.badge import BadgeTracker
from rtvc.live.controller import Controller
from rtvc.tui.action_app import ActionApp
from rtvc.tui.first_run_screen import FirstRunScreen
from rtvc.tui.key_driver import KeyDriver
from rtvc.tui.keys import keymap
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.panel_screen import PanelScreen
from rtvc.tui.snapshot import Snapshot

FPS = 15
"""Default frames per second."""
_TEXT_S = 0.5
"""Time between two updates of text and figures, in seconds."""
_TIDY_S = 2.0


class Panel(ActionApp):
    """The control panel.

    Parameters
    ----------
    controller
        The live run, not started yet; the panel starts and closes it.
    message
        A message to show at the start.
    fps
        Most frames per second. There are fewer while the terminal has not taken the last one.
    confirm_dry
        Whether the first press of the key for your own voice asks.
    clock
        Returns a monotonic time in seconds.

    Attributes
    ----------
    exit_message
        A message to print after the panel has closed, "" if there is none.
    """

    CSS_PATH = "app.tcss"
    TITLE = "rtvc"

    def __init__(
        self,
        controller: Controller,
        message: str = "",
        *,
        fps: int = FPS,
        confirm_dry: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(controller, message, confirm_dry=confirm_dry, clock=clock)
        self._badge_tracker = BadgeTracker(self._labels["devices"])
        self._fps = fps
        self._text_due = float("-inf")
        self._held = ExitStack()
        """While the terminal has not taken the last frame: holds back what is drawn."""
        self._holding = self._lost = False
        self._started = self._quitting = False
        self._code = 0
        self.exit_message = ""

    def on_mount(self) -> None:
        """Open the main screen and start the timers."""
        self.set_keymap(keymap(self.chosen_keys))
        self._scan_presets()
        self.perform(self.actions.fill_favourites)
        controller, actions = self.controller, self.actions
        self.push_screen(MainScreen(controller, actions, self.chosen_keys))
        if not actions.memory.guided:
            self.push_screen(
                FirstRunScreen(controller, controller.scanner, actions, self.chosen_keys)
            )
        self.set_interval(1 / self._fps, self.update_screens)
        self.set_interval(_TIDY_S, self._maintain)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, partial(self._quit_by_signal, 128 + number))

    def update_screens(self) -> None:
        """Take a snapshot and show it on all open screens, if the terminal keeps up."""
        if self._quitting or not self.is_running or not self._terminal_ready():
            return
        now = self._clock()
        if changes := self.controller.take_size_message():
            self.show_message(changes, urgent=True, topic="sizes")
        if news := self.controller.take_message():
            self.show_message(news, urgent=True)
        slow = now >= self._text_due or not self._started
        if slow:
            self._text_due = now + _TEXT_S
            self._scan_presets()
        # Of all that is drawn the spectrogram has the most bytes.
        slow_line = isinstance(self._driver, KeyDriver) and self._driver.slow
        controller, memory = self.controller, self.actions.memory
        stats, settings = controller.stats(), controller.settings
        self._badge = self._badge_tracker.update(stats, settings, now)
        snapshot = Snapshot(
            now=now,
            stats=stats,
            settings=settings,
            badge=self._badge,
            devices=controller.names,
            wanted=controller.wanted,
            available=controller.scanner.devices,
            voices=controller.scanner.voices,
            entries=self.preset_manager.entries,
            favourites=memory.favourites,
            measured=controller.measured,
            spectrum=controller.spectrum() if memory.spectrogram and not slow_line else None,
            origin=self.actions.origin,
            recorded_s=controller.recorder.seconds,
            messages=self._shown_messages(now),
            slow=slow,
        )
        for screen in self.screen_stack:
            if isinstance(screen, PanelScreen) and screen.is_mounted and screen.is_running:
                screen.show(snapshot)
                self._start_controller()

    def _terminal_ready(self) -> bool:
        """Return whether the terminal has taken the last frame; nothing is drawn until then."""
        self._hold()
        return not self._holding

    def _hold(self) -> None:
        """Hold frames back while the terminal has not taken the last one."""
        driver = self._driver
        ready = not isinstance(driver, KeyDriver) or driver.ready
        holding, self._holding = self._holding, not ready
        if ready and holding:
            self._held.close()
            if self._lost:
                self.screen.refresh()
        elif not ready and not holding:
            self._lost = False
            self._held.enter_context(self.batch_update())

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Write the cells that differ, and hold the next frame back until they have arrived."""
        driver = self._driver
        drawn = not self._batch_count and self._running and not self._closed
        if (
            not isinstance(driver, KeyDriver)
            or not isinstance(renderable, (LayoutUpdate, ChopsUpdate))
            or not drawn
            or driver.near
        ):
            super()._display(screen, renderable)
            return
        text = driver.changes(renderable, self.console)
        update = _Text(text) if text or self._cursor_moved() else None
        super()._display(screen, cast("RenderableType | None", update))
        self._hold()

    def _cursor_moved(self) -> bool:
        place = self.screen.outer_size.clamp_offset(self.cursor_position)
        return place != self._previous_cursor_position

    def post_display_hook(self) -> None:
        """Note that Textual has dropped a frame, as it does when the layout changes meanwhile."""
        self._lost = self._lost or self._holding

    def on_resize(self) -> None:
        """Write the next frame whole: a terminal changes what it shows when it is resized."""
        if isinstance(self._driver, KeyDriver):
            self._driver.forget()

    def _start_controller(self) -> None:
        """Start the controller once a screen is visible: loading would delay that."""
        if not self._started:
            self._started = True
            self.call_after_refresh(self.controller.start)

    def _maintain(self) -> None:
        if not self._quitting:
            self.controller.maintain()

    def _scan_presets(self) -> None:
        before = self.preset_manager.problem
        self.perform(self.preset_manager.scan)
        if (problem := self.preset_manager.problem) not in ("", before):
            self.show_message(problem, urgent=True)
        self.perform(self.actions.follow_favourites)
        self.perform(self.actions.follow_voice_defaults)

    def _quit_by_signal(self, code: int) -> None:
        """Quit because of a signal."""
        self._code = code
        self.call_later(self.action_quit)

    async def action_quit(self) -> None:
        """Fade out, close the devices, and exit."""
        if self._quitting:
            return
        self._quitting = True
        await asyncio.to_thread(self.controller.close)
        self.exit_message = self.controller.take_message()
        self.exit(return_code=self._code)


class _Text(CompositorUpdate):
    """An update that is what to write already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render_segments(self, console: Console) -> str:
        return self._text
