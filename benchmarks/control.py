"""How late the thread of the highest priority wakes up on each processor: a control.

Nothing that rtvc does can delay it, so where it is late, the hypervisor had the processor, or the
kernel. `Control` runs it in processes of its own, which takes half a percent of each processor:

    python -IS control.py PROCESSOR FILE
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

LEAST_S = 0.010
"""Least time in seconds that must be lost: a usual period of a device."""
_NOTED_S = 0.001
"""Least delay that is noted, in seconds."""
_TOGETHER_S = 0.020
"""Time between two delays that belong together: a hypervisor takes a processor in pieces."""
AFTER_S = 2.0
"""Time for which a delay may make something late after its end."""
_SLEEP_S = 0.003


@dataclass(frozen=True, slots=True)
class Delay:
    """A time in which no thread ran on a processor, or at times only.

    Attributes
    ----------
    began, ended
        Its begin and end in seconds on the monotonic clock.
    seconds
        For how much of it no thread ran.
    """

    began: float
    ended: float
    seconds: float

    def explains(self, before: float, after: float) -> bool:
        """Return whether it may be the cause of what happened between two times."""
        return self.began < after and before < self.ended + AFTER_S


class Control:
    """Watches the processors of this process while it is entered. On Linux.

    Attributes
    ----------
    allowed
        Whether all processes got the highest real-time priority. Without it their delays say
        nothing, and there are none.
    processes
        One for each processor.
    """

    def __init__(self) -> None:
        self.allowed = True
        self._folder = tempfile.TemporaryDirectory(prefix="rtvc-control-")
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Control:
        for processor in sorted(os.sched_getaffinity(0)):
            words = [__file__, str(processor), str(Path(self._folder.name, str(processor)))]
            process = subprocess.Popen([sys.executable, "-IS", *words], stdout=subprocess.PIPE)
            self.processes.append(process)
            assert process.stdout is not None
            self.allowed &= process.stdout.readline() == b"allowed\n"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self._folder.cleanup()

    def delays(self) -> list[Delay]:
        """Return the delays of all processors up to now, in order."""
        if not self.allowed:
            return []
        found = []
        for file in Path(self._folder.name).iterdir():
            # The last line may not be complete.
            lines = file.read_text().split("\n")[:-1]
            found += joined(
                [(float(began), float(ended)) for began, ended in map(str.split, lines)]
            )
        return sorted(found, key=lambda delay: delay.began)


def joined(times: list[tuple[float, float]]) -> list[Delay]:
    """Return the delays that single ones are parts of, without those that lose too little.

    Parameters
    ----------
    times
        Begin and end of each delay of one processor, in order.
    """
    found: list[Delay] = []
    for began, ended in times:
        if found and began < found[-1].ended + _TOGETHER_S:
            last = found.pop()
            found.append(Delay(last.began, ended, last.seconds + ended - began))
        else:
            found.append(Delay(began, ended, ended - began))
    return [delay for delay in found if delay.seconds >= LEAST_S]


def lateness(delays: list[Delay], began: float) -> dict[str, object]:
    """Return when the delays began, in seconds after `began`, and how long the longest was."""
    return {
        "late at s": [round(delay.began - began, 1) for delay in delays],
        "longest ms": round(1000 * max((delay.seconds for delay in delays), default=0.0), 1),
    }


def main() -> None:
    """Note each delay in a file, and say first whether the priority is allowed."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    allowed = True
    try:
        highest = os.sched_get_priority_max(os.SCHED_FIFO)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(highest))
    except PermissionError:
        allowed = False
    print("allowed" if allowed else "refused", flush=True)
    if not allowed:
        return
    with contextlib.suppress(KeyboardInterrupt), Path(sys.argv[2]).open("a", buffering=1) as file:
        while True:
            due = time.monotonic() + _SLEEP_S
            time.sleep(_SLEEP_S)
            now = time.monotonic()
            if now - due >= _NOTED_S:
                file.write(f"{due:.4f} {now:.4f}\n")


if __name__ == "__main__":
    main()
