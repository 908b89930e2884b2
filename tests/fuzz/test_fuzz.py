"""Damaged and hostile files: a short fuzz run, and tests of the fault detection."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtvc.engine.rvc.retrieval import load_index
from rtvc.engine.weights.recognise import recognise
from rtvc.errors import RtvcError
from tests.fuzz import runner
from tests.fuzz.cases import KINDS, case
from tests.fuzz.guard import READERS
from tests.fuzz.hostile import HOSTILE
from tests.fuzz.seeds import SEEDS
from tests.support.material import more
from tests.support.processes import started

pytestmark = pytest.mark.slow


@pytest.mark.thorough
@pytest.mark.parametrize("cases", more([40, 120]))
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_read_or_refused_with_a_message(kind, cases):
    first = len(SEEDS[kind]()) + len(HOSTILE[kind]())
    report = runner.run(kind, cases, seed=0, first=first)
    assert report.faults == []
    assert report.cases == cases
    assert len(report.messages) > 4
    assert 0 < report.messages["read"] < cases / 2


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_deterministic(kind):
    number = len(SEEDS[kind]()) + len(HOSTILE[kind]()) + 7
    first = case(kind, 3, number)
    assert first == case(kind, 3, number)
    assert first != case(kind, 4, number)


REFUSED_SEEDS = {"training checkpoint": "sample rate", "trained_": "is empty"}


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_valid(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    for seed in SEEDS[kind]():
        path = tmp_path / "seed"
        path.write_bytes(seed.content)
        messages = [text for name, text in REFUSED_SEEDS.items() if seed.name.startswith(name)]
        if messages:
            with pytest.raises(RtvcError, match=messages[0]):
                READERS[seed.reader](path)
        else:
            READERS[seed.reader](path)


READ = "^$"
MANY_STEPS, MANY_BYTES = "steps, too many for its size", "far larger than the data in the file"
FINDINGS = {
    # memory proportional to a number in the file instead of to its size
    "memo of everything (zip)": MANY_STEPS,
    "lists (zip)": MANY_STEPS,
    "dictionaries (legacy)": MANY_STEPS,
    "tuples of one (zip)": MANY_STEPS,
    "wide text (zip)": MANY_STEPS,
    "many wide texts (zip)": "large|steps|voice",
    "overlapping views": MANY_BYTES,
    "bfloat16 transposed": MANY_BYTES,
    "one tensor with many names": "content|missing",
    "one large pair": "missing",
    "only a directory": "directory is far too large",
    "more members than declared": "directory is far too large",
    "header of lists": "header is far too large",
    "header of objects": "header is far too large",
    "many lists": "more lists than vectors",
    "a width of 2**16": "65536 dimensions",
    "many members": "far too large",
    # a codec that the file selects
    "a header in UTF-16": "header is damaged",
    "a header in UTF-32": "header is damaged",
    # time proportional to a product of numbers in the file
    "rmvpe of many levels times blocks": "far too large|more layers",
    "rmvpe of many deep": "far too large|more layers",
    "a direct map whose keys collide": "direct map does not match",
    "many small bombs": "times its size",
    "many voices": READ,
    # errors without a message
    "tensor as version": READ,
    "tensor as setting 9": "residual blocks",
    "huge number as setting 8": READ,
    "tensor as mel sr": "its front end has sr",
    "zip64 of 2**62": "damaged|too large|more than",
}


def test_earlier_findings_are_among_the_hostile_files():
    assert set(FINDINGS) <= {file.name for kind in KINDS for file in HOSTILE[kind]()}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_are_read_or_refused_with_a_message(kind):
    """In a process of their own, as memory and processor time are counted for a whole process."""
    count = len(HOSTILE[kind]())
    report = runner.run(kind, count, seed=0, first=len(SEEDS[kind]()))
    assert report.faults == []
    assert len(report.outcomes) == count
    earlier = [outcome for outcome in report.outcomes if outcome[0] in FINDINGS]
    assert earlier
    for name, message in earlier:
        assert re.search(FINDINGS[name], message), (name, message)


def test_pipes_are_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    for reader in (recognise, load_index):
        with pytest.raises(RtvcError, match="not an ordinary file"):
            reader(tmp_path / "pipe.pth")


HARM = """
import json, os, socket, sys, tempfile, tracemalloc
from pathlib import Path
from tests.fuzz import guard
folder = Path(sys.argv[1])
path = folder / "case"
path.write_bytes(b"x")
def reading(path):
    path.read_bytes()
def flat(message):
    def reader(path):
        raise guard.RtvcError(message)
    return reader
guard.READERS |= {
    "read": reading,
    "system": lambda p: os.system("true"),
    "fork": lambda p: os.fork(),
    "write": lambda p: open("/dev/shm-owned", "w"),
    "other": lambda p: (p.parent / "other").write_text("x"),
    "secret": lambda p: open("/etc/passwd").read(),
    "connect": lambda p: socket.socket(),
    "import": lambda p: __import__("colorsys"),
    "eval": lambda p: eval("1 + 1"),
    "remove": lambda p: os.remove("/nothing-of-that-name"),
    "fill": lambda p: bytearray(32 * 2**20),
    "crash": lambda p: {}["x"],
    "lines": flat("a\\nb."),
    "long": flat("a" * 700 + "."),
    "sentence": flat("It is damaged."),
}
watch = guard.Watch(folder)
tracemalloc.start()
for name in sys.argv[2:]:
    print(json.dumps([name, guard.examine(path, name, watch).faults]), flush=True)
"""


def test_the_watch_detects_harmful_actions(tmp_path):
    harms = {
        "system": "does os.system",
        "fork": "does os.fork",
        "write": "does open ('/dev/shm-owned'",
        "other": "does open",
        "secret": "does open ('/etc/passwd'",
        "connect": "does socket.__new__",
        "import": "does import ('colorsys'",
        "eval": "does compile",
        "remove": "does os.remove",
        "fill": "objects grow by 32.0 MiB",
        "crash": "raises KeyError",
        "lines": "reports ",
        "long": "reports ",
    }
    names = ["read", *harms, "sentence"]
    done = subprocess.run(
        [sys.executable, "-c", HARM, str(tmp_path), *names],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    faults = dict(json.loads(line) for line in done.stdout.splitlines())
    assert list(faults) == names, done.stderr
    assert faults.pop("read") == faults.pop("sentence") == []
    for name, fault in harms.items():
        assert any(found.startswith(fault) for found in faults[name]), (name, faults[name])


CRASHING = """
import json, os, sys, time
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    print(json.dumps({"begin": number, "name": f"case {number}"}), flush=True)
    if number == 1:
        os.abort()
    if number == 3:
        time.sleep(60)
    print(json.dumps({"number": number, "size": 1, "message": "", "faults": [], "seconds": 0.1,
                      "allocated": 9, "resident": 2}), flush=True)
"""


@pytest.mark.thorough
def test_crashes_and_hangs_are_reported(monkeypatch):
    def worker(kind, seed, first, last):
        command = [sys.executable, "-c", CRASHING, str(first), str(last)]
        return started(command, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(runner, "_worker", worker)
    monkeypatch.setattr(runner, "_TIMEOUT_S", 3.0)
    report = runner.run("voices", 6, seed=0)
    assert (report.cases, report.messages["read"]) == (6, 4)
    assert report.faults == [(1, "case 1", "ends the process (code -6)"), (3, "case 3", "hangs")]
