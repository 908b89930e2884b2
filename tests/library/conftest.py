from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the test, in which rtvc keeps what it installs."""
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RTVC_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
