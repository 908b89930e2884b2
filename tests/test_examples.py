"""The programs in examples/ and the code on the page about Python, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import rtvc
from rtvc.library.setting_up import install_from_folder
from rtvc.live.demo import load_utterance
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.support.library_files import make_zip

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), re.M | re.S)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    soundfile.write("talk.wav", load_utterance()[24_000:96_000], 48_000)
    return folder


@pytest.fixture
def anna() -> None:
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    make_zip(Path("Anna.zip"), {"Anna.pth": GOLDEN / "voice_v1_f0_40k.pth", INDEX.name: INDEX})


def run(name: str, *words: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *words],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code and not done.stdout else done.stdout


def test_there_are_four_and_each_says_how_it_is_started():
    assert [path.name for path in EXAMPLES] == [
        "batch.py",
        "convert_array.py",
        "live.py",
        "stream.py",
    ]
    for path in EXAMPLES:
        assert f"\n    python examples/{path.name}" in path.read_text()
        assert f"(../examples/{path.name})" in (ROOT / "docs/python.md").read_text()


def test_convert_array():
    assert run("convert_array.py", "talk.wav", "higher.wav").startswith("higher.wav: 1.5 s")
    expected = rtvc.convert(soundfile.read("talk.wav")[0], sample_rate=48_000, pitch=4)
    np.testing.assert_allclose(soundfile.read("higher.wav")[0], expected, atol=2**-15)
    assert "python examples/convert_array.py" in run("convert_array.py", code=1)


def test_stream():
    told = run("stream.py", "talk.wav", "deep.wav")
    assert "at most 123 ms" in told
    samples = soundfile.read("talk.wav", dtype="float32")[0]
    expected = rtvc.convert(samples, sample_rate=48_000, pitch=-4, formant=-2)
    np.testing.assert_allclose(soundfile.read("deep.wav")[0], expected, atol=2**-15)


@pytest.mark.thorough
def test_batch(anna: None):
    talk = soundfile.read("talk.wav")[0]
    Path("in").mkdir()
    soundfile.write("in/a.flac", np.stack([talk, talk], axis=1), 48_000)
    soundfile.write("in/b.wav", talk, 48_000)
    Path("in/notes.txt").write_text("no sound")
    told = run("batch.py", "in", "out", "Anna.zip", code=1)
    assert told.startswith("<RvcVoice 'Anna', RVC v1, 40000 Hz, with an index>\n")
    assert "\n1/3 a.flac  67%\n1/3 a.flac 100%\n\n2/3 b.wav  67%\n" in told
    assert "notes.txt: Error opening" in told
    assert told.endswith("2 of 3 files converted.\n")
    assert soundfile.info("out/a.wav").frames == soundfile.info("out/b.wav").frames == len(talk)
    assert soundfile.info("out/a.wav").channels == 2
    assert "There is no voice" in run("batch.py", "in", "out", "nobody", code=1)


def test_live(sound_server):
    sound = np.tile(load_utterance(), 2)
    with sound_server.speaking(sound):
        told = run("live.py", "--input", "fake_mic", "--output", "fake_speaker", "--seconds", "3")
    lines = told.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r"\w+, latency \d+ ms, pitch \d+ -> \d+ Hz, \d+ late blocks\. .*", line)
    assert "converted" in told
    assert "'no such'" in run("live.py", "--output", "no such", code=1)


def test_the_code_on_the_page_runs(anna: None, capsys: pytest.CaptureFixture[str]):
    names: dict[str, Any] = {"blocks": np.split(soundfile.read("talk.wav")[0], 30)}
    for block in BLOCKS:
        if "Session" not in block:
            exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"print\(\w+\)  # (.+)", "\n".join(BLOCKS))
    assert printed[:2] == promised
    assert "pich" in printed[2]
    higher, rate = soundfile.read("higher.wav")
    assert (len(higher), rate) == (72_000, 48_000)
    assert sum(map(len, names["out"])) == 72_000


@pytest.mark.thorough
def test_the_live_code_on_the_page_runs(
    sound_server, anna: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    [block] = [block for block in BLOCKS if "Session" in block]
    # Devices and a voice that are here, and no one waits for ten seconds.
    for there, here in (("USB", "fake_mic"), ("BlackHole", "fake_speaker"), ("Anna", "world")):
        assert f'"{there}"' in block
        block = block.replace(f'"{there}"', f'"{here}"')
    exec(block.replace("sleep(5)", "sleep(0.7)"), {"rtvc": rtvc})
    state, latency = capsys.readouterr().out.rsplit(maxsplit=1)
    assert state in ("converted", "muted")  # behind, on a busy machine
    assert 0.2 < float(latency) < 2


@pytest.mark.thorough
def test_empty_files_and_results_that_exist_do_not_stop_an_example(here: Path) -> None:
    Path("in").mkdir()
    soundfile.write("in/a.wav", np.zeros((0, 2)), 48_000)
    soundfile.write("in/b.wav", np.zeros(2_000), 48_000)
    before = Path("in/b.wav").read_bytes()
    assert run("batch.py", "in", "out").endswith("2 of 2 files converted.\n")
    assert soundfile.info("out/a.wav").channels == 2
    again = run("batch.py", "in", "in", code=1)
    assert "b.wav: File exists: " in again
    assert again.endswith("0 of 2 files converted.\n")
    assert Path("in/b.wav").read_bytes() == before
    assert "0 samples" in run("stream.py", "in/a.wav", "empty.wav")
    assert run("stream.py", "in/b.wav", "in/b.wav", code=1).startswith("File exists: ")
    assert run("convert_array.py", "none.wav", "out.wav", code=1).startswith("Error opening")
    assert run("batch.py", "none", "out", code=1) == "<WorldVoice 'world', 48000 Hz>\n"


def test_an_error_leaves_no_part_of_a_result(here: Path) -> None:
    Path("in").mkdir()
    samples = np.zeros(96_000, np.float32)
    samples[60_000] = np.nan
    soundfile.write("in/a.wav", samples, 48_000, subtype="FLOAT")
    assert "a.wav: The samples hold values" in run("batch.py", "in", "out", code=1)
    assert not list(Path("out").iterdir())
    run("stream.py", "in/a.wav", "result.wav", code=1)
    assert not Path("result.wav").exists()
