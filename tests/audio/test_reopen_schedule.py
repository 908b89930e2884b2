"""When a lost device is tried again, with real sockets in place of a sound server's."""

import socket
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rtvc.audio.reopen_schedule import ReopenSchedule
from rtvc.audio.sound_system import device_marks, has_sound_system, server_is_down

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="Core Audio has no socket")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/native")
    return tmp_path / "native"


def listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def tries(schedule: ReopenSchedule, now: list[float], seconds: float) -> list[float]:
    """Let time pass in steps of 10 ms, fail at every try, and return their times."""
    found, end = [], now[0] + seconds
    while now[0] < end:
        if schedule.due():
            schedule.failed()
            found.append(now[0])
        now[0] += 0.01
    return found


def test_pauses_grow_to_a_second(path: Path):
    now = [100.0]
    with listening(path):
        found = tries(ReopenSchedule(lambda: now[0]), now, 30.0)
    pauses = [after - before for before, after in pairwise(found)]
    assert found[0] == 100.0
    assert pauses[0] < 0.1
    assert max(pauses) == pytest.approx(1.0, abs=0.02)
    assert 30 < len(found) < 37


def test_without_a_server_they_grow_to_five_seconds_and_its_start_ends_them(path: Path):
    listening(path).close()
    assert server_is_down()
    now = [100.0]
    schedule = ReopenSchedule(lambda: now[0])
    assert len(tries(schedule, now, 60.0)) < 20
    before = device_marks()
    with listening(path):
        assert device_marks() != before
        assert not server_is_down()
        assert tries(schedule, now, 0.3)


def test_a_machine_has_a_sound_system_if_there_is_a_server(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert has_sound_system(), "the variable names a server"
    monkeypatch.delenv("PULSE_SERVER")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path.parent))
    before = has_sound_system()
    (path.parent / "pulse").mkdir()
    with listening(path.parent / "pulse" / "native"):
        assert has_sound_system()
    if before:
        pytest.skip("this machine has sound hardware")


def test_a_change_of_the_servers_devices_ends_a_pause(path: Path):
    now, sinks = [100.0], frozenset({"speaker"})
    with listening(path):
        schedule = ReopenSchedule(lambda: now[0], server_devices=lambda: sinks)
        tries(schedule, now, 10.0)
        schedule.failed()
        since = now[0]
        assert not tries(schedule, now, 0.5)
        sinks |= {"headphones"}
        found = tries(schedule, now, 0.3)
    assert since + 0.5 <= found[0] < since + 0.7
