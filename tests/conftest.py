from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.support.sound_server import SoundServer

# Networks are held against references in float32, on a GPU too; read when they are imported.
os.environ["RTVC_PRECISION"] = "float32"


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
