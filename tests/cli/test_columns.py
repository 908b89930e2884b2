"""Tables and progress with names whose characters take two columns of a terminal, or none."""

import argparse

import pytest
from rich.cells import cell_len

from rtvc.cli import devices, presets
from rtvc.cli.columns import columns_of, cropped, padded
from rtvc.config.presets import user_folder
from tests.tui.simulated_devices import microphone

WIDE = "\u58f0\u97f3 \N{PARTY POPPER}"
MARKED = "Andre\u0301"


@pytest.mark.parametrize("text", ["robot", WIDE, MARKED])
def test_a_text_is_padded_and_cropped_to_columns(text: str):
    assert cell_len(padded(text, 12)) == 12
    assert padded(text, 12).strip() == text
    assert cropped(text, 12) == text
    assert columns_of(cropped(text, 3)) == 3
    assert padded(text, 1) == text


def test_the_table_of_presets_is_aligned(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path))
    user_folder().mkdir()
    for name in (WIDE, MARKED):
        (user_folder() / f"{name}.yaml").write_text("description: About it.\npitch: 3\n")
    presets._list(argparse.Namespace())
    lines = capsys.readouterr().out.splitlines()
    columns = {cell_len(line.partition("About it.")[0]) for line in lines if "About it." in line}
    robot = next(line for line in lines if line.startswith("robot "))
    assert columns == {len(robot) - len(robot.removeprefix("robot").lstrip())}


def test_the_table_of_devices_is_aligned(monkeypatch, capsys):
    monkeypatch.setattr("rtvc.audio.devices.supported_rates", lambda *_: ())
    names = ("USB Microphone", WIDE, MARKED)
    devices._print_table("Microphones", [microphone(name) for name in names], "input", [])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len({cell_len(line.partition("1 channel")[0]) for line in lines}) == 1
