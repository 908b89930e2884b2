"""The file of a demonstration."""

from pathlib import Path

import numpy as np
import soundfile

from rtvc.live.demo import claim_file, open_demo


def test_two_demonstrations_at_once_have_a_file_each(tmp_path: Path) -> None:
    files = [claim_file(tmp_path / "demo.wav", force=False) for _ in range(2)]
    opened = [open_demo(file, force=False) for file in files]
    messages = []
    for number, devices in enumerate(opened, 1):
        devices.endpoint.start(lambda: None, 0)
        devices.endpoint.write(np.full(4800 * number, 0.1, np.float32))
        devices.endpoint.stop()
        messages.append(devices.keep())
    names = ["demo.wav", "demo-2.wav"]
    assert messages == [f"The output is in {tmp_path / name}." for name in names]
    assert [soundfile.info(tmp_path / name).frames for name in names] == [4800, 9600]


def test_a_demonstration_replaces_a_file_if_asked(tmp_path: Path) -> None:
    (tmp_path / "demo.wav").write_bytes(b"other")
    devices = open_demo(claim_file(tmp_path / "demo.wav", force=True), force=True)
    devices.endpoint.start(lambda: None, 0)
    devices.endpoint.write(np.full(4800, 0.1, np.float32))
    devices.endpoint.stop()
    devices.keep()
    assert soundfile.info(tmp_path / "demo.wav").frames == 4800
