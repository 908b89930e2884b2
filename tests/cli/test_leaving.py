"""The end of the program, while a thread is still busy."""

import subprocess
import sys
import time

import pytest

_PROGRAM = """
import sys, threading, time
import rtvc.cli.main
from rtvc.engine.thread_bound import ThreadBound
from rtvc.engine.thread_pool import run_in_pool
begun, kept = threading.Event(), ThreadBound(dict, "rests")
def work():
    begun.set()
    time.sleep({seconds})
run_in_pool(work, "works")
begun.wait()
rtvc.cli.main.main = lambda: print(time.time(), flush=True) or 7
from rtvc.cli.guard import main
sys.argv[1:] = ["--version"]
sys.exit(main())
"""


@pytest.mark.parametrize("seconds", [0.05, 60.0])
def test_leaving_waits_for_no_thread_that_computes(seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(seconds=seconds)],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    assert time.time() - float(done.stdout) < 3.0
