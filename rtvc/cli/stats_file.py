"""The file of ``--stats``: written during the run, so that a killed run leaves it too."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli.run_report import as_json, run_report
from rtvc.config.paths import write_atomically
from rtvc.errors import RtvcError, escaped

if TYPE_CHECKING:
    from rtvc.live.device_session import DeviceSession

PERIOD_S = 5.0


class StatsFile:
    """Writes the report of a session every few seconds, and once more at the end.

    Parameters
    ----------
    path
        The file; None to write nothing.
    session
        The session.
    """

    def __init__(self, path: Path | None, session: DeviceSession) -> None:
        self._path, self._session = path, session
        self._began = time.monotonic()
        self._due = self._began + PERIOD_S / 2
        self._failure = ""

    def take_message(self) -> str:
        """Write the file if it is due; return why that fails, once, "" otherwise."""
        now = time.monotonic()
        if self._path is None or now < self._due:
            return ""
        self._due = now + PERIOD_S
        before = self._failure
        try:
            self._write(now - self._began, ended=False)
            self._failure = ""
        except RtvcError as error:
            self._failure = f"The statistics are not written. {error}"
        return self._failure if self._failure != before else ""

    def finish(self, elapsed_s: float) -> str:
        """Write the file for the last time; return a message about it, "" without a file.

        Raises
        ------
        RtvcError
            If it cannot be written.
        """
        if self._path is None:
            return ""
        self._write(elapsed_s, ended=True)
        return f"Wrote the statistics to {escaped(str(self._path))}."

    def _write(self, elapsed_s: float, *, ended: bool) -> None:
        assert self._path is not None
        session = self._session
        report = run_report(
            session.session.settings,
            session.session.stats(),
            elapsed_s,
            session.devices.described(),
            session.measured,
            ended=ended,
        )
        write_atomically(self._path, as_json(report))
