"""Runs recorders and keeps what they hear, in a process of its own.

A thread that reads a hundred times a second would take its turns at the interpreter from the
program that is measured. Started by ``SoundServer.recording`` with a folder and one command
(a JSON list) for each recorder; ends when its standard input does. In the folder are then the
sound of recorder n as it came, ``n``, and ``began.json``: for every piece when the recording
had begun on the monotonic clock, judged by the moment when the piece came.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

RATE = 48_000
BYTES = 4


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for whoever started this
    folder, commands = Path(sys.argv[1]), [json.loads(text) for text in sys.argv[2:]]
    processes = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for command in commands
    ]
    began: list[list[float]] = [[] for _ in processes]
    heard = [0] * len(processes)
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
                heard[key.data] += len(data)
                began[key.data].append(now - heard[key.data] / BYTES / RATE)
    for process in processes:
        process.kill()
        process.wait()
    (folder / "began.json").write_text(json.dumps(began))


if __name__ == "__main__":
    main()
