"""Two runs on one output are reported; files of runs that have ended are not."""

import os
import subprocess
import sys

import pytest

from rtvc.live.other_runs import claim_output

HOLD = """
import sys
from rtvc.live.other_runs import claim_output
with claim_output(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    return tmp_path / "running"


def test_another_run_on_the_same_output_is_reported(folder):
    words = [sys.executable, "-c", HOLD, "Speakers"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with claim_output("Speakers") as warning:
            assert warning == (
                f"Another rtvc (process {other.pid}) plays on the output 'Speakers' too, so both "
                "voices are heard. End one of them."
            )
        with claim_output("Headphones") as warning:
            assert warning == ""
        other.kill()
    assert [path.name for path in folder.iterdir()] == [str(other.pid)]
    with claim_output("Speakers") as warning:
        assert warning == "", "a file that was left behind is no obstacle"
    assert not list(folder.iterdir())


def test_the_name_of_a_device_need_not_be_in_the_encoding_of_the_system():
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = [sys.executable, "-c", HOLD.replace("sys.argv[1]", "'Kopfh\\xf6rer'")]
    with subprocess.Popen(
        words,
        env=os.environ | ascii_only,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with claim_output("Kopfhörer") as warning:
            assert "plays on the output 'Kopfhörer' too" in warning


def test_on_a_full_disk_nothing_is_claimed(folder):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    done = subprocess.run(
        [sys.executable, "-c", full + HOLD, "Speakers"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
    with claim_output("Speakers") as warning:
        assert warning == ""
    assert not list(folder.iterdir())


def test_where_nothing_can_be_written_nothing_is_claimed(folder):
    folder.write_text("a file")
    with claim_output("") as warning:
        assert warning == ""
