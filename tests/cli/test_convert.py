"""``rtvc convert``: files and folders, through the real engine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.cli.convert_jobs import Job, make_plan
from rtvc.cli.main import main
from rtvc.errors import UsageError
from rtvc.live.demo import load_utterance
from tests.support.processes import started
from tests.support.pseudo_terminal import on_terminal
from tests.support.unprivileged import unprivileged

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str | Path, stdin: bytes = b"", text: bool = True, code: int = 0):
    done = subprocess.run(
        [sys.executable, "-m", "rtvc", "convert", *map(str, arguments)],
        input=stdin.decode() if text else stdin,
        capture_output=True,
        text=text,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def convert(*arguments: str | Path, code: int = 0) -> str:
    done = run(*arguments, code=code)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    told: str = done.stderr
    return told


@pytest.fixture
def here_convert(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return `convert` in this process, which is faster."""

    def convert(*arguments: str | Path, code: int = 0) -> str:
        assert main(["convert", *map(str, arguments)]) == code
        return capfd.readouterr().err

    return convert


def speech(path: str, seconds: float = 1.5, rate: int = 48_000, channels: int = 1) -> Path:
    samples = load_utterance()[24_000 : 24_000 + round(seconds * 48_000)]
    samples = np.interp(np.arange(0, len(samples), 48_000 / rate), np.arange(len(samples)), samples)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.stack([samples] * channels, axis=1), rate)
    return file


def test_a_file_becomes_a_file_of_the_same_length_and_rate():
    source = speech("talk.wav", rate=44_100, channels=2)
    told = convert(source, "new/deep.flac", "--pitch", "-5")
    assert re.fullmatch(r"talk.wav -> new/deep.flac, [\d.]+ x real time\n", told)
    before, after = soundfile.info(source), soundfile.info("new/deep.flac")
    assert (after.frames, after.samplerate, after.channels) == (before.frames, 44_100, 1)
    sound, _ = soundfile.read("new/deep.flac")
    assert np.sqrt(np.mean(sound**2)) > 0.01


@pytest.mark.thorough
def test_the_same_command_gives_the_same_file_whatever_is_remembered(tmp_path: Path):
    source = speech("talk.wav")
    words = ("--whisper", "--seed")
    convert(source, "a.wav", *words, "7")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "remembered.yaml").write_text("pitch: 12\nblock: 300\n")
    convert(source, "b.wav", *words, "7")
    convert(source, "c.wav", *words, "8")
    a, b, c = (soundfile.read(name)[0] for name in ("a.wav", "b.wav", "c.wav"))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_rate(here_convert: Callable[..., str]):
    here_convert(speech("talk.wav"), "out.wav", "--rate", "22050")
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.frames) == (22_050, round(1.5 * 22_050))


def test_a_rate_that_the_format_does_not_support_is_reported(here_convert: Callable[..., str]):
    source = speech("talk.wav", 0.3, rate=44_100)
    told = here_convert(source, "out.opus")
    assert "OPUS files do not support its 44100 Hz, so the result has 48000 Hz." in told
    assert soundfile.info("out.opus").samplerate == 48_000
    assert "do not support" not in here_convert(source, "out.flac")


def test_one_sample_is_no_sound_to_miss(here_convert: Callable[..., str]):
    soundfile.write("one.wav", [0.01], 48_000)
    here_convert("one.wav", "out.wav")
    assert soundfile.info("out.wav").frames == 1


def test_nothing_is_overwritten_without_force(here_convert: Callable[..., str]):
    source = speech("talk.wav")
    Path("out.wav").write_text("mine")
    assert "out.wav exists already" in here_convert(source, "out.wav", code=2)
    assert Path("out.wav").read_text() == "mine"
    here_convert(source, "out.wav", "--force")
    assert soundfile.info("out.wav").frames == 72_000
    assert "is an input file" in here_convert(source, "talk.wav", "--force", code=2)
    assert sorted(os.listdir()) == ["out.wav", "talk.wav"]


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_an_output_that_cannot_be_written_is_one_sentence(rate: int):
    message = convert(speech("talk.wav", rate=rate), "/proc/out.wav", code=1)
    assert message == "rtvc: Cannot write /proc/out.wav: No such file or directory.\n"


@pytest.mark.thorough
def test_files_that_hold_no_sound_are_named(here_convert: Callable[..., str]):
    for name, content in (
        ("text.wav", b"no sound, whatever the name is"),
        ("page.mp3", b"<!doctype html>" + bytes(5000)),
        ("noise.ogg", b"OggS" + bytes(range(256)) * 9),
    ):
        Path(name).write_bytes(content)
        message = convert(name, "out.wav", code=1)
        assert message.startswith(f"rtvc: Cannot read {name}: it is in no format that libsndfile")
    Path("empty.wav").touch()
    assert "Cannot read empty.wav: it is empty." in here_convert("empty.wav", "out.wav", code=1)


