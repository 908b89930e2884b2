"""The command ``rtvc``: a live run in a child process, which is started again if it crashes.

A segmentation fault in a library ends a process, and with it the voice. The parent is this
module: it loads nothing else, waits, and starts the child again with the same arguments. Both
are in one process group of one terminal, so Ctrl-C and Ctrl-Z reach the child directly.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from rtvc.cli.guarded import ENVIRONMENT, RESTART_WORDS, words_in

_CRASHES = (
    *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE),
    signal.SIGTRAP,  # how libraries end a program on arm64 when they find a fault of their own
)
_MOST_RESTARTS = 3
_WINDOW_S = 60.0
_NOT_LIVE = ("--demo", "--seconds", "--stats", "--help", "--version")
# Leave the alternate screen, show the cursor, end mouse, focus, paste and keyboard reports.
_RESET = (
    "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"
    "\x1b[?1004l\x1b[?2004l\x1b[?2031l\x1b[?2048l\x1b[<u\x1b[0m\r\n"
)


def main() -> int:
    """Run the command line of this process, and return the exit code."""
    # While modules are loaded Ctrl-C ends the process without Python's traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if ENVIRONMENT in os.environ or not _is_live(sys.argv[1:]):
        from rtvc.cli.leaving import leave_if_busy
        from rtvc.cli.main import main as run

        code = run()
        leave_if_busy(code)
        return code
    return _Guard().run()


def _is_live(words: list[str]) -> bool:
    """Return whether these words start a live run without an end of its own."""
    command = words[0] if words and not words[0].startswith("-") else "run"
    flags = {word.split("=")[0] for word in words}
    return command == "run" and "-h" not in flags and flags.isdisjoint(_NOT_LIVE)


class _Guard:
    """Starts the child, passes on signals, and starts it again after a crash."""

    def __init__(self) -> None:
        self._child = 0
        self._ending = False
        self._restarts: list[float] = []
        self._terminal = _Terminal()

    def run(self) -> int:
        """Return the exit code of the last child."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
            # Ignored signals, as with nohup, stay ignored here and in the child.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        # The terminal sends it to the child too, which restores the terminal and then stops.
        signal.signal(signal.SIGTSTP, lambda *_: None)
        words: list[str] = []
        while True:
            status, words = self._run_child(words)
            if not os.WIFSIGNALED(status):
                return os.waitstatus_to_exitcode(status)
            self._terminal.restore()
            number = signal.Signals(os.WTERMSIG(status))
            if number not in _CRASHES or self._ending or "closing" in words:
                return 128 + number
            if not self._may_restart():
                _say(
                    f"rtvc has crashed ({number.name}) {_MOST_RESTARTS + 1} times within a minute "
                    "and is not started again. Run 'rtvc doctor' to find out why."
                )
                return 128 + number
            _say(
                f"rtvc has crashed ({number.name}: {signal.strsignal(number)}). Starting it again."
            )
            words = [word for word in words if word in RESTART_WORDS] + [number.name]

    def _run_child(self, words: list[str]) -> tuple[int, list[str]]:
        """Run a child until it ends; return its status and the words that it has reported.

        Parameters
        ----------
        words
            What the child before has reported, and the signal that ended it.
        """
        # The child reads the end of the first pipe when this process is gone.
        life, mine = os.pipe()
        report, childs = os.pipe()
        for handle in (life, childs):
            os.set_inheritable(handle, True)
        self._child = os.posix_spawn(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            os.environ | {ENVIRONMENT: ",".join((str(life), str(childs), *words))},
            setsigdef=[signal.SIGTSTP],
        )
        os.close(life)
        os.close(childs)
        if self._ending:  # asked for while there was no child
            os.kill(self._child, signal.SIGTERM)
        status = self._wait()
        os.set_blocking(report, False)
        try:
            said = os.read(report, 1 << 16)
        except BlockingIOError:
            said = b""
        os.close(report)
        os.close(mine)
        return status, words_in(said, words)

    def _wait(self) -> int:
        """Wait for the child's end; stop and continue with it."""
        while True:
            _, status = os.waitpid(self._child, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                self._child = 0
                return status
            # By SIGSTOP the child had no time to leave the screen; a shell may need the modes.
            self._terminal.lend(screen=os.WSTOPSIG(status) == signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)

    def _may_restart(self) -> bool:
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < _WINDOW_S]
        if len(self._restarts) >= _MOST_RESTARTS:
            return False
        self._restarts.append(now)
        return True

    def _pass_on(self, number: int, _frame: object) -> None:
        self._ending = self._ending or number != signal.SIGCONT
        if self._child:
            os.kill(self._child, number)


class _Terminal:
    """The terminal as it was at the start, if there is one."""

    def __init__(self) -> None:
        import termios

        self._termios = termios
        self._screen = next((handle for handle in (2, 1) if os.isatty(handle)), None)
        self._modes = termios.tcgetattr(0) if os.isatty(0) else None

    def restore(self, *, screen: bool = True) -> None:
        """Restore the modes, and leave what a crashed program has switched on in the screen."""
        try:
            if self._modes and os.tcgetpgrp(0) == os.getpgrp():
                self._termios.tcsetattr(0, self._termios.TCSAFLUSH, self._modes)
            if screen and self._screen is not None:
                os.write(self._screen, _RESET.encode())
        except (OSError, self._termios.error):
            return

    def lend(self, *, screen: bool) -> None:
        """Restore it as `restore` does, unless that has been done."""
        try:
            if self._modes is None or self._termios.tcgetattr(0) == self._modes:
                return
        except (OSError, self._termios.error):
            return
        self.restore(screen=screen)


def _say(text: str) -> None:
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return
