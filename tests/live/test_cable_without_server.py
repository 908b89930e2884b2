"""`rtvc cable` where the sound server does not run, or is a script."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rtvc.errors import RtvcError
from rtvc.live import cable

_PACTL = r"""#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> log
case "$*" in
"list short sinks") printf '1\trtvc_cable\n' ;;
"list short sources") printf '1\treal\n2\trtvc_cable.monitor\n' ;;
info) echo "Default Source: $(cat default)" ;;
set-default-source*) echo "$2" > default ;;
esac
"""
"""A sound server with a cable and a microphone, which notes what it is told."""


def test_a_run_that_follows_a_killed_one_keeps_the_cable_as_the_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    (tmp_path / "pactl").write_text(_PACTL)
    (tmp_path / "pactl").chmod(0o755)
    (tmp_path / "default").write_text(f"{cable.MICROPHONE}\n")
    killed = subprocess.Popen(["true"])
    killed.wait()
    cable._save(cable._Made(5, "real", killed.pid))
    with cable.in_use():
        assert os.environ["PULSE_SOURCE"] == "real"
        assert "set-default-source real" not in (tmp_path / "log").read_text()
        assert cable._load() == cable._Made(5, "real", os.getpid())
    assert (tmp_path / "default").read_text() == "real\n"
    assert cable._load() == cable._Made(5)
    with cable.in_use():
        assert (tmp_path / "default").read_text() == f"{cable.MICROPHONE}\n"
    assert (tmp_path / "default").read_text() == "real\n"


@pytest.mark.skipif(not shutil.which("pactl"), reason="needs pactl")
def test_without_a_sound_server_it_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/none")
    for use in (cable.make, cable.remove):
        with pytest.raises(RtvcError) as refusal:
            use()
        assert str(refusal.value) == (
            "No sound server runs. Start PulseAudio or PipeWire, then run rtvc again."
        )


def test_what_another_version_has_changed_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    file = tmp_path / "cable.json"
    file.write_text('{"module": 5, "source": "real", "process": 1, "new": 2}')
    assert cable._load() == cable._Made(5, "real", 1)
    for text in ("[]", "[" * 100_000, '{"module": "x", "source": null, "process": "y"}', ""):
        file.write_text(text)
        assert cable._load() == cable._Made()
        assert not cable.is_left_behind()
