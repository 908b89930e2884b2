"""A private PulseAudio server without hardware: a fake microphone and two fake speakers.

The devices are null sinks. Audio played into the first is the input of the fake microphone; the
monitors of the others give the output of the fake speaker and the fake headphones. The server
needs no session, no bus and no hardware, and is stopped by its process id.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from rtvc._types import Float32
from tests.support import recorder
from tests.support.processes import Process, end, start

RATE = recorder.RATE
MICROPHONE_SINK = "fake_mic_feed"
SPEAKER_SINK = "fake_speaker"
HEADPHONES_SINK = "fake_ears"
PROGRAMS = ("pulseaudio", "pacat", "parec", "pactl")
INSTALL = (
    "apt-get install -y --no-install-recommends "
    "pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"
)


# Without norewinds=1 the duplex callbacks on null sinks are irregular.
_SERVER = """\
.fail
load-module module-native-protocol-unix socket={dir}/native auth-anonymous=1
load-module module-null-sink sink_name=fake_mic_feed norewinds=1 rate=48000 \
format=float32le channels=1 channel_map=mono sink_properties=device.description=FakeMicFeed
load-module module-null-sink sink_name=fake_speaker norewinds=1 rate=48000 \
format=float32le channels=2 sink_properties=device.description=FakeSpeaker
load-module module-null-sink sink_name=fake_ears norewinds=1 rate=44100 \
format=float32le channels=2 sink_properties=device.description=FakeHeadphones
set-default-source fake_mic_feed.monitor
set-default-sink fake_speaker
"""
_DAEMON = """\
default-sample-format = float32le
default-sample-rate = 48000
alternate-sample-rate = 48000
avoid-resampling = no
resample-method = speex-float-5
exit-idle-time = -1
flat-volumes = no
realtime-scheduling = yes
high-priority = no
enable-shm = no
"""
_CLIENT = """\
autospawn = no
default-server = unix:{dir}/native
enable-shm = no
"""
# fake_cable is a loop: its output is its input, as with a cable from speaker to microphone.
_ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.!default {{ type pulse server "unix:{dir}/native" }}
ctl.!default {{ type pulse server "unix:{dir}/native" }}
pcm.fake_mic {{
  type pulse server "unix:{dir}/native" device "fake_mic_feed.monitor"
  hint {{ show on description "fake mic" }}
}}
pcm.fake_speaker {{
  type pulse server "unix:{dir}/native" device "fake_speaker"
  hint {{ show on description "fake speaker" }}
}}
pcm.fake_ears {{
  type pulse server "unix:{dir}/native" device "fake_ears"
  hint {{ show on description "fake headphones" }}
}}
pcm.cable_end {{ type pulse server "unix:{dir}/native" device "fake_speaker.monitor" }}
pcm.fake_cable {{
  type asym playback.pcm fake_speaker capture.pcm cable_end
  hint {{ show on description "fake cable" }}
}}
"""


