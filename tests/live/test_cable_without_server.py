"""`rtvc cable` on a machine whose sound server does not run."""

import shutil
from pathlib import Path

import pytest

from rtvc.errors import RtvcError
from rtvc.live import cable


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
