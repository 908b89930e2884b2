"""Load a voice by name or path and convert with it, also from the command line."""

import dataclasses
import gc
import os
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtvc.audio.simulated import SimulatedDevice
from rtvc.between import name_between
from rtvc.calibration.conditions import conditions
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing
from rtvc.cli.main import main
from rtvc.engine.models.ops import backend
from rtvc.engine.plan import make_plan
from rtvc.engine.rvc.loading import load_pitch_estimator, voice_file
from rtvc.engine.rvc.voice import RvcStream, RvcVoice
from rtvc.errors import RtvcError, UsageError
from rtvc.library import installed_voice
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.open_voice import find_estimator, find_voice
from rtvc.library.setting_up import install_from_folder
from rtvc.live.demo import load_utterance
from rtvc.session import Session
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.support.material import more
from tests.support.unprivileged import unprivileged

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home")]

V1 = GOLDEN / "voice_v1_f0_40k.pth"
FILE_EVENTS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename"}


@pytest.fixture
def models(home):
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")


@pytest.fixture
def anna(models):
    return add_voice(FoundVoice(V1, INDEX, "Anna"))


def test_an_installed_voice_is_found_by_name(anna):
    voice = find_voice("anna")
    assert voice.name == "Anna"
    assert (voice.input_rate, voice.output_rate, voice.continuous) == (16_000, 40_000, True)
    settings = Settings(index_rate=1.0)
    stream = voice.open(make_plan(settings, voice_lookahead=5, continuous=True), settings)
    rendered = stream.render(np.zeros(1600, np.float32), settings)
    assert rendered.audio.shape == (10 * 400,)


def test_a_voice_is_found_by_the_path_of_its_file_or_folder(models, home):
    folder = home / "here" / "anna"
    folder.mkdir(parents=True)
    (folder / "anna.pth").write_bytes(V1.read_bytes())
    by_file = find_voice(str(folder / "anna.pth"))
    assert isinstance(by_file, RvcVoice)
    assert by_file.content._index is None
    (folder / INDEX.name).write_bytes(INDEX.read_bytes())
    by_folder = find_voice("here/anna")
    assert isinstance(by_folder, RvcVoice)
    assert by_folder.content._index is not None
    assert by_folder.voice is by_file.voice


def test_networks_are_shared_and_kept_until_their_file_changes(anna):
    first = find_voice("anna")
    assert isinstance(first, RvcVoice)
    network, encoder = weakref.ref(first.voice), first.content._encoder
    assert find_estimator("rmvpe") is not find_estimator("dio")
    assert find_estimator("rmvpe") is find_estimator("rmvpe")
    del first
    second = find_voice("anna")
    assert isinstance(second, RvcVoice)
    assert second.voice is network()
    assert second.content._encoder is encoder
    del second
    os.utime(voice_file(installed_voice("anna").path), (1, 1))
    third = find_voice("anna")
    assert isinstance(third, RvcVoice)
    assert third.content._encoder is encoder
    assert network() is None  # the new version has replaced it


def test_networks_are_not_kept_when_another_way_to_compute_is_used(anna, monkeypatch):
    def network():
        found = find_voice("Anna")
        assert isinstance(found, RvcVoice)
        return found.voice

    before = weakref.ref(network())
    assert network() is before() is not None
    monkeypatch.setattr(backend, "compute", dataclasses.replace(backend.compute, gru_kernel=False))
    again = network()
    gc.collect()
    assert before() is None
    assert network() is again


def test_a_voice_that_has_computed_is_not_warmed_up_again(anna, monkeypatch):
    renders, render = [], RvcStream.render
    caller = threading.get_ident()  # another thread may still warm up for an earlier test

    def counted(*given):
        if threading.get_ident() == caller:
            renders.append(1)
        return render(*given)

    monkeypatch.setattr(RvcStream, "render", counted)
    settings = Settings()

    def open_stream(block):
        renders.clear()
        plan = make_plan(settings.replace(block=block), voice_lookahead=5, continuous=True)
        find_voice("anna").open(plan, settings)
        return len(renders)

    first = open_stream(100)
    assert first > 0
    # Whole networks that are traced are traced once for each thread.
    assert open_stream(100) == (first if backend.traces_steps() else 0)
    assert open_stream(200) > 0


