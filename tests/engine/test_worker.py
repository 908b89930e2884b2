"""Threads that compute with MLX, and the end of the program."""

import subprocess
import sys

PROGRAM = """
import rtvc.engine
import mlx.core as mx
from rtvc.engine.worker import Worker

class Chain:
    def __init__(self):
        self.sound = mx.random.normal((300, 300))
        mx.async_eval(self.sound @ self.sound)
        mx.eval(self.sound @ self.sound)

worker = Worker(Chain, lambda before, chain: None, print)
worker.start()
worker.activate(None)
worker.join()
"""


def test_a_program_that_ends_right_after_its_engine_does_not_abort():
    # Without `clear_mlx_streams` most of these aborted.
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
