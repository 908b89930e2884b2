"""Threads that compute with MLX, and the end of the program."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.live.demo import load_utterance
from tests.support.material import more
from tests.support.patience import measured

pytestmark = pytest.mark.slow

PROGRAM = """
import rtvc.engine
import mlx.core as mx
from rtvc.engine.worker import Worker

class Chain:
    def __init__(self):
        self.sound = mx.random.normal((300, 300))
        mx.async_eval(self.sound @ self.sound)
        mx.eval(self.sound @ self.sound)

worker = Worker(Chain)
worker.submit(lambda chain: None).result()
worker.close()
"""


def test_a_program_that_ends_right_after_its_engine_does_not_abort():
    # Without `clear_mlx_streams` most of these aborted.
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


EARLY_EXIT = """
import sys
import rtvc.engine
import mlx.core as mx
from rtvc.engine.worker import Worker

def build():
    if sys.argv[1] == "failed":
        raise ValueError
    started.set()
    for _ in range(300):
        mx.eval(mx.random.normal((30, 30)))
        repr(mx.zeros(9))

import threading
started = threading.Event()
worker = Worker(build)
(worker.ready if sys.argv[1] == "failed" else started).wait()
worker.close()
"""


NOT_STOPPED = """
import sys
from rtvc.audio.file_endpoint import FileEndpoint
from rtvc.session import Session
from rtvc.settings import Settings

session = Session(FileEndpoint(sys.argv[1], None), Settings(pitch=4, block=20))
session.start()
session.wait(0.2)
assert session.stats().state.name == "CONVERTED"
"""


@measured
def test_a_program_that_ends_without_stopping_its_session_ends_soon(tmp_path: Path):
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.tile(load_utterance(), 100), 48_000)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", NOT_STOPPED, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 4.5


@pytest.mark.parametrize("how", more(["failed", "interrupted"]))
def test_a_program_that_ends_before_its_engine_runs_does_not_abort(how: str):
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", EARLY_EXIT, how], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
