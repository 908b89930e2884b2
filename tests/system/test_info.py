"""What is read of the machine."""

import importlib.metadata

import pytest

from rtvc.system import info


class TestPower:
    def test_what_pmset_says(self):
        mains = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00\n"
        battery = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t84%; discharging\n"
        assert info.power_of_pmset(mains) == "mains"
        assert info.power_of_pmset(battery) == "battery"
        assert info.power_of_pmset("") == ""

    @pytest.mark.parametrize(
        ("supplies", "state"),
        [
            ({}, ""),
            ({"AC": {"type": "Mains", "online": "1"}}, "mains"),
            ({"AC": {"type": "Mains", "online": "0"}}, ""),
            (
                {
                    "AC": {"type": "Mains", "online": "0"},
                    "BAT0": {"type": "Battery", "status": "Discharging"},
                },
                "battery",
            ),
            (
                {
                    "ucsi-1": {"type": "USB", "online": "1"},
                    "BAT0": {"type": "Battery", "status": "Discharging"},
                },
                "mains",
            ),
            ({"BAT0": {"type": "Battery", "status": "Full"}}, "mains"),
            ({"BAT0": {"type": "Battery", "status": "Unknown"}}, ""),
            ({"mouse": {"type": "Battery", "scope": "Device", "status": "Discharging"}}, ""),
            ({"odd": {}}, ""),
        ],
    )
    def test_what_linux_says(self, supplies, state, tmp_path):
        for name, files in supplies.items():
            (tmp_path / "power" / name).mkdir(parents=True)
            for file, text in files.items():
                (tmp_path / "power" / name / file).write_text(text + "\n")
        assert info.power_of_supplies(tmp_path / "power") == state


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("System-wide power settings:\n lowpowermode         1\n womp 1\n", True),
        (" lowpowermode         0\n sleep 1\n", False),
        (" powermode            1\n", True),
        (" powermode            2\n", False),
        ("", False),
    ],
)
def test_low_power_mode_from_pmset(text: str, on: bool):
    assert info.low_power_of_pmset(text) == on


def test_the_package_with_the_blas_is_named_where_it_is_installed(monkeypatch):
    installed = {"mkl": "2026.2.0", "numpy": "2.4.6"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = info.versions()
    assert found["mkl"] == "2026.2.0"
    assert found["textual"] == ""  # a package that rtvc needs
    assert "scipy-openblas32" not in found
