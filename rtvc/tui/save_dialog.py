"""The dialog that saves the settings as a new preset, or updates one."""

from __future__ import annotations

from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from rtvc.live.actions import Actions
from rtvc.tui.dialogs import Dialog
from rtvc.tui.footer import DialogKeys
from rtvc.tui.notice import outcome
from rtvc.tui.text_pane import FlowPane, cut, printable

_NAME = 24
"""Most columns of a preset's name in the title; the field has all of it."""


class SavePreset(Dialog):
    """Asks for name and description of a preset, and says what Enter would do.

    Parameters
    ----------
    actions
        Proposes the name and saves. If that fails, the dialog shows why and stays open.
    """

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self._actions = actions
        self._proposed = actions.proposed_preset()

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        name, description = self._proposed
        with Vertical():
            yield FlowPane("what")
            with Horizontal():
                yield Static("Name")
                yield Input(printable(name), id="name", compact=True)
            with Horizontal():
                yield Static("Description")
                yield Input(
                    printable(description),
                    id="description",
                    placeholder="optional",
                    compact=True,
                )
            yield Static("", classes="error", markup=False)
            yield DialogKeys("Enter saves, Escape cancels")

    def on_mount(self) -> None:
        """Say what Enter would do with the proposed name."""
        self.query_one("#what", FlowPane).put((self._what(self._proposed[0]), ""))

    @on(Input.Changed, "#name")
    def _named(self, event: Input.Changed) -> None:
        self.query_one("#what", FlowPane).put((self._what(event.value.strip()), ""))
        self.query_one(".error", Static).update("")

    @on(Input.Submitted)
    def _submitted(self) -> None:
        name, description = (
            self.query_one(f"#{field}", Input).value.strip() for field in ("name", "description")
        )
        notice = outcome(partial(self._actions.save_preset, name, description))
        if notice.urgent:
            self.query_one(".error", Static).update(printable(notice.text))
        else:
            self.app.post_message(notice)
            self.dismiss()

    def _what(self, name: str) -> str:
        """Return what saving under a name does."""
        origin = self._actions.origin
        if origin is None or not self._actions.updates(name):
            return "Save the settings as a new preset."
        return f"Update {cut(name, _NAME)!r}: {', '.join(origin.edits) or 'its description'}."