def test_networks_loaded_on_one_thread_work_on_another(anna):
    voice, outputs = find_voice("anna"), []
    settings = Settings()

    def work():
        stream = voice.open(make_plan(settings, voice_lookahead=5, continuous=True), settings)
        outputs.append(stream.render(np.full(1600, 0.1, np.float32), settings).audio)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    np.testing.assert_allclose(outputs[0], outputs[2], atol=1e-5)
    np.testing.assert_allclose(outputs[1], outputs[2], atol=1e-5)


def test_missing_base_models_are_reported_with_the_command_to_run(home):
    add_voice(FoundVoice(V1, None, "Anna"))
    with pytest.raises(RtvcError, match=r"ContentVec is not installed.*rtvc setup"):
        find_voice("anna")
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    voice, settings = find_voice("anna"), Settings()
    other = settings.replace(pitch_method="fcpe")
    with pytest.raises(RtvcError, match=r"FCPE is not installed.*rtvc setup"):
        voice.open(make_plan(other, voice_lookahead=5, continuous=True), other)
    voice.open(make_plan(settings, voice_lookahead=5, continuous=True), settings)


def test_a_file_that_is_not_a_voice_is_refused(models, home):
    with pytest.raises(UsageError, match="There is no voice 'nobody'"):
        find_voice("nobody")
    with pytest.raises(RtvcError, match="missing"):
        find_voice("missing.pth")
    (home / "bad.pth").write_text("<!doctype html>")
    with pytest.raises(RtvcError, match=r"bad\.pth"):
        find_voice("./bad.pth")
    with pytest.raises(RtvcError, match="features of width 768"):
        find_voice(str(GOLDEN / "voice_v2_f0_32k.pth"))


@pytest.mark.parametrize("file", ["voice.safetensors", "voice.index"])
def test_a_damaged_file_of_an_installed_voice_names_the_voice(anna, file):
    (installed_voice("Anna").folder / file).write_bytes(b"damaged")
    with pytest.raises(RtvcError) as caught:
        find_voice("anna")
    advice = "The voice 'Anna' is damaged; remove it with 'rtvc voices remove' and add it again. "
    assert str(caught.value).startswith(advice)
    assert file in str(caught.value)


def test_files_that_cannot_be_opened_are_reported(home):
    home.chmod(0o755)
    (home / "locked").mkdir(0)
    with unprivileged(), pytest.raises(RtvcError, match="Cannot open locked: Permission denied"):
        find_voice("./locked")
    voice = home / "a.pth"
    voice.write_bytes((GOLDEN / "voice_v1_f0_40k.pth").read_bytes())
    gone = home / "gone.pth"
    gone.symlink_to(home / "removed.pth")
    with pytest.raises(RtvcError, match=r"Cannot open gone\.pth: No such file"):
        find_voice(name_between(str(voice), str(gone), 0.5))


def test_a_pitch_estimator_that_does_not_exist_is_refused():
    assert load_pitch_estimator(kind="harvest").name == "harvest"
    with pytest.raises(UsageError, match="rmvpe, fcpe, swift, dio and harvest"):
        load_pitch_estimator(V1, "crepe")
    with pytest.raises(UsageError, match="needs the file"):
        load_pitch_estimator(kind="fcpe")


