"""Run recording programs and store their output, in a separate process.

A thread that reads a hundred times per second would compete for the interpreter lock with the
program under test. ``SoundServer.recording`` starts this with a folder and one command (a JSON
list) per recorder; it ends when its standard input is closed. The folder then contains the raw
samples of recorder n in the file ``n``, and ``began.json``: for each piece, the start time of the
recording on the monotonic clock, estimated from the arrival of the piece.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

RATE = 48_000
BYTES = 4


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    folder, commands = Path(sys.argv[1]), [json.loads(text) for text in sys.argv[2:]]
    # Only now: the start of the interpreter would keep another program's step from its processor.
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    processes = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for command in commands
    ]
    began: list[list[float]] = [[] for _ in processes]
    received = [0] * len(processes)
    files = [(folder / str(i)).open("wb", buffering=0) for i in range(len(processes))]
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for i, process in enumerate(processes):
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            selector.register(process.stdout, selectors.EVENT_READ, i)
        print("ready", flush=True)
        ended = False
        while not ended:
            for key, _ in selector.select():
                if key.data is None:
                    ended = True
                    continue
                data = os.read(key.fd, 1 << 16)
                now = time.monotonic()
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                files[key.data].write(data)
                received[key.data] += len(data)
                began[key.data].append(now - received[key.data] / BYTES / RATE)
    for process in processes:
        process.kill()
        process.wait()
    (folder / "began.json").write_text(json.dumps(began))


if __name__ == "__main__":
    main()
