"""The footer: the most important keys, which can be clicked; and that of a dialog."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from rtvc.tui.keys import KEYS, key_labels, mute_key, offered_keys

Hint = tuple[str, str, str]
"""A key, one word about it, and the action of a click."""
_KEPT = 2
"""Hints at the end that are left out last."""


_MUTE_HINT: Hint = ("m", "MUTE", "app.mute")


class KeyLine(Static):
    """As many hints as fit, the most important first, with the key that mutes now.

    Parameters
    ----------
    hints
        The hints; by default those of the app's keys.
    """

    def __init__(self, hints: tuple[Hint, ...] = (), *, keys: dict[str, str] | None = None) -> None:
        super().__init__("", classes="keys")
        self._hints = (_MUTE_HINT, *_chosen(hints, keys or {})) if hints else _app_hints(keys or {})

    def on_mount(self) -> None:
        """Follow the focus: where text is typed, another key mutes."""
        self.watch(self.screen, "focused", self._fit, init=False)

    def on_resize(self) -> None:
        """Fit the hints to the width."""
        self._fit()

    def _fit(self) -> None:
        key = mute_key(self.screen)
        offered = offered_keys(self.app)
        refused = {f"app.{one.action}" for one in KEYS if one not in offered}
        hints = tuple(
            (key, w, a) if a == _MUTE_HINT[2] else (k, w, a)
            for k, w, a in self._hints
            if a not in refused
        )
        gap = 2 if self._length(hints, 2) <= self.size.width else 1
        while len(hints) > 1 and self._length(hints, gap) > self.size.width:
            # The least important go first; the last ones are help and how to leave the screen.
            kept = min(_KEPT, len(hints) - 1)
            out = len(hints) - kept - 1
            if hints[out][2] == _MUTE_HINT[2]:
                out = out - 1 if out else out + 1
            hints = (*hints[:out], *hints[out + 1 :])
        parts = []
        for key, word, action in hints:
            part = Content.from_markup("[b]$key[/b] $word", key=key, word=word)
            parts.append(part.stylize(f"@click={action}") if action else part)
        self.update(Content(" " * gap).join(parts), layout=False)

    @staticmethod
    def _length(hints: tuple[Hint, ...], gap: int) -> int:
        return sum(cell_len(key) + len(word) + 1 + gap for key, word, _ in hints) - gap


class DialogKeys(Static):
    """A sentence with the keys of a dialog, and the key that mutes now.

    Parameters
    ----------
    keys
        What the dialog's own keys do, without a full stop.
    """

    def __init__(self, keys: str) -> None:
        super().__init__("", markup=False)
        self._keys = keys

    def on_mount(self) -> None:
        """Follow the focus: where text is typed, another key mutes."""
        self.watch(self.screen, "focused", self._show)

    def _show(self) -> None:
        self.update(f"{self._keys}, {mute_key(self.screen)} mutes.")


def _chosen(hints: tuple[Hint, ...], keys: dict[str, str]) -> tuple[Hint, ...]:
    """Return hints with the keys from keys.yaml for those of the app."""
    chosen, labels = key_labels(keys), key_labels({})
    new = {(labels[key.id], f"app.{key.action}"): chosen[key.id] for key in KEYS}
    return tuple((new.get((key, action), key), word, action) for key, word, action in hints)


def _app_hints(keys: dict[str, str]) -> tuple[Hint, ...]:
    """Return the app's keys for the footer; `keys` are those from keys.yaml."""
    by_id = key_labels(keys)
    hints = [(by_id[key.id], key.short, f"app.{key.action}") for key in KEYS if key.short]
    pitch = f"{by_id['pitch_down']}{by_id['pitch_up']}"
    hints = [(pitch, w, "app.pitch(1)") if w == "pitch" else (k, w, a) for k, w, a in hints]
    return tuple(hints)
