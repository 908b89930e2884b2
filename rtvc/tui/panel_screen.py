"""What all screens of the panel have in common: state, reason, messages and keys."""

from __future__ import annotations

from functools import cached_property

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import Vertical
from textual.screen import Screen

from rtvc.stats import Level, State
from rtvc.tui.closing import close_once
from rtvc.tui.cropped_compositor import CroppedCompositor
from rtvc.tui.footer import Hint, KeyLine
from rtvc.tui.help import Topic
from rtvc.tui.keys import key_labels
from rtvc.tui.level_meter import LevelMeter
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.state_band import StateBand
from rtvc.tui.text_pane import FlowPane, StyledText

_TEXTS = ("reason", "step", "message")
_PADDING = 2
"""Columns next to a text."""
_FEW_ROWS = 4
"""Rows of text that leave room for all else in a terminal of 12 rows."""


class PanelScreen(Screen[None]):
    """A screen that shows snapshots.

    The state and its reason are at the top, messages above the keys at the bottom. Where there is
    no room for all, what is between them is cut.

    Parameters
    ----------
    keys
        The keys from keys.yaml, by id.
    """

    HINTS: tuple[Hint, ...] = ()
    """The footer; by default the keys of the app."""

    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__()
        self._compositor = CroppedCompositor()
        self._keys = keys
        self._labels = key_labels(keys)
        # Classes for the style sheet, each with its smallest number of columns or rows.
        self.HORIZONTAL_BREAKPOINTS = [(0, "-thin"), (60, "-normal"), (110, "-wide")]
        self.VERTICAL_BREAKPOINTS = [
            (0, "-flat"),
            (18, "-low"),
            (22, "-middle"),
            (36, "-tall"),
            (46, "-high"),
        ]

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        yield StateBand(self._labels)
        yield FlowPane("reason")
        yield from self.compose_body()
        with Vertical(id="foot"):
            yield FlowPane("message")
            yield KeyLine(self.HINTS, keys=self._keys)

    def compose_body(self) -> ComposeResult:
        """Create the widgets between the state and the messages."""
        raise NotImplementedError

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot; called with each frame."""
        badge = snapshot.badge
        self.query_one(StateBand).show(snapshot)
        remedy = badge.remedy
        action = f"Press {self._labels['remedy']}: {remedy.label}." if remedy else ""
        style = "bold $error" if badge.alarming else "bold"
        text, help = (one_line(badge.text), style), (action, "bold @click=app.remedy")
        # A low terminal cuts the end of a long text.
        first, last = (help, text) if self.has_class("-flat") else (text, help)
        gap = " " if first[0] and last[0] else ""
        self.query_one("#reason", FlowPane).put(first, (gap, ""), last)
        self._show_messages(snapshot)
        self._make_room(snapshot)
        self.show_body(snapshot)

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the screen, once."""
        return close_once(self, super().dismiss)

    @cached_property
    def _texts(self) -> tuple[FlowPane, ...]:
        """The texts that need room; a query for each frame takes long."""
        return tuple(pane for pane in self.query(FlowPane) if pane.id in _TEXTS)

    def _make_room(self, snapshot: Snapshot) -> None:
        """Set classes for the style sheet, by which less important widgets make room for text."""
        width = self.size.width - _PADDING
        rows = sum(pane.rows(width) for pane in self._texts)
        self.set_class(rows > max(_FEW_ROWS, self.size.height // 4), "-crowded")
        self.set_class(bool(snapshot.messages and snapshot.badge.text), "-both")

    def show_body(self, snapshot: Snapshot) -> None:
        """Show what the screen has between the state and the messages."""
        raise NotImplementedError

    def hint(self, snapshot: Snapshot) -> str:
        """Return the text to show while there are no messages."""
        raise NotImplementedError

    def help_topic(self) -> Topic:
        """Return the keys of what has the focus."""
        raise NotImplementedError

    def show_levels(self, snapshot: Snapshot) -> None:
        """Show the levels on the meters of `meters`, of the input after its gain."""
        stats, now = snapshot.stats, snapshot.now
        silent = stats.state in (State.DEVICE_LOST, State.STOPPED)  # the last levels are old
        self.query_one("#input-meter", LevelMeter).show(
            Level() if silent else stats.conditioned,
            now,
            gate_db=snapshot.settings.gate,
            shut=stats.blocks > 0 and not stats.gate_open,
        )
        self.query_one("#output-meter", LevelMeter).show(
            Level() if silent else stats.output, now, limited_db=stats.limited_db
        )

    def _show_messages(self, snapshot: Snapshot) -> None:
        lines: list[StyledText] = []
        for entry in snapshot.messages:
            end = "" if entry is snapshot.messages[-1] else "\n"
            lines.append((f"{one_line(entry.text)}{end}", "bold"))
        self.query_one("#message", FlowPane).put(
            *(lines or [(one_line(self.hint(snapshot)), "$text-muted")])
        )


def meters() -> ComposeResult:
    """Create the meters of input and output."""
    yield LevelMeter("IN", "input-meter")
    yield LevelMeter("OUT", "output-meter")


def one_line(text: str) -> str:
    """Return text without line breaks, which the window makes where it needs them."""
    return text.replace("\n", " ")
