"""Dialogs: a text input, a confirmation, and the help."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rtvc.tui.closing import close_once
from rtvc.tui.footer import DialogKeys
from rtvc.tui.keys import mute_key
from rtvc.tui.message_log import LogEntry
from rtvc.tui.notice import outcome
from rtvc.tui.text_pane import cut, printable

_NAME = 24
"""Most columns of a device's name in a question, which leaves room for the keys at 40 by 12."""


class Dialog(ModalScreen[None]):
    """A centred box that Escape closes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self.VERTICAL_BREAKPOINTS = [(0, "-flat"), (18, "-low")]

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the screen, once."""
        return close_once(self, super().dismiss)


class Ask(Dialog):
    """Asks for one line of text.

    Parameters
    ----------
    question
        The question.
    answer
        The initial text of the field.
    use
        Called with the answer. If it raises `RtvcError` or `OSError`, the dialog shows the
        reason and stays open.
    """

    def __init__(self, question: str, answer: str, use: Callable[[str], None]) -> None:
        super().__init__()
        self._question = question
        self._answer = answer
        self._use = use

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical():
            yield Static(self._question, id="question", markup=False)
            yield Input(printable(self._answer))
            yield Static("", classes="error", markup=False)
            yield DialogKeys("Enter applies, Escape cancels")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        refused = outcome(partial(self._use, event.value.strip()))
        if refused.text:
            self.query_one(".error", Static).update(printable(refused.text))
            self.add_class("-refused")
        else:
            self.dismiss()


class Confirm(Dialog):
    """Asks for a confirmation with Enter.

    Parameters
    ----------
    question
        The question.
    act
        Called on Enter.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "act", show=False)]

    def __init__(self, question: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._question = question
        self._act = act

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical():
            yield Static(self._question, id="question", markup=False)
            yield DialogKeys("Enter confirms, Escape cancels")

    def action_act(self) -> None:
        """Close the dialog and act."""
        self.dismiss()
        self._act()


def before_measuring(microphone: str, speaker: str, act: Callable[[], object]) -> Confirm:
    """Return the dialog that confirms a latency measurement by `act`."""
    microphone, speaker = (cut(name, _NAME) for name in (microphone, speaker))
    return Confirm(
        "Measure the latency of the devices?\n"
        f"{speaker!r} plays chirps for three seconds, at -20 dBFS, and your voice pauses. "
        f"Hold {microphone!r} to the speaker or to the headphones, and keep silent.",
        act,
    )


class Messages(Dialog):
    """The newest messages with their times, the newest first.

    Parameters
    ----------
    entries
        The messages, oldest first.
    """

    def __init__(self, entries: tuple[LogEntry, ...]) -> None:
        super().__init__()
        lines = [f"{entry.clock}  {entry.text}" for entry in reversed(entries)]
        self._text = "\n".join(lines or ["There were no messages yet."])

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical() as box:
            box.border_title = "Messages, the newest first"
            with VerticalScroll():
                yield Static(printable(self._text), markup=False)

    def on_mount(self) -> None:
        """Focus the text so that it scrolls."""
        self.query_one(Vertical).border_subtitle = f"Esc closes, {mute_key(self)} mutes"
        self.query_one(VerticalScroll).focus()
