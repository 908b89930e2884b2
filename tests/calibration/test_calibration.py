"""What was measured: the sizes that follow, the file, and when it no longer holds."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvc.calibration import conditions
from rtvc.calibration.conditions import Conditions
from rtvc.calibration.profiles import (
    LONGEST_BLOCK,
    PROFILES,
    SHORTEST_BLOCK,
    Sizes,
    choose,
    closest_sizes,
    too_slow,
)
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing
from rtvc.calibration.work import PARTS, work_of
from rtvc.cli import main
from rtvc.cli.calibrate import _measure_parts
from rtvc.config import calibration_yaml
from rtvc.config.calibration_yaml import calibration_path, load_calibration, save_calibration
from rtvc.config.remembered import RememberedRun, load_remembered, save_remembered
from rtvc.engine.degradation_levels import make_levels
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.open_voice import voice_kind
from rtvc.live.startup_sizing import startup_sizing
from rtvc.settings import RESERVE_MS, Settings
from tests.cli.test_main import ROOT, refused, rtvc_command
from tests.support.library_files import GOLDEN, V1_32K, V2
from tests.support.patience import measured
from tests.support.processes import started

CONDITIONS = Conditions("a processor", 2, "0.1", "mains", False, "2026-01-01")
BALANCED = PROFILES["balanced"]
ANNA = Settings(voice="Anna")


def timing(constant=20.0, per_block=0.2, per_context=0.02, tail=1.2, **notes):
    longest = notes.pop("longest", tail)
    on = notes.pop("on", CONDITIONS)
    return Timing(constant, per_block, per_context, tail, longest, on, **notes)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RTVC_CONFIG_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def chosen(*model: Any, **fixed: Any) -> Sizes:
    """Choose sizes for a machine that has some."""
    sizes = choose(*model, **fixed)
    assert sizes is not None
    return sizes


class TestSizes:
    @given(
        st.floats(0, 100),
        st.floats(0, 1),
        st.floats(0, 0.1),
        st.floats(1, 3),
        st.sampled_from(list(PROFILES.values())),
    )
    def test_the_block_is_the_smallest_that_leaves_the_margin(self, a, b, c, tail, profile):
        model = timing(a, b, c, tail)
        sizes = choose(model, profile)
        blocks = range(SHORTEST_BLOCK, LONGEST_BLOCK + 1, 10)
        good = [n for n in blocks if model.p99(n, profile.context) <= profile.max_load * n]
        if sizes is None:
            assert not good
            assert "too slow" in too_slow("world", model, profile)
            return
        assert sizes.block == good[0]
        assert sizes.context == profile.context
        assert sizes.p99 == model.p99(sizes.block, sizes.context)
        # A step of the p99 is in time, and one that other threads hold up a little, too.
        assert sizes.headroom - RESERVE_MS >= sizes.p99 + 20
        Settings(block=sizes.block, headroom=sizes.headroom, context=sizes.context)

    def test_profiles_move_along_the_trade_off(self):
        found = [chosen(timing(), PROFILES[name]) for name in ("fast", "balanced", "quality")]
        assert [sizes.context for sizes in found] == [500, 1000, 2500]
        assert found[0].block < found[1].block < found[2].block
        assert found[0].headroom < found[1].headroom < found[2].headroom

    @pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
    def test_headroom_is_for_the_longest_step_and_more(self, profile):
        calm, rough = timing(), timing(longest=2.0)
        sizes = chosen(rough, profile)
        assert sizes.block == chosen(calm, profile).block
        needed = profile.headroom_factor * 2.0 * rough.p50(sizes.block, sizes.context)
        assert needed == profile.headroom_factor * rough.max(sizes.block, sizes.context)
        assert needed <= sizes.headroom - RESERVE_MS < needed + 10
        assert chosen(calm, profile).headroom < sizes.headroom

    def test_what_is_chosen_is_kept(self):
        assert chosen(timing(), BALANCED, block=70.0).block == 70.0
        assert chosen(timing(), BALANCED, context=300.0).context == 300.0
        assert chosen(timing(1000.0), BALANCED, block=70.0).headroom == 1000.0

    @pytest.mark.parametrize(
        ("model", "help_"),
        [
            (timing(10.0, 0.3, 0.1), "Use --profile fast (context 500 ms, block"),
            (timing(10.0, 0.1, 0.01), None),
            (timing(300.0, 0.3, 0.0, methods={"dio": 250.0}), "--pitch-method dio --profile fast"),
            (timing(300.0, 0.2, 0.0), "Use --block 800 --profile fast"),
            (timing(10.0, 0.9, 0.0), "Use the built-in voice, a machine with a GPU"),
        ],
    )
    def test_a_message_for_a_slow_machine_names_a_remedy(self, model, help_):
        if help_ is None:
            assert choose(model, BALANCED) is not None
            return
        assert choose(model, BALANCED) is None
        sentence = too_slow("rvc-40k", model, BALANCED)
        assert "too slow for RVC voices of 40 kHz in real time" in sentence
        assert help_ in sentence
        assert sentence.count(". ") == 1
        assert sentence.endswith(".")

    def test_the_built_in_voice_is_not_advised_for_itself(self):
        assert "faster processor" in too_slow("world", timing(10.0, 0.9), BALANCED)


class TestSizing:
    def test_only_sizes_that_are_not_set_are_filled_in(self):
        sizing = Sizing({"rvc-48k": timing()})
        sizes = chosen(timing(), BALANCED)
        assert sizing.changes(ANNA, "rvc-48k") == {"block": sizes.block, "headroom": sizes.headroom}
        assert sizing.changes(Settings(), "world") == {}
        own = sizing.changes(ANNA.replace(block=300.0), "rvc-48k")
        assert own == {"headroom": chosen(timing(), BALANCED, block=300.0).headroom}
        assert "context" not in sizing.changes(ANNA.replace(context=400.0), "rvc-48k")
        all_own = ANNA.replace(block=300.0, headroom=200.0, context=400.0)
        assert sizing.changes(all_own, "rvc-48k") == {}
        pinned = dataclasses.replace(sizing, chosen=frozenset({"block"}))
        assert "block" not in pinned.changes(ANNA, "rvc-48k")

    def test_a_profile_decides_the_context_also_without_a_measurement(self):
        assert Sizing(profile=PROFILES["quality"]).changes(Settings(), "world") == {
            "context": 2500.0
        }
        assert Sizing().changes(Settings(), "world") == {}

    def test_what_is_on_around_the_voice_counts(self):
        parts = {"noise strong": 0.1, "speech gate": 0.05, "reverb": 0.02}
        model = timing(processing=parts)
        sizing = Sizing({"rvc-48k": model})
        usual = sizing.changes(ANNA, "rvc-48k")
        assert usual == Sizing({"rvc-48k": timing()}).changes(ANNA, "rvc-48k")
        loaded = ANNA.replace(noise="strong", speech_gate=True)
        sizes = chosen(model, BALANCED, work=work_of(loaded))
        assert sizes.block > chosen(model, BALANCED).block
        changes = {"block": sizes.block, "headroom": sizes.headroom}
        assert sizing.changes(loaded, "rvc-48k") == changes
        more = sizes.p99 - model.p99(sizes.block, sizes.context)
        assert more == pytest.approx(model.tail * 0.15 * sizes.block)
        assert sizing.changes(ANNA.replace(noise="light"), "rvc-48k") == usual, "not measured"
        slow = {"rvc-48k": timing(processing={"noise strong": 0.9}, on=conditions.conditions())}
        save_calibration(slow)
        assert load_calibration() == (slow, "")
        level, *_ = make_levels(loaded, sizing, "rvc-48k")
        assert level.predicted_s == pytest.approx(
            model.p50(sizes.block, 1000.0, work_of(loaded)) / 1000
        )

    def test_a_file_of_an_older_version_has_no_parts(self):
        save_calibration({"world": timing()})
        path = calibration_path()
        path.write_text(path.read_text().replace("    processing: {}\n", ""))
        assert load_calibration() == ({"world": timing()}, "")

    def test_a_machine_that_is_too_slow_gets_the_most_that_it_can_do(self):
        slow = timing(10.0, 0.9, 0.0)
        changes = Sizing({"world": slow}).changes(Settings(), "world")
        most = closest_sizes(slow)
        assert changes == {"block": 500.0, "headroom": most.headroom, "context": 500.0}

    def test_kinds(self, home):
        add_voice(FoundVoice(V2, None, "Anna"))
        assert voice_kind("world") == "world"
        assert voice_kind("anna") == "rvc-48k"
        assert voice_kind("nobody") == voice_kind("./some.pth") == ""

    def test_warnings(self, home):
        add_voice(FoundVoice(V2, None, "Anna"))
        now = conditions.conditions()
        assert startup_sizing(Settings(), "balanced", frozenset())[1].warnings == ""
        _, advice = startup_sizing(ANNA, "balanced", frozenset())
        assert "RVC voices of 48 kHz is not known. Run 'rtvc calibrate'" in advice.warnings
        save_calibration({"rvc-48k": timing(on=now)})
        sizing, advice = startup_sizing(ANNA, "balanced", frozenset())
        assert advice.warnings == ""
        assert "measured on this machine: block" in advice.notes
        assert sizing.timing("rvc-48k") == timing(on=now)
        for change, words in (
            (
                {"mlx": "0.0.1"},
                f"MLX has changed from 0.0.1 to {now.mlx}. Run 'rtvc calibrate' again",
            ),
            ({"cores": 99}, "the machine has changed"),
            ({"processor": "8086"}, "the machine has changed"),
        ):
            save_calibration({"rvc-48k": timing(on=dataclasses.replace(now, **change))})
            sizing, advice = startup_sizing(ANNA, "balanced", frozenset())
            assert words in advice.warnings
            assert (sizing.timing("rvc-48k") is None) == ("machine" in words)
        save_calibration({"rvc-48k": timing(10.0, 0.9, on=now)})
        assert "too slow" in startup_sizing(ANNA, "balanced", frozenset())[1].warnings


class TestFile:
    def test_it_says_what_was_saved(self):
        timings = {
            "world": timing(0.5, 0.0123, 0.0),
            "rvc-40k": timing(12.3, 0.4, 0.05, methods={"dio": 30.0}, without_index=2.0),
        }
        save_calibration(timings)
        assert load_calibration() == (timings, "")
        text = calibration_path().read_text()
        assert "balanced: block 40 ms, headroom 40 ms, context 1000 ms" in text
        assert "no block leaves the margin" in text

    def test_there_need_be_none(self):
        assert load_calibration() == ({}, "")

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda text: text[:40] + "\n: : [", "calibration.yaml:"),
            (lambda text: "", "the file should be a mapping"),
            (lambda text: "\0", "is not allowed|not valid YAML"),
            (lambda text: "x" * 70_000, "larger than 64 KiB"),
            (lambda text: "&a [*a, *a]", "should be a mapping"),
            (lambda text: text.replace("format: 1", "format: 0"), "format is 0 instead of 1"),
            (lambda text: text.replace("format: 1", "format: 2"), "a newer version of rtvc has"),
            (lambda text: text.replace("voices:", "noises:"), "voices should be a mapping"),
            (lambda text: text.replace("tail: 1.2", "tail: .nan"), "tail of world is nan"),
            (lambda text: text.replace("tail: 1.2", f"tail: 1{400 * '0'}"), "out of range"),
            (lambda text: text.replace("tail: 1.2", "tail: 0.5"), "tail of world is below 1"),
            (lambda text: text.replace("tail: 1.2", "tail: much"), "tail of world is missing or"),
            (lambda text: text.replace("constant: 20", "constant: -1"), "out of range"),
            (lambda text: text.replace("cores: 2", "cores: two"), "cores of world is missing or"),
            (lambda text: text.replace("methods: {}", "methods: 5"), "methods of world should be"),
            (lambda text: text[: len(text) // 2], "of world|world should be"),
        ],
    )
    def test_damage_is_one_sentence_and_no_harm(self, damage, words):
        save_calibration({"world": timing()})
        text = calibration_path().read_text()
        assert damage(text) != text
        calibration_path().write_text(damage(text))
        timings, sentence = load_calibration()
        assert timings == {}
        assert any(word in sentence for word in words.split("|")), sentence
        assert str(calibration_path()) in sentence
        newer = "a newer version" in sentence
        assert ("Update rtvc to use it." if newer else "Run 'rtvc calibrate' again.") in sentence
        assert "\n" not in sentence
        sizing, advice = startup_sizing(Settings(), "balanced", frozenset())
        assert sizing.timings == {}
        assert advice.warnings == sentence

    def test_what_is_no_text_is_told(self):
        calibration_path().parent.mkdir(parents=True)
        calibration_path().write_bytes(b"\xff\xfe\x00")
        assert "UTF-8" in load_calibration()[1]


class TestRemembered:
    def test_a_profile_and_a_size_that_is_the_default_are_remembered(self):
        choices = RememberedRun(
            settings=Settings(pitch=2.0), profile="fast", chosen=frozenset({"block"})
        )
        save_remembered(choices)
        assert load_remembered() == (choices, "")

    def test_an_unknown_profile_is_the_usual_one(self, home):
        save_remembered(RememberedRun(profile="fast"))
        path = home / "remembered.yaml"
        path.write_text(path.read_text().replace("fast", "slow"))
        assert load_remembered()[0].profile == "balanced"


HURRIED = """
import sys
from rtvc.cli.main import main
from rtvc.engine.profiling import step_timing
step_timing._PAUSE_S = 0.0
sys.exit(main(["calibrate", *sys.argv[1:]]))
"""


def calibrate(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``rtvc calibrate`` without the rests between its steps, which are most of its time."""
    return subprocess.run(
        [sys.executable, "-c", HURRIED, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=400,
        check=True,
    )


class TestCommand:
    @pytest.mark.slow
    def test_it_measures_writes_and_is_used(self, home):
        done = calibrate("--seconds", "2", "--profile", "fast")
        assert "only the built-in voice is measured" in done.stderr
        assert "  * fast: " in done.stdout
        timings, sentence = load_calibration()
        assert sentence == ""
        assert list(timings) == ["world"]
        assert timings["world"].conditions == conditions.conditions()
        assert load_remembered()[0].profile == "fast"
        assert timings["world"].processing.keys() == PARTS.keys()
        # As a fast machine would have found it.
        fast = dataclasses.replace(timings["world"], constant=0.5, per_block=0.05, per_context=0.0)
        save_calibration({"world": fast})
        sizes = chosen(fast, PROFILES["fast"])
        words = ("run", "--demo", "--latency", "constant", "--seconds", "1", "--stats")
        done = rtvc_command(*words, "a.json")
        assert f"Profile fast, measured on this machine: block {sizes.block:.0f} ms" in done.stderr
        report = json.loads(Path("a.json").read_text())
        assert report["stats"]["latency"]["block"] == pytest.approx(sizes.block / 1000)
        assert report["stats"]["latency"]["headroom"] == pytest.approx(sizes.headroom / 1000)
        # A value set by the user takes precedence, even if it is the default.
        rtvc_command(*words, "b.json", "--block", "100", "--profile", "balanced")
        report = json.loads(Path("b.json").read_text())
        assert report["stats"]["latency"]["block"] == pytest.approx(0.1)

    @pytest.mark.thorough
    @pytest.mark.slow
    def test_one_voice_leaves_the_others_as_they_were(self, home):
        others = {"rvc-32k": timing()}
        save_calibration(others)
        calibrate("--voice", "world", "--seconds", "1", "--busy")
        timings, _ = load_calibration()
        assert timings["rvc-32k"] == others["rvc-32k"]
        assert timings["world"].conditions.busy

    @pytest.mark.thorough
    @pytest.mark.slow
    def test_voices_without_base_models_are_left_out_with_a_sentence(self, home):
        add_voice(FoundVoice(V1_32K, None, "Anna"))
        done = calibrate("--seconds", "1")
        assert "Not measured: The voice 'Anna' needs the content encoder" in done.stderr
        assert "'rtvc setup'" in done.stderr
        assert "RMVPE is not installed: voices are measured with swift." in done.stderr
        assert list(load_calibration()[0]) == ["world"]
        assert "needs the content encoder" in refused("calibrate", "--voice", "Anna", code=1)

    @pytest.mark.thorough
    @pytest.mark.slow
    def test_of_each_rate_one_voice_is_measured(self, home):
        from rtvc.library.setting_up import install_from_folder

        install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
        install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
        for name in ("voice_v1_f0_40k", "voice_v1_nof0_40k"):
            add_voice(FoundVoice(GOLDEN / f"{name}.pth", None, name))
        done = calibrate("--seconds", "1")
        assert "Measuring world, voice_v1_f0_40k:" in done.stderr
        timings, _ = load_calibration()
        assert list(timings) == ["world", "rvc-40k"]
        assert set(timings["rvc-40k"].methods) == {"swift", "dio"}

    def test_an_unknown_voice_is_refused(self):
        assert "There is no voice 'nobody'" in refused("calibrate", "--voice", "nobody")

    @pytest.mark.thorough
    @pytest.mark.slow
    def test_ctrl_c_leaves_the_old_file_alone(self, home):
        save_calibration({"world": timing()})
        before = calibration_path().read_bytes()
        words = [sys.executable, "-m", "rtvc", "calibrate", "--seconds", "60", "--profile", "fast"]
        with started(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert "only the built-in voice" in process.stderr.readline()
            assert "Measuring world" in process.stderr.readline()
            time.sleep(3.0)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stderr.read() == ""
        assert calibration_path().read_bytes() == before
        # The lock, and the verdict of the self-test, which comes first, may be there.
        assert {file.name for file in home.iterdir()} - {"compute.json", "running"} == {
            calibration_path().name
        }

    def test_two_at_a_time_are_refused(self, home):
        with calibration_yaml.only_calibration():
            message = refused("calibrate", "--seconds", "1", code=1)
        assert "Another 'rtvc calibrate' is running" in message
        with calibration_yaml.only_calibration():
            pass
        assert not calibration_path().exists()

    @pytest.mark.thorough
    @pytest.mark.slow
    def test_a_run_that_starts_meanwhile_stays_remembered(self, home):
        words = (sys.executable, "-m", "rtvc", "calibrate", "--seconds", "1", "--profile", "fast")
        with started(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while "Measuring world" not in process.stderr.readline():
                pass
            time.sleep(0.5)
            save_remembered(RememberedRun(settings=Settings(pitch=3.0)))
            assert process.wait(120) == 0
        run = load_remembered()[0]
        assert (run.settings.pitch, run.profile) == (3.0, "fast")

    @measured
    def test_under_load_the_parts_around_the_voice_are_measured_under_load_too(self):
        threads: set[str] = set()

        def show(_share: float) -> None:
            threads.update(thread.name for thread in threading.enumerate())

        for flags, loaded in (([], False), (["--busy"], True)):
            args = main.parse(["calibrate", "--seconds", "0.1", *flags])
            _measure_parts(args, show)
            assert ("rtvc load" in threads) == loaded

    def test_help_explains_the_profiles(self):
        text = " ".join(rtvc_command("calibrate", "--help").stdout.split())
        for name, profile in PROFILES.items():
            assert f"{name} context {profile.context / 1000:.1f} s" in text
            assert f"{100 * profile.max_load:.0f} %" in text


def test_the_file_is_written_whole_or_not_at_all(home, monkeypatch):
    save_calibration({"world": timing()})
    before = calibration_path().read_bytes()
    monkeypatch.setattr(calibration_yaml, "describe_sizes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_calibration({"world": timing(5.0)})
    assert calibration_path().read_bytes() == before


class TestConditions:
    def test_low_power_mode_is_a_change(self):
        saving = dataclasses.replace(CONDITIONS, low_power=True)
        assert CONDITIONS.changes(saving) == ["low-power mode has been switched on"]
        assert saving.changes(CONDITIONS) == ["low-power mode has been switched off"]

    def test_a_change_of_power_is_a_change(self):
        battery = dataclasses.replace(CONDITIONS, power="battery")
        unknown = dataclasses.replace(CONDITIONS, power="")
        assert CONDITIONS.changes(battery) == ["the power supply has changed to battery"]
        assert battery.changes(CONDITIONS) == ["the power supply has changed to mains"]
        assert CONDITIONS.changes(unknown) == unknown.changes(battery) == []

    def test_this_machine(self):
        now = conditions.conditions(busy=True)
        assert now.cores == os.cpu_count()
        assert now.busy
        assert now.power in ("", "mains", "battery")
        assert now.mlx.count(".") == 2
