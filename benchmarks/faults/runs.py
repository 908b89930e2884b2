"""Runs of rtvc in which a fault is tried: several times in one run, or a run for each try."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable

import soundfile

from benchmarks.calibrated import install
from benchmarks.faults import judge
from benchmarks.faults.provoke import Provoke, nothing
from benchmarks.faults.rig import TWO_STREAMS, Rig
from benchmarks.faults.tries import SETTLE_S, Try, Wanted, judge_try, measure
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from tests.support.library_files import V1_32K
from tests.support.sound_server import MICROPHONE_SINK, SPEAKER_SINK


def spoken(log: list[Try], rig: Rig, wanted: Wanted, most: float = 1.0, sink: str = "") -> None:
    """Measure and judge tries from the recordings."""
    tapes = rig.finish()
    for attempt in log:
        measure(attempt, tapes[MICROPHONE_SINK], tapes[sink or SPEAKER_SINK], most)
        judge_try(attempt, wanted)


def repeated(
    provoke: Provoke,
    wanted: Wanted,
    *words: str,
    settle: float = SETTLE_S,
    most: float = 1.0,
    each: int = 20,
    prepare: Callable[[Rig], None] = lambda rig: None,
) -> Callable[[int], list[Try]]:
    """Return what tries a fault several times, at most `each` times within one run of rtvc."""

    def run(times: int) -> list[Try]:
        tries: list[Try] = []
        while len(tries) < times:
            tries += run_once(min(each, times - len(tries)))
        return tries

    def run_once(times: int) -> list[Try]:
        tries = []
        with Rig() as rig:
            prepare(rig)
            rig.start_program(*words)
            for _ in range(times):
                began, gone = provoke(rig)
                time.sleep(max(0.0, gone + settle - time.monotonic()))
                tries.append(Try(began, gone, gone + settle))
                if rig.program.poll() is not None:
                    tries[-1].problems.append(f"the program ended: {rig.output()[-300:]}")
                    break
            time.sleep(0.3)
            log = rig.log()
            rig.end_program()
            for attempt in tries:
                attempt.log = log
            spoken(tries, rig, wanted, most)
        return tries

    return run


# Ways in which the program ends, or starts.


def ended(number: int, wanted: Wanted, before: Provoke = nothing) -> Callable[[int], list[Try]]:
    """Return what ends the program with a signal, after `before`."""

    def run(times: int) -> list[Try]:
        tries = []
        for _ in range(times):
            with Rig() as rig:
                rig.start_program()
                before(rig)
                began = time.monotonic()
                took = rig.end_program(number)
                log = rig.log()
                time.sleep(0.3)
                attempt = Try(began, time.monotonic(), time.monotonic() + 0.1, log)
                code = rig.program.returncode
                attempt.figures |= {"exit_s": took, "exit_code": code}
                spoken([attempt], rig, wanted)
                tries.append(attempt)
        return tries

    return run


def hung_start(times: int) -> list[Try]:
    """Start while the server hangs: it has to be said after 2 s, and Ctrl-C has to end it."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            rig.stop_server()
            began = time.monotonic()
            rig.start_program(wait=False)
            time.sleep(4.0)
            said = rig.output()
            took = rig.end_program(signal.SIGINT, 5.0)
            attempt = Try(began, began, began, rig.log())
            attempt.figures |= {"exit_s": took, "exit_code": rig.program.returncode, "told": said}
            if not said.strip():
                attempt.problems.append("nothing said within 4 s")
            judge_try(attempt, Wanted(sound_s=None, latency_ms=None, exit_s=1.0))
            tries.append(attempt)
    return tries


def late_devices(times: int) -> list[Try]:
    """Start without a server; it comes after 4 s."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            rig.kill_server()
            began = time.monotonic()
            rig.start_program(wait=False)
            time.sleep(4.0)
            rig.restart_server()
            gone = time.monotonic()
            time.sleep(SETTLE_S + 3.0)
            attempt = Try(began, gone, time.monotonic(), rig.log())
            if rig.program.poll() is not None:
                attempt.problems.append(f"the program ended with {rig.program.returncode}")
            attempt.figures["told"] = rig.output()
            rig.end_program()
            spoken([attempt], rig, Wanted(sound_s=2.0, latency_ms=None))
            tries.append(attempt)
    return tries


def gone_voice(times: int) -> list[Try]:
    """Start where the remembered voice is missing: muted, and it is said which voice."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            began = time.monotonic()
            variables = {"RTVC_CONFIG_DIR": str(rig.folder / "remembered")}
            (rig.folder / "remembered").mkdir()
            (rig.folder / "remembered" / "remembered.yaml").write_text("voice: Anna\npitch: 0\n")
            rig.start_program(preset=(), wait=False, environment=variables)
            time.sleep(6.0)
            attempt = Try(began, began, time.monotonic(), rig.log())
            said = rig.output() + str([line["reason"] for line in attempt.log[-1:]])
            attempt.figures["told"] = said
            rig.end_program()
            spoken([attempt], rig, Wanted(sound_s=None, latency_ms=None))
            if attempt.figures["lost_s"] < 5.5:
                attempt.problems.append("there is sound")
            if "Anna" not in said:
                attempt.problems.append("the voice is not named")
            tries.append(attempt)
    return tries


