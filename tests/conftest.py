from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Each of xdist's workers has a core of its own; read by every BLAS when it is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Networks are held against references in float32, on a GPU too; read when they are imported.
os.environ["RTVC_PRECISION"] = "float32"

from tests.support.sound_server import SoundServer

if TYPE_CHECKING:
    from rtvc.library.voices import InstalledVoice

GOLDEN = Path(__file__).parent / "golden"

pytest_plugins = ["tests.support.patience", "tests.support.selection"]

# nohup, cron and a shell's background ignore these, and every program that a test starts would
# inherit it. A handler is not inherited, and the second one keeps pytest itself alive.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session")
def _server() -> Iterator[SoundServer]:
    if not sys.platform.startswith("linux"):
        pytest.skip("the private sound server is PulseAudio, on Linux")
    server = SoundServer()
    before = dict(os.environ)
    os.environ.update(server.environment)
    try:
        yield server
    finally:
        server.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def sound_server(_server: SoundServer) -> SoundServer:
    """The project's own sound server, running, and PortAudio that sees it."""
    from rtvc.audio.portaudio import restart_portaudio

    if not _server.running:
        _server.start()
    restart_portaudio()
    return _server


@pytest.fixture
def anna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledVoice:
    """An installed voice, and the base models that it needs."""
    from rtvc.library.adding import add_voice
    from rtvc.library.finding import FoundVoice
    from rtvc.library.setting_up import install_from_folder

    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    return add_voice(FoundVoice(GOLDEN / "voice_v1_f0_40k.pth", None, "anna")).voice
