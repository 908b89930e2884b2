"""What ``import rtvc`` offers, and what it costs."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import rtvc

CALLER = """\
import numpy as np
import rtvc
from rtvc import Converter, Settings, convert, load_voice

voice: rtvc.Voice = load_voice("world")
samples = np.zeros(100, np.int16)
made = convert(samples, sample_rate=44_100, voice=voice, pitch=4)
reveal_type(made)
converter = Converter(voice, Settings(pitch=4), sample_rate=44_100)
reveal_type(converter.process(np.zeros(100, np.float32)))
reveal_type(converter.latency)
try:
    with rtvc.Session.live(input="USB", settings=Settings(voice="Anna")) as session:
        session.apply(pitch=-4)
        reveal_type(session.stats().state is rtvc.State.CONVERTED)
except (rtvc.UsageError, rtvc.SettingError, rtvc.RtvcError):
    reveal_type(session)
"""
MISTAKES = """\
import rtvc

rtvc.convret
rtvc.Settings(pitch="high")
rtvc.load_voice(3)
rtvc.Converter("world")
"""


def test_the_list_is_sorted_and_every_member_is_there():
    assert rtvc.__all__ == sorted(rtvc.__all__)
    for name in rtvc.__all__:
        member = getattr(rtvc, name)
        assert name.startswith("_") or member.__doc__, name
    assert set(rtvc.__all__) <= set(dir(rtvc))
    assert set(rtvc._MODULES) == set(rtvc.__all__) - {"__version__"}


def test_members_are_those_of_their_modules():
    for name, module in rtvc._MODULES.items():
        assert getattr(rtvc, name) is getattr(import_module(module), name)


def test_everything_can_be_imported_at_once():
    names: dict[str, object] = {}
    exec("from rtvc import *", names)
    assert names.keys() - {"__builtins__"} == set(rtvc.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'rtvc' has no attribute 'convret'"):
        rtvc.convret  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="convret"):
        exec("from rtvc import convret")


@pytest.mark.parametrize("use", ["pass", "rtvc.Settings(pitch=4), rtvc.State, dir(rtvc)"])
def test_the_import_loads_nothing_heavy(use: str):
    code = f"import sys, rtvc; {use}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"numpy", "mlx", "mlx.core", "sounddevice", "soundfile", "soxr", "textual", "yaml"}
    assert not heavy & set(loaded)
    assert "rtvc.session" not in loaded


def check_types(program: str, folder: Path) -> str:
    (folder / "caller.py").write_text(program)
    cache = Path(__file__).parents[1] / ".mypy_cache" / "callers"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", "caller.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.thorough
def test_a_caller_finds_the_types(tmp_path: Path):
    printed = check_types(CALLER, tmp_path)
    assert "Success: no issues found" in printed, printed
    types = [line.partition("Revealed type is ")[2] for line in printed.splitlines()[:-1]]
    expected = ["_16Bit", "_32Bit", "float", "bool", "rtvc.session.Session"]
    for found, part in zip(types, expected, strict=True):
        assert part in found


@pytest.mark.thorough
def test_mistakes_of_a_caller_are_found(tmp_path: Path):
    printed = check_types(MISTAKES, tmp_path)
    for line, code in ((3, "attr-defined"), (4, "arg-type"), (5, "arg-type"), (6, "call-arg")):
        assert f"caller.py:{line}: error:" in printed, printed
        assert f"[{code}]" in printed, printed
