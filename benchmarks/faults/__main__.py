"""Provoke faults through a real sound server, and judge what rtvc does by the recordings.

    python -m benchmarks.faults [--fault NAME ...] [--times N] [--json FILE]

Starts a private PulseAudio server, plays real speech without pauses into its microphone, records
microphone and speaker, and runs `rtvc run` between them. Prints a row per fault: n tries, and the
range of

    silent    seconds from the fault to silence
    told      seconds from the fault until the state or its reason changes
    sound     seconds from the end of the cause to sound
    lost      seconds of silence in all, the cause included
    before, after   measured latency in ms, the second one 2 to 4 s after the end of the cause
    alike     highest correlation of 200 ms of output with the input: above 0.9 is the dry voice
    late      blocks that rtvc counted as late

then what is not as wanted. ``--list`` prints the names. Exits with 1 if anything is not as wanted.

The machine must do nothing else. Give each of two series that run at once a processor of its own,
with ``taskset -c N``, or they make each other late.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.faults.cases import CASES
from benchmarks.faults.tries import Try
from rtvc.system.info import hardware, versions

_COLUMNS = {
    "silent": ("silent_s", 1, 2),
    "told": ("noticed_s", 1, 2),
    "sound": ("sound_s", 1, 2),
    "lost": ("lost_s", 1, 2),
    "before": ("before_ms", 1, 0),
    "after": ("after_ms", 1, 0),
    "alike": ("likeness", 1, 2),
    "late": ("late", 1, 0),
    "exit": ("exit_s", 1, 2),
}


def span(tries: list[Try], name: str, digits: int) -> str:
    """Return the range of a figure over all tries."""
    values = [t.figures.get(name) for t in tries]
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    low, high = (f"{v:.{digits}f}" for v in (min(known), max(known)))
    text = low if low == high else f"{low} to {high}"
    missing = len(values) - len(known)
    return f"{text} ({missing} never)" if missing else text


def row(title: str, tries: list[Try]) -> str:
    """Return the row of a fault as Markdown."""
    cells = [span(tries, name, digits) for name, _, digits in _COLUMNS.values()]
    bad = sum(bool(t.problems) for t in tries)
    verdict = "yes" if not bad else f"{len(tries) - bad} of {len(tries)}"
    return f"| {title} | {len(tries)} | {' | '.join(cells)} | {verdict} |"


def header() -> str:
    """Return the head of the table."""
    names = ["fault", "n", *_COLUMNS, "as wanted"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def as_dict(attempt: Try) -> dict[str, Any]:
    """Return a try for the JSON file."""
    return attempt.figures | {"problems": attempt.problems}


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fault", action="append", choices=CASES, metavar="NAME")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the tries to this file")
    parser.add_argument("--list", action="store_true", help="print the names of the faults")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{name:22} {case.title}" for name, case in CASES.items()))
        return 0
    # A background job of a shell ignores it, and so would the programs that are started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    machine = {"hardware": hardware(), "versions": versions()}
    print(json.dumps(machine))
    print(header(), flush=True)
    failed = []
    for name in args.fault or CASES:
        began = time.monotonic()
        try:
            tries = CASES[name].run(args.times)
        except Exception as error:
            tries = [Try(0.0, 0.0, 0.0, problems=[f"{type(error).__name__}: {error}"])]
        print(row(CASES[name].title, tries), flush=True)
        bad = [t for t in tries if t.problems]
        failed += bad
        for attempt in bad:
            print(f"    {name}: {'; '.join(attempt.problems)}", flush=True)
        told = dict.fromkeys(t.figures.get("told", "") for t in tries)
        print(f"    told: {list(filter(None, told))}", flush=True)
        if args.json:
            with args.json.open("a") as file:
                for attempt in tries:
                    file.write(json.dumps({"fault": name} | as_dict(attempt), default=float) + "\n")
        print(f"    {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