class TestConvert:
    @pytest.fixture
    def talk(self, home):
        for name, seconds in (("talk", 1.5), ("more", 1.0)):
            samples = load_utterance()[24_000 : 24_000 + round(seconds * 48_000)]
            soundfile.write(home / f"{name}.wav", samples, 48_000)
        return Path("talk.wav")

    @pytest.mark.parametrize("quality", more(["offline", "live"]))
    def test_the_result_has_the_length_of_the_source(self, anna, talk, capsys, quality):
        words = ["--voice", "anna", "--quality", quality, "--rate", "44100"]
        assert main(["convert", str(talk), "out.flac", *words]) == 0
        info = soundfile.info("out.flac")
        assert (info.samplerate, info.frames) == (44_100, round(1.5 * 44_100))
        sound, _ = soundfile.read("out.flac")
        assert np.sqrt(np.mean(sound**2)) > 0.02

    @pytest.mark.thorough
    def test_both_qualities_give_aligned_results(self, anna, talk):
        sounds = []
        for quality in ("live", "offline"):
            words = ["--voice", "anna", "--quality", quality, "--lookahead", "100"]
            assert main(["convert", str(talk), f"{quality}.wav", *words, "--gate", "-90"]) == 0
            sounds.append(soundfile.read(f"{quality}.wav")[0])
        assert np.abs(sounds[0] - sounds[1]).max() > 1e-3
        size = 1 << 18
        product = np.fft.rfft(sounds[0], size) * np.conj(np.fft.rfft(sounds[1], size))
        lag = int(np.argmax(np.fft.irfft(product))) % size
        assert min(lag, size - lag) < 480

    @pytest.mark.thorough
    def test_several_files_load_the_voice_once(self, anna, talk, monkeypatch):
        from rtvc.engine.rvc import loading

        loads = []
        load = loading.load_voice

        def counted(path):
            loads.append(path)
            return load(path)

        monkeypatch.setattr(loading, "load_voice", counted)
        words = ["--voice", "anna", "--quality", "offline"]
        assert main(["convert", "talk.wav", "more.wav", "out/", *words]) == 0
        assert sorted(path.name for path in Path("out").iterdir()) == ["more.wav", "talk.wav"]
        assert len(loads) == 1

    def test_an_existing_file_is_refused_before_the_conversion(self, anna, talk, capsys):
        Path("out.wav").write_text("mine")
        words = ["--voice", "anna", "--quality", "offline"]
        assert main(["convert", "talk.wav", "out.wav", *words]) == 2
        assert "out.wav exists already" in capsys.readouterr().err
        assert Path("out.wav").read_text() == "mine"
        assert not list(Path().glob(".out*"))

    def test_both_qualities_of_the_built_in_voice_are_equal(self, talk):
        for quality in ("live", "offline"):
            assert main(["convert", "talk.wav", f"{quality}.wav", "--quality", quality]) == 0
        np.testing.assert_array_equal(
            soundfile.read("live.wav")[0], soundfile.read("offline.wav")[0]
        )

    @pytest.mark.thorough
    def test_swift_takes_the_place_of_rmvpe_until_that_is_installed(self, talk, capsys):
        add_voice(FoundVoice(V1, None, "Anna"))
        install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
        assert find_estimator("rmvpe").name == "swift"
        for method in ("rmvpe", "swift"):
            words = ["--voice", "anna", "--pitch-method", method]
            for quality in ("live", "offline"):
                name = f"{method}-{quality}.wav"
                assert main(["convert", "talk.wav", name, "--quality", quality, *words]) == 0
            note = (
                "RMVPE is not installed: using swift. Run 'rtvc setup' once; it downloads 181 MB."
            )
            assert (note in capsys.readouterr().err) == (method == "rmvpe")
        for quality in ("live", "offline"):
            one, other = (soundfile.read(f"{m}-{quality}.wav")[0] for m in ("rmvpe", "swift"))
            np.testing.assert_array_equal(one, other)
            assert np.abs(one).max() > 1e-3
        install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
        assert find_estimator("rmvpe").name == "rmvpe"

    def test_a_voice_without_its_base_models_is_refused(self, talk, capsys):
        add_voice(FoundVoice(V1, None, "Anna"))
        assert main(["convert", "talk.wav", "out.wav", "--voice", "anna"]) == 1
        assert "rtvc setup" in capsys.readouterr().err
        assert not Path("out.wav").exists()


def test_applying_an_installed_voice_reads_no_file_on_the_calling_thread(anna):
    caller, opened, seconds = threading.get_ident(), [], []
    watching = False

    def watch(event, arguments):
        if watching and event in FILE_EVENTS and threading.get_ident() == caller:
            opened.append((event, *arguments))

    sys.addaudithook(watch)
    timing = Timing(1.0, 0.1, 0.01, 1.2, 1.5, conditions())
    sizing = Sizing({"world": timing, "rvc-40k": timing})
    device = SimulatedDevice(np.zeros(20 * 48_000, np.float32), wall_clock=True)
    wanted = [Settings(voice=name) for name in ("anna", "world")] * 10
    with Session(device, Settings(), sizing=sizing) as session:
        for settings in wanted:
            watching = True
            began = time.perf_counter()
            session.apply(settings)
            seconds.append(time.perf_counter() - began)
            watching = False
            time.sleep(0.02)
        session.apply(wanted[0])
        deadline = time.monotonic() + 20
        while session.stats().voice != "anna" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert session.stats().voice == "anna"
    assert opened == []
    assert min(seconds) < 0.001
