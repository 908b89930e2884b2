"""Try every input format with every output format and several lengths.

``python -m benchmarks.formats`` takes all input formats, 10 output formats and lengths from one
sample to a minute, and prints what has not the exact length. The exit code is 1 for any.
`benchmarks.hour` does an hour.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rtvc.cli.terminal import discard_library_messages
from tests.audio.test_formats import INPUTS, OUTPUTS, check

LENGTHS = (1, 2, 479, 24_001)
LONG = 60 * 48_000 + 1


def main() -> int:
    """Try all; return the exit code."""
    cases = [(form, out, n) for form in INPUTS for out in OUTPUTS for n in LENGTHS]
    cases += [(form, OUTPUTS[i % len(OUTPUTS)], LONG) for i, form in enumerate(INPUTS)]
    wrong, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder, discard_library_messages():
        for form, extension, frames in cases:
            try:
                check(Path(folder), form, frames, extension)
            except Exception as error:
                wrong += 1
                print(f"{form}, {frames} frames, to {extension}: {error!r}", flush=True)
    print(f"{len(cases)} conversions, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
