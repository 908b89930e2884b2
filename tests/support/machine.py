"""How much the machine gives to the tests, apart from what rtvc does with it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MAX_STOLEN = 0.03
"""Share of the processors' time that a hypervisor may give to other machines."""
MAX_WAITING = 0.25
"""Share of its time for which a program that computes may wait for a processor."""
MAX_WORK_S = 0.4
"""Processor time for `_WORK`: two to three times that of a computer of the year 2020."""

_WORK = """
import time
wall, processor, total = time.perf_counter(), time.process_time(), 0
for number in range(3_000_000):
    total += number
print(time.perf_counter() - wall, time.process_time() - processor)
"""
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class ProcessorTimes:
    """Times of all processors since the start of the machine, in ticks; 0 where unknown."""

    total: int
    stolen: int

    def stolen_since(self, before: ProcessorTimes) -> float:
        """Return the share of the time since `before` that other machines got."""
        return (self.stolen - before.stolen) / max(self.total - before.total, 1)


def processor_times() -> ProcessorTimes:
    """Read the times of all processors; on Linux only."""
    if not _STAT.exists():
        return ProcessorTimes(0, 0)
    fields = _STAT.read_text().splitlines()[0].split()[1:9]
    times = [int(field) for field in fields]
    return ProcessorTimes(sum(times), times[7])


def what_holds_it_up(before: ProcessorTimes) -> str:
    """Return what kept the tests from the processors since `before`, "" if nothing did.

    Two programs compute at the same time, as a live run and the sound server do. They take about
    half a second. Where other tests run at the same time, what waits for those is not held up: it
    fails, and can be run alone.
    """
    stolen = processor_times().stolen_since(before)
    if stolen > MAX_STOLEN:
        return f"other machines took {stolen:.0%} of the processors' time"
    count = min(2, os.cpu_count() or 1)
    programs = [
        subprocess.Popen([sys.executable, "-c", _WORK], stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    times = [tuple(map(float, program.communicate()[0].split())) for program in programs]
    waiting = max(1 - processor / wall for wall, processor in times)
    if waiting > MAX_WAITING and "PYTEST_XDIST_WORKER" not in os.environ:
        return f"a program that computes waits for a processor {waiting:.0%} of its time"
    slowest = max(processor for _, processor in times)
    if slowest > MAX_WORK_S:
        return f"fixed work takes {slowest:.2f} s of processor time, over {MAX_WORK_S} s"
    return ""
