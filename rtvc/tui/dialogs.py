"""Small questions above a screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rtvc.errors import RtvcError
from rtvc.tui.keys import FIXED_HELP, KEYS, written


class Dialog(ModalScreen[None]):
    """A box in the middle; Escape closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", show=False)]


class Ask(Dialog):
    """Asks for a line of text.

    Parameters
    ----------
    question
        What is asked.
    answer
        What stands in the field at first.
    use
        Called with the answer; the sentence of an `RtvcError` is shown below the
        field, and the dialog stays.
    """

    def __init__(self, question: str, answer: str, use: Callable[[str], None]) -> None:
        super().__init__()
        self._question = question
        self._answer = answer
        self._use = use

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield Input(self._answer)
            yield Static("", classes="error", markup=False)
            yield Static("Enter takes it, Escape leaves everything as it is.")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        try:
            self._use(event.value.strip())
        except RtvcError as error:
            self.query_one(".error", Static).update(str(error))
        else:
            self.dismiss()


class Confirm(Dialog):
    """Does something if Enter is pressed.

    Parameters
    ----------
    question
        What would be done.
    act
        Does it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "act", show=False)]

    def __init__(self, question: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._question = question
        self._act = act

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield Static("")
            yield Static("Enter does it, Escape leaves everything as it is.")

    def action_act(self) -> None:
        """Do it."""
        self.dismiss()
        self._act()


def before_measuring(microphone: str, speaker: str, act: Callable[[], object]) -> Confirm:
    """Ask whether the devices are ready to be measured by `act`."""
    return Confirm(
        "Measure what the devices really take?\n\n"
        f"Three chirps play loudly on {speaker!r} for three seconds, and your voice pauses. "
        f"{microphone!r} must hear them: hold it to the speaker or to an ear piece of the "
        "headphones, or choose one cable as both.",
        act,
    )


class Help(Dialog):
    """All keys.

    Parameters
    ----------
    chosen
        The keys that a person has chosen, by id.
    where
        The file in which they are chosen.
    """

    def __init__(self, chosen: dict[str, str], where: str) -> None:
        super().__init__()
        rows = [(written(chosen.get(key.id, key.key)), key.help) for key in KEYS]
        rows += FIXED_HELP
        lines = [f"{key:>12}  {text}" for key, text in rows]
        named = ", ".join(key.id for key in KEYS)
        self._text = "\n".join(lines)
        self._text += (
            f'\n\nOther keys: write lines such as\n  mute: "x"\ninto {where}\nfor: {named}.'
        )

    def compose(self) -> ComposeResult:
        """Make the box."""
        with Vertical(), VerticalScroll():
            yield Static(self._text, markup=False)

    def on_mount(self) -> None:
        """Let the keys scroll."""
        self.query_one(VerticalScroll).focus()
