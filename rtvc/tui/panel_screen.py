"""What all screens of the panel have in common: state, reason, messages and keys."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from rtvc.tui.footer import Hint, KeyLine
from rtvc.tui.help import Topic
from rtvc.tui.keys import key_labels
from rtvc.tui.level_meter import LevelMeter
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.state_band import StateBand
from rtvc.tui.text_pane import FlowPane, StyledText


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
        action = f" Press {self._labels['remedy']}: {remedy.label}." if remedy else ""
        style = "bold $error" if badge.alarming else "bold"
        self.query_one("#reason", FlowPane).put(
            (one_line(badge.text), style), (action, "bold @click=app.remedy")
        )
        self._show_messages(snapshot)
        self.show_body(snapshot)

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
        self.query_one("#input-meter", LevelMeter).show(
            stats.conditioned,
            now,
            gate_db=snapshot.settings.gate,
            shut=stats.blocks > 0 and not stats.gate_open,
        )
        self.query_one("#output-meter", LevelMeter).show(
            stats.output, now, limited_db=stats.limited_db
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
