"""The process that opens the files; any file may hang or crash it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path

from rtvc.errors import RtvcError
from tests.fuzz.cases import case
from tests.fuzz.guard import READERS, Watch, examine
from tests.fuzz.seeds import SEEDS

_MEMORY = 6 * 2**30


def main(kind: str, seed: int, first: int, last: int) -> None:
    """Open the cases `first` to `last - 1`, and print a line before and after each."""
    if sys.platform == "linux":  # elsewhere excessive memory is not a MemoryError
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        os.environ["RTVC_HOME"] = str(folder / "home")
        tempfile.tempdir = str(folder / "home")
        (folder / "home").mkdir()
        watch = Watch(folder)
        path = folder / "case"
        case(kind, seed, 0)  # builds and caches the seeds
        tracemalloc.start()
        # Run the lazy imports of the readers before the watch is on.
        for plain in SEEDS[kind]():
            path.write_bytes(plain.content)
            with contextlib.suppress(RtvcError):
                READERS[plain.reader](path)
        for number in range(first, last):
            current = case(kind, seed, number)
            path.write_bytes(current.content)
            print(json.dumps({"begin": number, "name": current.name}), flush=True)
            outcome = examine(path, current.reader, watch)
            left = [*folder.iterdir(), *(folder / "home").iterdir()]
            if len(left) != 2:
                names = sorted(str(p.relative_to(folder)) for p in left)
                outcome = dataclasses.replace(
                    outcome, faults=(*outcome.faults, f"leaves {', '.join(names)}")
                )
                shutil.rmtree(folder / "home")
                (folder / "home").mkdir()
            line = {"number": number, "size": len(current.content)} | dataclasses.asdict(outcome)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