class SoundServer:
    """The server's process, its files, and the environment variables that select it."""

    def __init__(self) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            raise RuntimeError(f"no {', '.join(missing)}: run as root: {INSTALL}")
        self.directory = Path(tempfile.mkdtemp(prefix="rtvc-sound-"))
        self.directory.chmod(0o700)
        for name, text in {
            "default.pa": _SERVER,
            "daemon.conf": _DAEMON,
            "client.conf": _CLIENT,
            "asound.conf": _ALSA,
        }.items():
            (self.directory / name).write_text(text.format(dir=self.directory))
        self.environment = {
            "PULSE_SERVER": f"unix:{self.directory}/native",
            "PULSE_CLIENTCONFIG": f"{self.directory}/client.conf",
            "ALSA_CONFIG_PATH": f"{self.directory}/asound.conf",
        }
        self.realtime = False
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server; returns when it answers."""
        home = str(self.directory)
        environment = {k: v for k, v in os.environ.items() if k != "DBUS_SESSION_BUS_ADDRESS"}
        environment |= {
            "HOME": home,
            "XDG_RUNTIME_DIR": home,
            "PULSE_RUNTIME_PATH": f"{home}/run",
            "PULSE_STATE_PATH": f"{home}/state",
            "PULSE_CONFIG": f"{home}/daemon.conf",
        }
        (self.directory / "native").unlink(missing_ok=True)
        command = ["pulseaudio", "-n", "-F", f"{home}/default.pa"]
        command += ["--daemonize=no", "--use-pid-file=no", "--disallow-exit=no"]
        command += [f"--log-target=file:{home}/pulse.log", "--log-level=info"]
        with (self.directory / "stdout").open("wb") as out:
            self._process = start(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                logs = [(self.directory / n).read_text()[-800:] for n in ("stdout", "pulse.log")]
                raise RuntimeError(f"the sound server did not start: {' '.join(logs)}")
            time.sleep(0.05)
        # Without real-time scheduling the server sometimes drops a block on a busy machine.
        chrt = shutil.which("chrt")
        self.realtime = chrt is not None and self._run(
            [chrt, "-f", "-a", "-p", "20", str(self.pid)]
        )

    def stop(self) -> None:
        """Stop the server by its process id and remove its files."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the process, as if the sound server had crashed."""
        if self._process is None:
            return
        end(self._process)
        self._process = None

    def pactl(self, *arguments: str) -> None:
        """Run a command of pactl, such as ``suspend-sink fake_speaker 1``."""
        if not self._run(["pactl", *arguments]):
            raise RuntimeError(f"pactl {' '.join(arguments)} failed")

    @contextmanager
    def null_sink(self, name: str, channel_map: str) -> Iterator[None]:
        """Have another null sink in the block; ``NAME.monitor`` is a microphone."""
        channels = channel_map.count(",") + 1
        words = [
            *("pactl", "load-module", "module-null-sink", f"sink_name={name}", "norewinds=1"),
            *("rate=48000", "format=float32le", f"channels={channels}"),
            f"channel_map={channel_map}",
        ]
        number = self._output(words).strip()
        try:
            yield
        finally:
            self.pactl("unload-module", number)

    @contextmanager
    def unplugged(self, sink: str) -> Iterator[None]:
        """Have a null sink and its monitor removed in the block, and then loaded again."""
        listed = self._output(["pactl", "list", "short", "modules"]).splitlines()
        modules = [line.split("\t")[:3] for line in listed]
        number, kind, words = next(m for m in modules if f"sink_name={sink}" in m[2].split())
        defaults = {
            way: self._output(["pactl", f"get-default-{way}"]).strip() for way in ("sink", "source")
        }
        self.pactl("unload-module", number)
        try:
            yield
        finally:
            self.pactl("load-module", kind, *words.split())
            for way, name in defaults.items():
                self.pactl(f"set-default-{way}", name)

    @contextmanager
    def connected(self, sink: str, other: str) -> Iterator[None]:
        """Play in the block what a sink plays into another one too, as a cable would."""
        words = ["pactl", "load-module", "module-loopback", "source_dont_move=true"]
        words += [f"source={sink}.monitor", f"sink={other}", "sink_dont_move=true"]
        number = self._output([*words, "latency_msec=20"]).strip()
        try:
            yield
        finally:
            self.pactl("unload-module", number)

    def _output(self, words: list[str]) -> str:
        environment = os.environ | self.environment
        return subprocess.check_output(words, env=environment, timeout=10, text=True)

    def _answers(self) -> bool:
        return (self.directory / "native").exists() and self._run(["pactl", "info"])

    def _run(self, command: list[str]) -> bool:
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            capture_output=True,
            timeout=10,
            check=False,
        )
        return done.returncode == 0

    @contextmanager
    def speaking(
        self, sound: Float32, sink: str = MICROPHONE_SINK, channel_map: str = "mono"
    ) -> Iterator[None]:
        """Play a sound at 48 kHz into the fake microphone, or another sink, in the block.

        It is (samples,), or (samples, channels) with a channel map of PulseAudio.
        """
        with tempfile.NamedTemporaryFile(suffix=".f32") as file:
            file.write(np.ascontiguousarray(sound, np.float32).tobytes())
            file.flush()
            channels = 1 if sound.ndim == 1 else sound.shape[1]
            command = ["pacat", "--playback", *_raw(channels, 200), f"--device={sink}"]
            command.append(f"--channel-map={channel_map}")
            with in_real_time():
                process = start(
                    [*command, file.name],
                    env=os.environ | self.environment,
                    stdin=subprocess.DEVNULL,
                )
            try:
                yield
            finally:
                end(process)

    @contextmanager
    def recording(self, *sinks: str) -> Iterator[Callable[[], list[RecordedSound]]]:
        """Record the output of sinks; yields a function that stops and returns the recordings."""
        commands = [["parec", *_raw(1, 10), f"--device={sink}.monitor"] for sink in sinks]
        with tempfile.TemporaryDirectory(prefix="rtvc-recording-") as folder:
            recorders = _Recorder(Path(folder), commands, os.environ | self.environment)
            try:
                yield recorders.finish
            finally:
                recorders.finish()


class RecordedSound:
    """Mono audio at 48 kHz, and the time of its first sample on the monotonic clock."""

    def __init__(self, samples: Float32, began: float) -> None:
        self.samples = samples
        self.began = began


class _Recorder:
    """Several recorders in one subprocess; see `tests.support.recorder`."""

    def __init__(
        self, folder: Path, commands: list[list[str]], environment: dict[str, str]
    ) -> None:
        self._folder, self._count = folder, len(commands)
        self._sounds: list[RecordedSound] | None = None
        words = [sys.executable, "-IS", recorder.__file__, str(folder), *map(json.dumps, commands)]
        self._process = start(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._process.stdout.readline() != b"ready\n":
            end(self._process)
            raise RuntimeError("the recorders did not start")

    def finish(self) -> list[RecordedSound]:
        if self._sounds is None:
            self._process.stdin.close()
            try:
                self._process.wait(10)
            finally:
                end(self._process)
            began = json.loads((self._folder / "began.json").read_text())
            self._sounds = [self._sound(i, began[i]) for i in range(self._count)]
        return self._sounds

    def _sound(self, number: int, began: list[float]) -> RecordedSound:
        data = (self._folder / str(number)).read_bytes()
        samples = np.frombuffer(data[: len(data) // recorder.BYTES * recorder.BYTES], np.float32)
        # A sink changes its block size while streams are added; later it is constant.
        steady = began[len(began) // 3 :] or [float("nan")]
        return RecordedSound(samples, float(np.median(steady)))


@contextmanager
def in_real_time() -> Iterator[None]:
    """Schedule threads and processes that are started in the block in real time, if allowed.

    They inherit the scheduling, so that even their first block does not wait for other work.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _raw(channels: int, latency_ms: int) -> list[str]:
    return [
        "--raw",
        "--format=float32le",
        f"--rate={RATE}",
        f"--channels={channels}",
        f"--latency-msec={latency_ms}",
    ]
