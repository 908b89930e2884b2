"""The conversion of one file: a reason is never empty."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.cli.convert_file import Options, convert_file
from rtvc.cli.convert_jobs import Job
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from tests.support.voices import PlainVoice

OPTIONS = Options(Settings(), False, None, False, False, "mix", False)


@pytest.mark.parametrize("failing", [{3}, {3, 4, 5, 6, 7, 8}])
def test_a_failed_step_is_the_reason(tmp_path: Path, failing: set[int]) -> None:
    def fail(render: int) -> None:
        if render in failing:
            raise ValueError("no such sound")

    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    soundfile.write(tmp_path / "in.wav", noise, 48_000)
    job = Job(tmp_path / "in.wav", tmp_path / "out.wav")
    with pytest.raises(RtvcError, match=r"in.wav was not converted\. .*[Ff]ailed"):
        convert_file(job, OPTIONS, PlainVoice(on_render=fail), lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]
