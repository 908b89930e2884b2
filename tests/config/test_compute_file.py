"""The file with the chosen device: damaged and hostile content, and several programs at once."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtvc.config import paths
from rtvc.config.compute_file import VerdictFile, compute_path, load_device, save_device
from rtvc.config.paths import one_writer
from rtvc.errors import RtvcError

_MANY = """
import sys
from rtvc.config import paths
from rtvc.config.compute_file import VerdictFile, save_device
paths._LOCK_LIMIT_S = 60.0
print("ready", flush=True)
sys.stdin.readline()
for number in range(9):
    VerdictFile().save(f"{sys.argv[1]} {number}", {"passed": True})
if sys.argv[1] == "first":
    save_device("cpu")
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path))


def test_two_programs_that_write_at_once_lose_nothing():
    save_device("gpu")
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        program.communicate()
        assert program.returncode == 0
    assert load_device() == "cpu"
    found = json.loads(compute_path().read_text())["self-tests"]
    assert len(found) == 18
    assert set(os.listdir(compute_path().parent)) == {"compute.json"}


def test_threads_that_change_different_parts_lose_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths, "_LOCK_LIMIT_S", 60.0)  # not what a busy machine exceeds

    def devices() -> None:
        for number in range(10):
            save_device(("cpu", "gpu")[number % 2])

    changing = threading.Thread(target=devices)
    changing.start()
    for number in range(10):
        VerdictFile().save(f"key {number}", {"number": number})
    changing.join()
    assert load_device() == "gpu"
    assert all(VerdictFile().load(f"key {number}") for number in range(10))


def test_a_program_that_keeps_the_lock_delays_but_does_not_prevent(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(paths, "_LOCK_LIMIT_S", 0.05)
    with one_writer(compute_path().parent):
        save_device("cpu")
    assert load_device() == "cpu"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4096,
        b"\xff\xfe{",
        b'{"device": "cpu"',
        b"[" * 100_000,
        b"9" * 100_000,
        b'{"device": ["cpu"], "self-tests": [1]}',
        b'{"device": "cuda", "self-tests": {"key": "passed"}}',
        b'{"device": NaN, "self-tests": {"\\ud800": {"passed": true}}}',
        b'["' + b"x" * (2 << 20) + b'"]',
        b"null",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_hostile_content_counts_as_empty_and_is_replaced(content: bytes):
    compute_path().write_bytes(content)
    assert load_device() == ""
    assert VerdictFile().load("key") is None
    VerdictFile().save("key", {"passed": True})
    save_device("cpu")
    assert (load_device(), VerdictFile().load("key")) == ("cpu", {"passed": True})


def test_what_is_no_file_is_not_waited_for():
    os.mkfifo(compute_path())
    assert load_device() == ""
    VerdictFile().save("key", {"passed": True})
    assert VerdictFile().load("key") == {"passed": True}
    compute_path().unlink()
    compute_path().mkdir()
    assert load_device() == ""
    VerdictFile().save("key", {})  # must not raise
    with pytest.raises(RtvcError, match=r"compute\.json cannot be written"):
        save_device("cpu")


@contextmanager
def full_disk() -> Iterator[None]:
    """Let files have no content, as on a disk without space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_without_space_the_file_before_stays():
    save_device("cpu")
    with full_disk():
        VerdictFile().save("key", {"passed": True})
        with pytest.raises(RtvcError, match=r"compute\.json cannot be written: File too large\."):
            save_device("gpu")
    assert load_device() == "cpu"
    assert os.listdir(compute_path().parent) == ["compute.json"]