def test_every_file_of_a_folder_is_accounted_for_and_a_bad_one_stops_no_other(
    here_convert: Callable[..., str],
):
    speech("in/a.wav", 0.3)
    speech("in/sub/b.flac", 0.3, rate=16_000)
    Path("in/broken.wav").write_bytes(b"RIFF nonsense")
    Path("in/notes.txt").write_text("no sound")
    speech("in/.hidden.wav", 0.3)
    speech("in/.old/a.wav", 0.3)
    speech("elsewhere/a.wav", 0.3)
    Path("in/more").symlink_to("../elsewhere")
    os.rename(speech("in/c.wav", 0.3), os.fsdecode(b"in/m\xe9re.wav"))
    long = "n" * 240
    speech(f"in/{long}.wav", 0.3)
    speech("in/same.flac", 0.3)
    os.rename(speech("in/same.wav", 0.3), "in/same.wave")
    told = here_convert("in", speech("extra.ogg", 0.3), "out", code=1).splitlines()
    assert told[0].startswith("in/a.wav -> out/a.wav")
    assert told[1].startswith("rtvc: Cannot read in/broken.wav")
    assert told[-6:] == [
        "failed      in/broken.wav",
        "skipped     .old: a hidden folder",
        "skipped     more: a link to a folder; give the folder itself as IN",
        "skipped     .hidden.wav: a hidden file",
        "skipped     notes.txt: not a sound file by its name",
        "7 of 8 files converted, 1 failed, 4 skipped.",
    ]
    made = sorted(os.fsencode(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert made == [
        b"a.wav",
        b"extra.ogg",
        b"m\xe9re.wav",
        f"{long}.wav".encode(),
        b"same.flac",
        b"same.wav",
        b"sub/b.flac",
    ]


def test_what_became_of_each_file_as_json(capfd: pytest.CaptureFixture[str]):
    speech("in/a.wav", 0.3)
    Path("in/notes.txt").write_text("no sound")
    assert main(["convert", "in", "out", "--json"]) == 0
    outcomes = json.loads(capfd.readouterr().out)
    assert [(one["source"], one["target"], one["status"]) for one in outcomes] == [
        ("in/a.wav", "out/a.wav", "converted"),
        ("in/notes.txt", "", "skipped"),
    ]
    assert outcomes[0]["seconds"] == 0.3


def test_the_only_file_that_fails_as_json(capfd: pytest.CaptureFixture[str]):
    Path("in").mkdir()
    Path("in/notes.txt").write_text("no sound")
    Path("in/broken.wav").write_bytes(b"RIFF nonsense")
    for words, code, kinds in (
        (("in/broken.wav", "out.wav"), 1, ["failed"]),
        (("in/broken.wav", "in/notes.txt"), 2, None),  # nothing was tried
        (("in", "out"), 1, ["failed", "skipped"]),
        (((speech("talk.wav", 0.1)), speech("there.wav", 0.1)), 2, ["failed"]),
    ):
        assert main(["convert", *map(str, words), "--json"]) == code
        told = capfd.readouterr()
        assert told.err.count("rtvc: ") == 1
        if kinds is None:
            assert told.out == ""
            continue
        outcomes = json.loads(told.out)
        assert [one["status"] for one in outcomes] == kinds
        assert told.err == f"rtvc: {outcomes[0]['reason']}\n"


def test_plans_on_a_disk_that_ignores_case():
    # A folder that is found by its name in the other case, as on most Macs without the links.
    for name in ("x/Talk.wav", "x/talk.m4a", "x/out/old.wav", "y/talk.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        speech("talk.wav", 0.1).rename(name)
    mac = Path("X").exists()
    for name in () if mac else ("x", "y"):
        os.symlink(name, name.upper())
    x, y = Path("x"), Path("y")
    jobs = {job.source: job.target for job in make_plan([x], x / "Out").jobs}
    assert jobs == {
        x / "Talk.wav": x / "Out/Talk.wav",
        x / "talk.m4a": x / "Out/talk.m4a.wav",
    }
    for inputs, target, part in [
        ([x / "Talk.wav"], x / "talk.wav", "x/talk.wav is an input file"),
        ([x / "Talk.wav", y / "talk.wav"], x / "new", "would both be written to x/new/talk.wav"),
    ]:
        with pytest.raises(UsageError, match=re.escape(part)):
            make_plan(inputs, target)
    composed, decomposed = x / "\u00e4.wav", y / "a\u0308.wav"
    for path in (composed, decomposed):
        speech("talk.wav", 0.1).rename(path)
    with pytest.raises(UsageError, match="would both be written"):
        make_plan([composed, decomposed], x / "new")
    assert mac or len(make_plan([composed, decomposed], Path("new")).jobs) == 2


def test_files_with_one_name_and_other_extensions_have_results_of_their_own():
    for name in ("x/talk.m4a", "x/talk.mp4", "x/talk.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        speech("talk.wav", 0.1).rename(name)
    jobs = {job.source.name: job.target.name for job in make_plan([Path("x")], Path("out")).jobs}
    assert jobs == {
        "talk.m4a": "talk.m4a.wav",
        "talk.mp4": "talk.mp4.wav",
        "talk.wav": "talk.wav",
    }
    two = [Path("x/talk.m4a"), Path("x/talk.mp4")]
    assert [job.target.name for job in make_plan(two, Path("out")).jobs] == [
        "talk.wav",
        "talk.mp4.wav",
    ]


def test_plans():
    for name in ("a.wav", "x/a.wav", "x/y/b.wav", "x/out/old.wav"):
        speech(name, 0.1)
    a, x = Path("a.wav"), Path("x")
    Path("folder.d").mkdir()
    Path("note").write_text("no sound")
    assert make_plan([a], Path("b.mp3")).jobs == (Job(a, Path("b.mp3")),)
    assert make_plan([a], Path("b")).jobs == (Job(a, Path("b/a.wav")),)
    assert make_plan([a], Path("folder.d")).jobs == (Job(a, Path("folder.d/a.wav")),)
    below = (Job(x / "a.wav", x / "out/a.wav"), Job(x / "y/b.wav", x / "out/y/b.wav"))
    assert make_plan([x], x / "out").jobs == below
    for inputs, target, part in [
        ([a, x / "a.wav"], "out", "would both be written to out/a.wav"),
        ([a, x], "a.wav", "is a file. Give a folder"),
        ([a], "note", "The extension '(none)' of note names no sound format"),
        ([a, x], "note", "is a file. Give a folder"),
        ([a], "x/.wav", "has no name before its extension"),
        ([a, x], "new.wav", "has the name of a sound file"),
        ([a], "out.xyz", "names no sound format"),
        ([x], "x", "is an input file"),
        ([Path("folder.d")], "out", "There are no sound files in the folder 'folder.d'"),
        ([Path("none.wav")], "out", "There is no file 'none.wav'"),
        ([Path("-"), a], "out", "give one input and one output"),
    ]:
        with pytest.raises(UsageError, match=re.escape(part)):
            make_plan(inputs, Path(target))


def test_a_part_is_kept_next_to_it_and_under_its_name_only_with_force(
    here_convert: Callable[..., str],
):
    data = speech("talk.wav").read_bytes()
    Path("cut.wav").write_bytes(data[: len(data) // 2])
    told = here_convert("cut.wav", "out.wav", code=1)
    assert "cut.wav is cut short or damaged: 0.75 s of 1.50 s can be read." in told
    assert not Path("out.wav").exists()
    assert soundfile.info("out.incomplete.wav").duration == pytest.approx(0.75, abs=0.01)
    here_convert("cut.wav", "out.wav", "--force", code=1)
    assert soundfile.info("out.wav").duration == pytest.approx(0.75, abs=0.01)


def test_a_file_that_exists_is_refused_as_by_other_commands(here_convert: Callable[..., str]):
    speech("talk.wav")
    Path("out.wav").write_text("mine")
    Path("minute").mkdir()
    exists = "rtvc: out.wav exists already. Choose another name, or overwrite it with --force."
    assert exists in here_convert("talk.wav", "out.wav", code=2)
    assert main(["replay", "minute", "--output", "out.wav"]) == 2
    assert main(["replay", "minute", "--output", "out.xyz"]) == 2
    assert main(["replay", "minute", "--output", "absent/out.wav"]) == 2
    assert Path("out.wav").read_text() == "mine"


def test_a_result_without_the_sound_is_reported_with_the_remedy(here_convert: Callable[..., str]):
    source = speech("talk.wav")
    told = here_convert(source, "out.wav", "--gate", "0", code=1)
    assert "is silent where the input has sound" in told
    assert "use --gate -60" in told
    here_convert(source, "muted.wav", "--mode", "muted")


def test_quiet_recordings_are_converted_as_loud_ones_are(here_convert: Callable[..., str]):
    """The gate of a microphone, -60 dBFS, is above speech at that level."""
    samples, rate = soundfile.read(speech("talk.wav"))
    levels = []
    for name, gain in (("loud", 1.0), ("quiet", 10 ** (-45 / 20))):
        soundfile.write(f"{name}.wav", gain * samples, rate, subtype="FLOAT")
        here_convert(f"{name}.wav", f"{name}-out.wav")
        made, _ = soundfile.read(f"{name}-out.wav")
        levels.append(20 * np.log10(np.sqrt(np.mean(made**2))))
    assert levels[0] - levels[1] == pytest.approx(45, abs=3)


def test_standard_input_and_output():
    source = speech("talk.wav", 0.5)
    convert(source, "out.wav")
    done = run("-", "-", stdin=source.read_bytes(), text=False)
    assert done.stdout == Path("out.wav").read_bytes()
    samples, _ = soundfile.read(source, dtype="float32")
    done = run("-", "-", "--raw", stdin=samples.astype("<f4").tobytes(), text=False)
    raw = np.frombuffer(done.stdout, "<f4")
    np.testing.assert_allclose(raw, soundfile.read("out.wav")[0], atol=2**-22)


@pytest.mark.parametrize(("words", "rate"), [((), 48_000), (("--rate", "22050"), 22_050)])
def test_raw_output_has_the_stated_rate_whatever_that_of_the_input_is(
    words: tuple[str, ...], rate: int
):
    source = speech("talk.wav", 0.5, rate=16_000)
    done = run(source, "-", "--raw", *words, text=False)
    assert len(done.stdout) == 4 * round(0.5 * rate)


def test_pipes_if_the_temporary_folder_has_a_name_that_is_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    samples = soundfile.read(speech("talk.wav", 0.3))[0]
    done = run("-", "-", "--raw", stdin=samples.astype("<f4").tobytes(), text=False)
    assert len(done.stdout) == 4 * len(samples)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
def test_other_formats_are_decoded_and_what_is_missing_in_them_is_reported(
    here_convert: Callable[..., str],
):
    source = speech("talk.wav")
    words = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-i",
        str(source),
        "-movflags",
        "+faststart",
        "talk.m4a",
    ]
    subprocess.run(words, check=True)
    here_convert("talk.m4a", "out.wav")
    assert soundfile.info("out.wav").duration == pytest.approx(1.5, abs=0.1)
    data = Path("talk.m4a").read_bytes()
    Path("cut.m4a").write_bytes(data[: 3 * len(data) // 4])
    assert "cut.m4a is cut short or damaged" in here_convert("cut.m4a", "cut.wav", code=1)


def test_without_a_decoder_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, here_convert: Callable[..., str]
):
    Path("memo.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(3000))
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "Install ffmpeg" in here_convert("memo.m4a", "out.wav", code=1)


def test_what_cannot_be_opened_or_made_is_one_sentence(here_convert: Callable[..., str]):
    speech("in/a.wav", 0.1).chmod(0)
    speech("in/b.wav", 0.1)
    speech("in/sub/c.wav", 0.1)
    speech("in/locked/d.wav", 0.1)
    Path("in/locked").chmod(0)
    Path("in/e.wav").symlink_to("locked/d.wav")
    Path("out").mkdir()
    for folder in (".", "out"):
        Path(folder).chmod(0o777)
    Path("out/sub").write_text("in the way")
    with unprivileged():
        told = here_convert("in", "out", code=1).splitlines()
    Path("in/locked").chmod(0o777)
    assert "rtvc: You have no permission to read in/a.wav." in told
    assert "rtvc: Cannot make the folder out/sub: File exists." in told
    assert "skipped     locked: a folder that cannot be read (Permission denied)" in told
    assert "skipped     e.wav: a file that cannot be read (Permission denied)" in told
    assert told[-1] == "1 of 3 files converted, 2 failed, 2 skipped."
    assert "File name too long" in here_convert("in/b.wav", f"{'x' * 300}.wav", code=1)


def test_closed_standard_streams_are_no_error():
    speech("talk.wav", 0.3)
    words = f"{sys.executable} -m rtvc convert talk.wav out.wav <&- >&- 2>&-"
    assert subprocess.run(words, shell=True, check=False, timeout=60).returncode == 0
    assert soundfile.info("out.wav").frames == 14_400


def test_an_interrupt_leaves_nothing_half_done():
    soundfile.write("talk.wav", np.tile(load_utterance(), 6), 48_000)
    words = [sys.executable, "-m", "rtvc", "convert", "talk.wav", "out.wav", "--block", "20"]
    with started(words, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while len(os.listdir()) == 1 and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err == ""
    assert os.listdir() == ["talk.wav"]


@pytest.mark.thorough
def test_a_terminal_shows_progress_and_the_time_left():
    speech("talk.wav", 9.0)
    code = (
        "import sys; from rtvc.cli.main import main; "
        "sys.exit(main(['convert', 'talk.wav', 'out.wav']))"
    )
    with on_terminal(code) as terminal:
        seen = terminal.read_until("x real time")
        assert re.search(r"\rtalk.wav reading \[#+ *\] +\d+% +\d+ s left", seen)
        assert re.search(r"\rtalk.wav [\d.]+x \[#+ *\] +\d+% +\d+ s left", seen)
        assert terminal.process.wait(20) == 0
