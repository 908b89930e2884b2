"""Serve timed steps of a program that runs on PyTorch; for the workers of side_by_side.py.

A worker runs in an environment of that program, as ``python -m benchmarks.NAME_worker``. The first
request is a JSON object, whose reply has facts about the program. Each further line is a request
for one step; the reply has its time in seconds, total and by stages. A program that cannot be
imported is answered with ``{"error": SENTENCE}``. Nothing here imports rtvc.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

Step = Callable[[], dict[str, Any]]
_WARM_STEPS = 3


def serve(prepare: Callable[[dict[str, Any]], tuple[Step, dict[str, Any]]]) -> None:
    """Answer requests until the input ends.

    Parameters
    ----------
    prepare
        Returns a step and facts about the program for the first request. PyTorch has the number
        of threads that the request asks for, and a fixed random seed.
    """
    # The programs print to standard output, so the replies need another descriptor.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    try:
        import torch

        torch.set_num_threads(request["threads"])
        torch.manual_seed(0)
        step, facts = prepare(request)
    except ImportError as error:
        sentence = f"{sys.executable} cannot run it ({error}): install what is missing there."
        print(json.dumps({"error": sentence}), file=replies, flush=True)
        return
    for _ in range(_WARM_STEPS):
        step()
    print(json.dumps({"torch": torch.__version__} | facts), file=replies, flush=True)
    for _ in sys.stdin:
        print(json.dumps(step()), file=replies, flush=True)


class StageTimer:
    """Times functions of a program; on the CPU their work is complete when they return."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def wrap_step(self, owner: Any, name: str) -> None:
        """Take ``owner.name`` as the whole step."""
        self.wrap(owner, name, "processor time", time.process_time)
        self.wrap(owner, name, "total")

    def wrap(
        self, owner: Any, name: str, stage: str, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Add the time of each call of ``owner.name`` to a stage."""
        real = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = clock()
            try:
                return real(*args, **kwargs)
            finally:
                self._seconds[stage] += clock() - began

        setattr(owner, name, timed)

    def reply(self) -> dict[str, Any]:
        """Return the reply to a request for a step, with all times since the last one.

        "processor time" is that of all threads of the process, "rest" what the stages leave.
        """
        stages = dict(self._seconds)
        self._seconds.clear()
        whole = {name: stages.pop(name) for name in ("total", "processor time")}
        stages["rest"] = whole["total"] - sum(stages.values())
        return {**whole, "stages": stages}
