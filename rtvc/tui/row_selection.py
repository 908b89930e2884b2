"""Which settings have a row in the open tab, and which of them is selected."""

from __future__ import annotations

from rtvc.setting import Setting
from rtvc.tui.setting_rows import TABS, Facts, settings_by_tab


class RowSelection:
    """The open tab, its rows, and the selected one.

    Attributes
    ----------
    tab
        The open tab.
    rows
        The settings that have a row in it.
    at
        Number of the selected row, 0 without rows.
    facts
        Decide which settings change anything.
    shows_all
        Whether settings that change nothing have a row too.
    """

    def __init__(self) -> None:
        self._tabs = settings_by_tab()
        self.tab = TABS[0]
        self.rows: tuple[Setting, ...] = ()
        self.at = 0
        self.facts = Facts()
        self.shows_all = False
        self._fill()

    @property
    def setting(self) -> Setting | None:
        """The selected setting, None if the tab has no row."""
        return self.rows[self.at] if self.rows else None

    @property
    def hidden(self) -> int:
        """Number of settings of all tabs that have no row."""
        if self.shows_all:
            return 0
        return sum(not self.facts.applies(s) for group in self._tabs.values() for s in group)

    def use(self, facts: Facts) -> None:
        """Use other facts, and keep the selected setting if it still has a row."""
        self.facts = facts
        self._fill()

    def toggle_all(self) -> None:
        """Show all settings, or only those that change something."""
        self.shows_all = not self.shows_all
        self._fill()

    def open(self, tab: str, at: int = 0) -> None:
        """Open a tab at a row; -1 is the last one."""
        self.tab, self.rows = tab, self._shown(tab)
        self.at = range(len(self.rows))[at] if self.rows else 0

    def move(self, rows: int) -> None:
        """Select another row; beyond the last one, the first row of the next tab with rows."""
        if 0 <= self.at + rows < len(self.rows):
            self.at += rows
            return
        step = 1 if rows > 0 else -1
        others = TABS[TABS.index(self.tab) + 1 :] if rows > 0 else TABS[: TABS.index(self.tab)]
        for tab in others[::step]:
            if self._shown(tab):
                self.open(tab, 0 if rows > 0 else -1)
                return

    def find(self, name: str) -> None:
        """Select a setting in its tab; show all settings if it has no row."""
        tab = next(tab for tab, group in self._tabs.items() if name in [s.name for s in group])
        setting = next(s for s in self._tabs[tab] if s.name == name)
        self.shows_all = self.shows_all or not self.facts.applies(setting)
        self.open(tab)
        self.at = self.rows.index(setting)

    def _shown(self, tab: str) -> tuple[Setting, ...]:
        return tuple(s for s in self._tabs[tab] if self.shows_all or self.facts.applies(s))

    def _fill(self) -> None:
        before = self.setting
        self.rows = self._shown(self.tab)
        at = self.rows.index(before) if before in self.rows else self.at
        self.at = min(at, max(len(self.rows) - 1, 0))
