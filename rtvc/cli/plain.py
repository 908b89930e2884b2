"""``rtvc --plain``: a live run that prints only what changes, for screen readers and pipes."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtvc.cli.plain_input import Input, Typed, open_input
from rtvc.errors import escaped

if TYPE_CHECKING:
    from rtvc.live.controller import Controller
    from rtvc.live.mode_keys import ModeKeys
    from rtvc.settings import Settings

_POLL_S = 0.05
_MAINTAIN_S = 2.0
_PRESET_CHARACTERS = 200


def run(
    controller: Controller,
    message: str,
    *,
    seconds: float | None,
    check_voice: Callable[[Settings], None],
    confirm_dry: bool,
) -> int:
    """Run until the user quits, and return the exit code.

    Parameters
    ----------
    controller
        The live run, not started yet; it is closed at the end.
    message
        A message to print at the start, or "".
    seconds
        When to stop; None does not.
    check_voice
        Raises `RtvcError` if the voice of settings cannot be used.
    confirm_dry
        Whether the first press of the key for your own voice asks.

    Raises
    ------
    BrokenPipeError
        If the reader of standard output has closed it.
    """
    from rtvc.live.mode_keys import ModeKeys

    try:
        with open_input(_echo) as source:
            mode_keys = ModeKeys(confirm=confirm_dry, never=controller.never_dry)
            _Run(controller, source, check_voice, mode_keys).until_end(message, seconds)
    finally:
        controller.close()
        # Also after Ctrl-C, such as where the recording is.
        _print(controller.take_message())
    return 0


class _Run:
    """Answers what is typed, and prints what changes."""

    def __init__(
        self,
        controller: Controller,
        source: Input,
        check_voice: Callable[[Settings], None],
        mode_keys: ModeKeys,
    ) -> None:
        from rtvc.config.panel_state import load_panel_state
        from rtvc.config.preset_manager import PresetManager
        from rtvc.library.voice_defaults import own_settings
        from rtvc.live.actions import Actions
        from rtvc.live.announcer import Announcer
        from rtvc.live.commands import Commands

        preset_manager = PresetManager(own_settings)
        preset_manager.scan()
        memory, self._damaged = load_panel_state()
        actions = Actions(controller, preset_manager, memory, mode_keys)
        actions.keep_favourites_ready()
        self._controller, self._source = controller, source
        self._actions = actions
        self._preset_manager = preset_manager
        self._unreadable = ""
        """Why files could not be read, "" if they could."""
        self._announcer = Announcer()
        self._commands = Commands(
            controller,
            actions,
            preset_manager,
            status=self._status,
            check_voice=check_voice,
        )

    def until_end(self, message: str, seconds: float | None) -> None:
        """Run until the user quits, the input ends, or the time is over."""
        from rtvc.live.commands import KEYS, offered

        began = maintained = time.monotonic()
        unsaved = self._commands.attempt(self._actions.fill_favourites)
        keys = offered(KEYS, never_dry=self._controller.never_dry)
        for text in (message, self._damaged, unsaved, f"{keys} :help lists the commands."):
            self._print(text)
        self._controller.start()
        while not (self._commands.ended or self._source.ended):
            for typed in self._source.read(_POLL_S):
                self._print(self._answer(typed))
                if self._commands.ended:
                    return
            now = time.monotonic()
            self._announce(now)
            if seconds is not None and now - began >= seconds:
                return
            if now - maintained >= _MAINTAIN_S:
                maintained = now
                self._controller.maintain()
                self._follow_files()
            _check_reader()

    def _follow_files(self) -> None:
        """Use the presets and favourites that other programs have changed."""
        before = self._unreadable
        self._unreadable = self._commands.attempt(self._read_files)
        if self._unreadable != before:
            self._print(self._unreadable)

    def _read_files(self) -> str:
        self._preset_manager.scan()
        self._actions.follow_favourites()
        self._actions.follow_voice_defaults()
        return self._preset_manager.problem

    def _answer(self, typed: Typed) -> str:
        return (self._commands.line if typed.is_line else self._commands.key)(typed.text)

    def _announce(self, now: float) -> None:
        controller = self._controller
        self._print(controller.take_message())
        stats, settings, names = controller.stats(), controller.settings, controller.names
        for line in self._announcer.update(stats, settings, names, now):
            self._print(line)

    def _status(self) -> str:
        from rtvc.live.announcer import in_words
        from rtvc.live.health import health

        controller = self._controller
        stats, settings = controller.stats(), controller.settings
        origin = self._actions.origin
        preset = f", preset {origin.summary(_PRESET_CHARACTERS)}" if origin else ""
        seconds = controller.recorder.seconds
        lines = [
            self._announcer.state(stats, settings, time.monotonic()),
            f"Voice {stats.voice or settings.voice!r}{preset}.",
            in_words(controller.names),
            f"Latency {stats.latency.total * 1000:.0f} ms." if stats.latency.total else "",
            f"Blocks: {stats.blocks}, {stats.late_blocks} late.",
            "" if seconds is None else f"Recording for {seconds:.0f} s.",
            *health(stats, controller.measured).advice,
        ]
        return "\n".join(filter(None, lines))

    def _print(self, text: str) -> None:
        _print(text, self._source.unfinished)


def _print(text: str, unfinished: str = "") -> None:
    """Print lines below what is typed of a command, and show that again."""
    if not text:
        return
    if unfinished:
        print()
    for line in text.splitlines():
        print(escaped(line))
    _echo(unfinished)


def _echo(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _check_reader() -> None:
    """Raise `BrokenPipeError` if standard output is a pipe without a reader."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)  # without an event macOS reports nothing
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        raise BrokenPipeError