def dry_preset(times: int) -> list[Try]:
    """Start with a preset that says ``mode: dry``: not one dry sample."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            file = rig.folder / "mine.yaml"
            file.write_text("description: mine\npitch: -5\nmode: dry\n")
            began = time.monotonic()
            rig.start_program(preset=("--preset", str(file)), wait=False)
            time.sleep(5.0)
            attempt = Try(began, began, time.monotonic(), rig.log())
            attempt.figures["told"] = rig.output()
            rig.end_program()
            spoken([attempt], rig, Wanted(sound_s=None, latency_ms=None))
            tries.append(attempt)
    return tries


def two_instances(times: int) -> list[Try]:
    """Two programs at once: both play, neither is late."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            rig.start_program()
            began = time.monotonic()
            rig.start_program()
            time.sleep(4.0)
            for number in (0, 1):
                log = rig.log(number)
                attempt = Try(began + 4.0 * number, began, time.monotonic(), log)
                tries.append(attempt)
            outputs = rig.output(1)
            rig.end_program()
            spoken(tries[-2:], rig, Wanted(sound_s=None, latency_ms=None, late=0))
            tries[-1].figures["told"] = outputs
    return tries


def feedback(times: int) -> list[Try]:
    """Feed the speaker to the microphone at a gain above 1: ducked and said within 1 s."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            rig.start_program("--output-gain", "0", preset=("--preset", "deep"))
            # A loop of some 300 ms through the server, with gain.
            loop = ["module-loopback", f"source={SPEAKER_SINK}.monitor", f"sink={MICROPHONE_SINK}"]
            number = rig.pactl("load-module", *loop, "latency_msec=20", "source_dont_move=true")
            inputs = rig.pactl("list", "short", "sink-inputs").split("\n")
            loops = [line.split()[0] for line in inputs if "loopback" in line or "\t-\t" in line]
            for loop_input in loops:
                rig.pactl("set-sink-input-volume", loop_input, "+8dB")
            began = time.monotonic()
            time.sleep(6.0)
            rig.pactl("unload-module", number.strip())
            gone = time.monotonic()
            time.sleep(SETTLE_S + 2.0)
            attempt = Try(began, gone, time.monotonic(), rig.log())
            rig.end_program()
            tapes = rig.finish()
            # A loop that is stopped has little level; one that howls has the limiter's.
            level = judge.level_db(tapes[SPEAKER_SINK], gone - 2.0, gone)
            attempt.figures["level_db"] = level
            wanted = Wanted(sound_s=2.0, latency_ms=None, noticed_s=4.0, dry=False)
            measure(attempt, tapes[MICROPHONE_SINK], tapes[SPEAKER_SINK])
            judge_try(attempt, wanted)
            if level > -12.0:
                attempt.problems.append(f"howls at {level:.0f} dBFS")
            tries.append(attempt)
    return tries


def recorded(cut: str) -> Callable[[int], list[Try]]:
    """Return what ends a recording early, by a full ``disk`` or a ``kill``: what was said is kept.

    The recording may lack its last half second.
    """

    def run(times: int) -> list[Try]:
        tries = []
        for _ in range(times):
            with Rig() as rig:
                rig.start_program("--record", "talk.wav")
                began = time.monotonic()
                if cut == "disk":
                    rig.command("full_disk", 0)
                    time.sleep(4.0)
                else:
                    os.kill(rig.pid, signal.SIGKILL)
                    time.sleep(0.5)
                attempt = Try(began, began, time.monotonic(), rig.log())
                first = next(line["t"] for line in attempt.log if line["state"] == "converted")
                said = rig.output()
                rig.end_program()
                files = [file.name for file in rig.program_folder.glob("*.wav")]
                attempt.figures |= {"told": said, "files": files}
                kept = 0.0
                if files == ["talk.wav"]:
                    kept = float(soundfile.info(rig.program_folder / "talk.wav").duration)
                attempt.figures["missing_s"] = began - first - kept
                if began - first - kept > 0.5:
                    attempt.problems.append(f"{began - first - kept:.1f} s are missing: {files}")
                if cut == "disk" and "record" not in said.split("converted", 1)[-1].lower():
                    attempt.problems.append("nothing said")
                wanted = Wanted(sound_s=1.0) if cut == "disk" else Wanted(None, latency_ms=None)
                spoken([attempt], rig, wanted)
                tries.append(attempt)
        return tries

    return run


def switched_voices(*words: str) -> Callable[[int], list[Try]]:
    """Return what switches 60 times in a minute between two small RVC voices and the built-in one.

    rtvc starts with `words`.
    """

    def run(times: int) -> list[Try]:
        tries = []
        for _ in range(times):
            with Rig() as rig, tempfile.TemporaryDirectory() as home:
                os.environ["RTVC_HOME"] = home
                install("Small")
                add_voice(FoundVoice(V1_32K, None, "Other"))
                rig.start_program(*words)
                began = rig.command("voices", ["Small", "world", "Other"], 60, 60.0)
                time.sleep(61.0)
                gone = time.monotonic()
                time.sleep(SETTLE_S)
                attempt = Try(began, gone, time.monotonic(), rig.log())
                rig.end_program()
                spoken([attempt], rig, Wanted(late=0, latency_ms=None))
                # The first changes start threads, which all others use again.
                first = next(line for line in attempt.log if line["t"] > began + 10.0)
                grown = attempt.log[-1]["threads"] - first["threads"]
                attempt.figures["threads"] = grown
                if grown > 0:
                    attempt.problems.append(f"{grown} threads more")
                tries.append(attempt)
        return tries

    return run


def vanished_cable(times: int) -> list[Try]:
    """Remove the sink that a call records, whose stream the server moves to another source."""
    tries = []
    for _ in range(times):
        with Rig() as rig:
            rig.start_program(*TWO_STREAMS)
            rig.unload(SPEAKER_SINK)
            began = time.monotonic()
            time.sleep(3.0)
            attempt = Try(began, began, time.monotonic(), rig.log())
            said = rig.output().split("late", 1)[-1]
            rig.end_program()
            spoken([attempt], rig, Wanted(sound_s=None, latency_ms=None, noticed_s=1.0))
            attempt.figures["printed"] = said
            tries.append(attempt)
    return tries
