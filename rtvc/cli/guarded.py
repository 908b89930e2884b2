"""What a live run and its guard tell each other; see `rtvc.cli.guard`."""

from __future__ import annotations

import os

ENVIRONMENT = "RTVC_GUARD"
"""Set for the child: two file descriptors, and what the child before it has reported."""
_LETTERS = {b"c": "converted", b"d": "dry", b"m": "muted", b"s": "saved", b"x": "closing"}
_MODES = ("converted", "dry", "muted")
RESTART_WORDS = ("muted", "saved")
"""What a child must know about the one before it."""


def words_in(said: bytes, before: list[str]) -> list[str]:
    """Return the newest mode and the other words that were reported, in this run or `before`."""
    words = [word for word in before if word in RESTART_WORDS]
    for letter in said:
        word = _LETTERS[bytes([letter])]
        if word in _MODES:
            words = [known for known in words if known not in _MODES]
        if word not in words:
            words.append(word)
    return words


class GuardLink:
    """The connection of a live run to its guard; without a guard it does nothing.

    Attributes
    ----------
    crash
        Name of the signal that ended the run before this one, "" if there was none.
    muted
        Whether that run was muted.
    saved
        Whether it had saved its settings, so that flags are older than these.
    """

    def __init__(self) -> None:
        life, report, *words = os.environ.pop(ENVIRONMENT, "-1,-1").split(",")
        self._report = int(report)
        self.crash = words[-1] if words else ""
        self.muted, self.saved = "muted" in words, "saved" in words
        self._last = ""
        if self._report >= 0:
            for handle in (int(life), self._report):
                os.set_inheritable(handle, False)
            os.set_blocking(self._report, False)
            _end_with(int(life))

    @property
    def message(self) -> str:
        """A sentence about the crash, "" if there was none."""
        return f"rtvc has crashed ({self.crash}) and was started again." if self.crash else ""

    def report(self, word: str) -> None:
        """Report a mode, "saved" or "closing"; the guard reads it after a crash."""
        if self._report < 0 or word == self._last:
            return
        self._last = word
        letter = next(letter for letter, known in _LETTERS.items() if known == word)
        try:
            os.write(self._report, letter)
        except OSError:  # the guard has ended
            return


def _end_with(life: int) -> None:
    """End this process when the guard's end of a pipe is closed."""
    import signal
    import threading

    def wait() -> None:
        os.read(life, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="rtvc guard", daemon=True).start()
