"""The faults, each with what is wanted."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.faults import runs
from benchmarks.faults.provoke import (
    crash,
    hogs,
    hung_server,
    inside,
    kill_server,
    move,
    muted,
    nothing,
    one_processor,
    only_own_output,
    stop_program,
    stop_server,
    suspend,
    unload,
)
from benchmarks.faults.rig import DUPLEX, TWO_STREAMS
from benchmarks.faults.runs import ended, repeated
from benchmarks.faults.tries import SETTLE_S, Try, Wanted
from tests.support.sound_server import HEADPHONES_SINK, MICROPHONE_SINK, SPEAKER_SINK


@dataclass(frozen=True)
class Case:
    """A fault: how it is tried, `times` times, and its row's title."""

    title: str
    run: Callable[[int], list[Try]]


_STEP = partial(Wanted, sound_s=1.0)
CASES = {
    "nothing": Case(
        "no fault: the error of the method", repeated(nothing, Wanted(late=0, lost_s=0.06))
    ),
    "sink-unloaded": Case(
        "sink unloaded 3 s; duplex",
        repeated(unload(3.0, SPEAKER_SINK), Wanted(noticed_s=1.0), *DUPLEX),
    ),
    "sink-unloaded-two": Case(
        "the same, two streams",
        repeated(unload(3.0, SPEAKER_SINK), Wanted(noticed_s=1.0), *TWO_STREAMS),
    ),
    "source-unloaded": Case(
        "source unloaded 3 s, only a monitor of the output left; duplex",
        repeated(
            unload(3.0, MICROPHONE_SINK),
            Wanted(noticed_s=1.0),
            *DUPLEX,
            prepare=only_own_output,
        ),
    ),
    "source-unloaded-two": Case(
        "the same, two streams",
        repeated(
            unload(3.0, MICROPHONE_SINK),
            Wanted(noticed_s=1.0),
            *TWO_STREAMS,
            prepare=only_own_output,
        ),
    ),
    "both-unloaded": Case(
        "both unloaded 3 s; duplex",
        repeated(unload(3.0, SPEAKER_SINK, MICROPHONE_SINK), Wanted(noticed_s=1.0), *DUPLEX),
    ),
    "both-unloaded-two": Case(
        "the same, two streams",
        repeated(unload(3.0, SPEAKER_SINK, MICROPHONE_SINK), Wanted(noticed_s=1.0), *TWO_STREAMS),
    ),
    "sink-suspended": Case(
        "sink suspended 2 s; duplex",
        repeated(suspend(2.0, "sink", SPEAKER_SINK), Wanted(noticed_s=1.0), *DUPLEX, most=4.0),
    ),
    "sink-suspended-10": Case(
        "sink suspended 10 s; duplex",
        repeated(suspend(10.0, "sink", SPEAKER_SINK), Wanted(noticed_s=1.0), *DUPLEX, most=4.0),
    ),
    "sink-suspended-two": Case(
        "sink suspended 2 s; two streams",
        repeated(suspend(2.0, "sink", SPEAKER_SINK), Wanted(noticed_s=1.0, late=0), *TWO_STREAMS),
    ),
    "source-suspended": Case(
        "source suspended 2 s; duplex",
        repeated(
            suspend(2.0, "sink", MICROPHONE_SINK),
            Wanted(noticed_s=1.0),
            *DUPLEX,
            most=4.0,
        ),
    ),
    "source-suspended-two": Case(
        "the same, two streams",
        repeated(
            suspend(2.0, "sink", MICROPHONE_SINK),
            Wanted(noticed_s=1.0),
            *TWO_STREAMS,
        ),
    ),
    "output-moved": Case(
        "output moved to another sink 3 s and back; duplex",
        repeated(
            move(3.0, "sink-inputs", HEADPHONES_SINK, SPEAKER_SINK), Wanted(noticed_s=1.0), *DUPLEX
        ),
    ),
    "output-moved-two": Case(
        "the same, two streams",
        repeated(
            move(3.0, "sink-inputs", HEADPHONES_SINK, SPEAKER_SINK),
            Wanted(noticed_s=1.0),
            *TWO_STREAMS,
        ),
    ),
    "microphone-moved": Case(
        "microphone moved to a silent source 3 s and back",
        repeated(
            move(
                3.0,
                "source-outputs",
                f"{HEADPHONES_SINK}.monitor",
                f"{MICROPHONE_SINK}.monitor",
            ),
            Wanted(noticed_s=1.0),
            *DUPLEX,
        ),
    ),
    "server-killed": Case(
        "server killed, back after 3 s; duplex",
        repeated(kill_server(3.0), Wanted(noticed_s=1.0, silent_s=0.1), *DUPLEX),
    ),
    "server-killed-two": Case(
        "the same, two streams",
        repeated(kill_server(3.0), Wanted(noticed_s=1.0, silent_s=0.1), *TWO_STREAMS),
    ),
    "server-stopped": Case(
        "server stopped (SIGSTOP) 2 s; duplex",
        repeated(stop_server(2.0), Wanted(noticed_s=1.0), *DUPLEX, most=4.0),
    ),
    "server-stopped-two": Case(
        "the same, two streams",
        repeated(stop_server(2.0), Wanted(noticed_s=1.0), *TWO_STREAMS, most=4.0),
    ),
    "server-rate": Case(
        "server back at 44.1, 48 kHz in turn",
        repeated(kill_server(1.0, 44_100, 48_000), Wanted(noticed_s=1.0), *DUPLEX),
    ),
    "server-away": Case(
        "server away for 60 s: memory, processor",
        repeated(kill_server(60.0), Wanted(noticed_s=1.0), *DUPLEX),
    ),
    "step-raises": Case(
        "one step raises", repeated(inside(0.0, "step", "raise"), _STEP(late=2, lost_s=0.25))
    ),
    "step-nan": Case(
        "one step gives NaN", repeated(inside(0.0, "step", "nan"), _STEP(late=2, lost_s=0.25))
    ),
    "step-memory": Case(
        "one MemoryError", repeated(inside(0.0, "step", "memory"), _STEP(late=2, lost_s=0.25))
    ),
    "steps-raise": Case(
        "three steps raise", repeated(inside(0.0, "step", "raise", 3), _STEP(sound_s=2.0))
    ),
    "steps-nan": Case(
        "three steps give NaN", repeated(inside(0.0, "step", "nan", 3), _STEP(sound_s=2.0))
    ),
    "rebuild-fails": Case(
        "a step raises, then a rebuild",
        repeated(inside(0.0, "rebuild_fails", 1), _STEP(sound_s=2.0)),
    ),
    "stall-0.2": Case(
        "a step stalls 0.2 s",
        repeated(inside(0.2, "step", "stall", 1, 0.2), _STEP(), settle=SETTLE_S + 1.0),
    ),
    "stall-1": Case(
        "a step stalls 1 s",
        repeated(inside(1.0, "step", "stall", 1, 1.0), _STEP(), settle=SETTLE_S + 1.0),
    ),
    **{
        f"stall-{seconds}": Case(
            f"a step stalls {seconds} s",
            repeated(inside(float(seconds), "step", "stall", 1, float(seconds)), _STEP()),
        )
        for seconds in (3, 5, 10, 20, 60)
    },
    "step-hangs": Case(
        "a step hangs for ever",
        repeated(inside(0.0, "step", "hang"), _STEP(sound_s=4.2), settle=9, each=3),
    ),
    "step-spins": Case(
        "a step spins for ever",
        # The thread keeps running and takes processor time from all others.
        repeated(inside(0.0, "step", "spin"), _STEP(sound_s=4.2), settle=9, each=1),
    ),
    "engine-ends": Case(
        "the engine's thread ends", repeated(inside(0.0, "step", "exit"), _STEP(sound_s=2.0))
    ),
    "heartbeat-raises": Case(
        "the heartbeat raises", repeated(inside(0.0, "heartbeat"), _STEP(sound_s=2.0))
    ),
    "crash": Case(
        "segmentation fault in the playing process",
        # After more crashes within a minute rtvc is not started again.
        repeated(crash, Wanted(sound_s=4.0, silent_s=0.1), settle=9.0, each=3),
    ),
    "interpreter-held": Case(
        "interpreter held 0.5 s in C", repeated(inside(0.5, "hold", 0.5), _STEP(sound_s=0.2))
    ),
    **{
        f"program-stopped-{seconds}{'-two' * (words != DUPLEX)}": Case(
            f"the program stopped {seconds} s; {'duplex' if words == DUPLEX else 'two streams'}",
            # The speech repeats after 20.7 s: a latency of 30 s would be found at 9.3 s.
            repeated(stop_program(float(seconds)), Wanted(), *words, most=min(seconds + 2, 15.0)),
        )
        for words in (DUPLEX, TWO_STREAMS)
        for seconds in (1, 3, 5, 30)
    },
    "sigint": Case("SIGINT", ended(signal.SIGINT, Wanted(None, 0.5, latency_ms=None, exit_s=1.0))),
    "sigterm": Case(
        "SIGTERM", ended(signal.SIGTERM, Wanted(None, 0.5, latency_ms=None, exit_s=1.0))
    ),
    "sighup": Case("SIGHUP", ended(signal.SIGHUP, Wanted(None, 0.5, latency_ms=None, exit_s=1.0))),
    "sigkill": Case(
        "SIGKILL", ended(signal.SIGKILL, Wanted(None, 0.5, latency_ms=None, exit_s=1.0))
    ),
    "hung-server-sigint": Case(
        "server hangs, then Ctrl-C",
        ended(signal.SIGINT, Wanted(None, latency_ms=None, exit_s=1.0), hung_server),
    ),
    "hung-server-sigterm": Case(
        "server hangs, then SIGTERM",
        ended(signal.SIGTERM, Wanted(None, latency_ms=None, exit_s=1.0), hung_server),
    ),
    "hung-step-sigint": Case(
        "a step hangs, then Ctrl-C",
        ended(
            signal.SIGINT,
            Wanted(None, latency_ms=None, exit_s=0.6),
            inside(0.5, "step", "hang"),
        ),
    ),
    "hung-server-start": Case("start while the server hangs, Ctrl-C", runs.hung_start),
    "late-devices": Case("start without devices, devices after 4 s", runs.late_devices),
    "missing-voice": Case("the remembered voice is missing", runs.gone_voice),
    "dry-preset": Case("a preset with mode: dry", runs.dry_preset),
    "two-instances": Case("two instances", runs.two_instances),
    "cpu-hogs": Case(
        "6 processes that compute, 5 s", repeated(hogs(6, 5.0), Wanted(late=0, lost_s=0.06))
    ),
    "one-processor": Case(
        "one processor, which another program takes for 0.4 s in real time",
        repeated(one_processor(0.4), Wanted(sound_s=2.0)),
    ),
    "settings": Case(
        "1,000 random changes of settings in 30 s",
        repeated(inside(31.0, "random_settings", 1000, 30.0, 0), Wanted()),
    ),
    "microphone-muted": Case(
        "microphone muted 60 s, then speech", repeated(muted(60.0), Wanted(lost_s=0.06))
    ),
    "disk-full": Case("the disk is full while recording", runs.recorded("disk")),
    "killed-recording": Case("SIGKILL while recording", runs.recorded("kill")),
    "voices": Case("60 changes of voice in a minute", runs.switched_voices()),
    "voices-250": Case(
        "the same, blocks of 250 ms, headroom 200 ms",
        runs.switched_voices("--block", "250", "--headroom", "200"),
    ),
    "cable": Case("the virtual cable vanishes", runs.vanished_cable),
    "feedback": Case("the microphone hears the speaker, gain above 1", runs.feedback),
}
