"""Opens thousands of damaged and hostile files and counts the outcomes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.cases import KINDS
from tests.fuzz.guard import CONSTANT_BYTES, FACTOR
from tests.fuzz.runner import Report, run, write_case


def main() -> int:
    """Run the command; return 1 if any case has a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first case (default: 0)"
    )
    parser.add_argument("--write", type=Path, help="only write the first case to this file")
    options = parser.parse_args()
    if options.write:
        print(write_case(options.write, options.kind, options.seed, options.first))
        return 0
    report = run(options.kind, options.cases, options.seed, options.first)
    _print(report)
    return 1 if report.faults else 0


def _print(report: Report) -> None:
    print(f"{report.cases} cases, {len(report.messages)} distinct outcomes")
    for message, count in report.messages.most_common():
        print(f"{count:7d}  {message}")
    print(f"longest: {report.seconds[0]:.2f} s of CPU time (case {report.seconds[1]})")
    for name, (size, number) in (("objects", report.allocated), ("process", report.resident)):
        print(
            f"largest growth of {name} beyond {FACTOR} times the file: {size / 2**20:.2f} MiB of "
            f"{CONSTANT_BYTES / 2**20:.2f} (case {number})"
        )
    for number, name, fault in report.faults:
        print(f"FAULT in case {number} ({name}): {fault}")
    print(f"{len(report.faults)} faults")


if __name__ == "__main__":
    sys.exit(main())
