"""What a voice remembers: set, kept, applied, and measured loudness."""

import dataclasses
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from rtvc.audio.integrated_loudness import RATE, integrated_loudness
from rtvc.cli import options
from rtvc.cli.main import main
from rtvc.config.learned_sizes import Conditions, load_learned, save_learned
from rtvc.config.panel_state import PanelState
from rtvc.config.preset_manager import PresetManager
from rtvc.config.presets import find_preset, load_preset, user_folder
from rtvc.config.remembered import RememberedRun, load_remembered, save_remembered
from rtvc.conversion import convert
from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.safetensors import write_safetensors
from rtvc.errors import RtvcError, UsageError
from rtvc.library import rename_voice
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.preset_morph import resolve_morph
from rtvc.library.setting_up import install_from_folder
from rtvc.library.voice_defaults import (
    change_defaults,
    find_defaults,
    follow_voice,
    own_settings,
    remember_settings,
    turned_names,
    updated_run,
    voice_settings,
)
from rtvc.library.voices import installed_voice
from rtvc.live.actions import Actions
from rtvc.live.commands import Commands
from rtvc.live.demo import load_utterance
from rtvc.live.mode_keys import ModeKeys
from rtvc.settings import Settings
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.support.library_files import PLAIN, variant

pytestmark = pytest.mark.usefixtures("home")

V1 = GOLDEN / "voice_v1_f0_40k.pth"


@pytest.fixture
def voices(home):
    add_voice(FoundVoice(V1, INDEX, "Anna"))
    add_voice(FoundVoice(V1, None, "Bert"))
    add_voice(FoundVoice(PLAIN, None, "Carl"))


def defaults_file(name: str) -> Path:
    return installed_voice(name).folder / "defaults.yaml"


class Run:
    """A controller without a session."""

    never_dry = False
    preset = ""
    chosen: frozenset[str] = frozenset()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.scanner = self
        self.voices = {"Anna": "", "Bert": "", "world": ""}

    def keep_ready(self, voices: tuple[str, ...]) -> None:
        self.ready = voices

    def apply(
        self,
        settings: Settings,
        preset: str | None = None,
        chosen: frozenset[str] | None = None,
    ) -> None:
        self.settings, self.preset = settings, preset or ""
        self.chosen = chosen or frozenset()


def actions(settings: Settings) -> tuple[Run, Actions]:
    run, manager = Run(settings), PresetManager(own_settings)
    manager.scan()
    keys = ModeKeys(confirm=True, own_voice_key="space", mute_key="m")
    return run, Actions(run, manager, PanelState(), keys)  # type: ignore[arg-type]


def commands_for(run: Run, act: Actions) -> Commands:
    return Commands(
        run,  # type: ignore[arg-type]
        act,
        PresetManager(),
        status=lambda: "",
        check_voice=lambda settings: None,
    )


def choice(*words: str, base: Settings | None = None) -> options.Chosen:
    import argparse

    parser = argparse.ArgumentParser()
    options.add_settings(parser)
    return options.chosen(parser.parse_args(words), base or Settings())


def chosen(*words: str, base: Settings | None = None) -> Settings:
    return choice(*words, base=base).settings


def test_only_settings_that_you_ask_for_are_reported_as_without_effect(voices):
    change_defaults("Anna", {"morph_to": "Bert"})
    features = {"rvc", "f0", "index"}
    assert options.without_effect(choice("--voice", "Anna"), features) == ""
    asked = choice("--voice", "Anna", "--morph-to", "Bert")
    assert options.without_effect(asked, features) == "--morph-to has"


def test_the_command_sets_shows_and_forgets(voices, capsys):
    assert main(["voices", "set", "anna", "pitch=12", "index-rate=0,7"]) == 0
    assert capsys.readouterr().out == "'Anna' remembers pitch 12 semitones, index rate 0.7.\n"
    assert find_defaults("ANNA") == ({"pitch": 12.0, "index_rate": 0.7}, "")
    assert main(["voices", "show", "Anna"]) == 0
    assert "remembers pitch 12 semitones, index rate 0.7\n" in capsys.readouterr().out
    assert main(["voices", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["voices"]
    assert [voice["remembers"] for voice in listed] == [{"pitch": 12, "index_rate": 0.7}, {}, {}]
    assert main(["voices", "set", "Anna", "pitch="]) == 0
    assert main(["voices", "set", "Anna"]) == 0
    assert capsys.readouterr().out == "'Anna' remembers index rate 0.7.\n" * 2
    assert main(["voices", "set", "Anna", "index_rate="]) == 0
    assert capsys.readouterr().out == "'Anna' remembers nothing.\n"
    assert not defaults_file("Anna").exists()
    assert main(["voices", "set", "Anna", "morph_to=Bert", "pitch_interpolation=on"]) == 0
    remembered = "'Anna' remembers pitch interpolation true, morph to Bert.\n"
    assert capsys.readouterr().out == remembered, "a name keeps its capitals"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Anna", "pitch"), "'pitch' sets nothing. Write SETTING=VALUE, such as pitch=12."),
        (("Anna", "pich=2"), "There is no setting 'pich'. Did you mean 'pitch'?"),
        (("Anna", "pitch=99"), "'pitch' is 99, but must be"),
        (("Anna", "block=100"), "'block' is not a setting of a voice. A voice can remember pitch,"),
        (("Bert", "index_rate=1"), "'index_rate' does nothing with the voice 'Bert'."),
        (("Carl", "pitch=1"), "'pitch' does nothing with the voice 'Carl'."),
        (("Dora", "pitch=1"), "There is no voice 'Dora'."),
        (("world", "pitch=1"), "'world' is the built-in voice"),
    ],
)
def test_what_cannot_be_set_is_refused(voices, capsys, words, message):
    assert main(["voices", "set", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_flag_goes_before_a_preset_and_a_preset_before_the_voice(voices):
    change_defaults("Anna", {"pitch": 12, "formant": 2, "trim": 3})
    assert chosen("--voice", "Anna") == Settings(voice="Anna", pitch=12, formant=2, trim=3)
    user_folder().mkdir(parents=True)
    (user_folder() / "mine.yaml").write_text("voice: Anna\npitch: 5\n")
    (user_folder() / "any.yaml").write_text("pitch: 5\n")
    assert chosen("--preset", "mine", "--formant", "1") == Settings(
        voice="Anna", pitch=5, formant=1, trim=3
    )
    assert chosen("--preset", "any", "--voice", "Anna") == Settings(
        voice="Anna", pitch=5, formant=2, trim=3
    )
    restored = Settings(voice="Anna", pitch=7)
    assert chosen("--voice", "Anna", base=restored) == restored, "it is no change of voice"


def test_a_change_of_voice_takes_what_either_voice_remembers(voices):
    change_defaults("Anna", {"pitch": 12, "formant": 2})
    change_defaults("Bert", {"formant": -1})
    run, act = actions(Settings(pitch=3, protect=0.1, gate=-50))
    assert act.select_voice("Anna") == "pitch: 3 -> 12 semitones, formant: 0 -> 2 semitones."
    assert run.settings == Settings(voice="Anna", pitch=12, formant=2, protect=0.1, gate=-50)
    run.settings = run.settings.replace(pitch=10)
    act.select_voice("Bert")
    assert run.settings == Settings(voice="Bert", formant=-1, protect=0.1, gate=-50)
    act.select_voice("world")
    assert run.settings == Settings(protect=0.1, gate=-50)
    assert follow_voice(run.settings, "Carl") == run.settings.replace(voice="Carl")


def test_the_case_of_a_name_makes_no_other_voice(voices):
    change_defaults("Anna", {"pitch": 12, "formant": 2})
    turned = Settings(voice="Anna", pitch=7, morph_to="Bert", morph=0.3)
    assert choice("--voice", "aNNa", base=turned).settings == turned
    assert chosen("--voice", "anna") == Settings(voice="Anna", pitch=12, formant=2)
    assert chosen(base=turned.replace(voice="anna")) == turned
    assert follow_voice(turned, "anna") == turned
    assert follow_voice(turned.replace(voice="anna"), "Anna") == turned
    save_remembered(RememberedRun(settings=turned.replace(voice="anna"), turned=frozenset()))
    assert updated_run(load_remembered()[0]).settings.voice == "Anna"


def test_a_path_leads_to_the_same_voice_from_every_folder(voices, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "elsewhere" / "Cleo.pth"
    path.touch()
    for typed in ("Cleo.pth", "./Cleo.pth", str(path)):
        found = chosen("--voice", typed, "--morph-to", typed)
        assert (found.voice, found.morph_to) == (str(path), str(path))
    assert chosen("--voice", "~/Cleo.pth").voice == "~/Cleo.pth"
    assert chosen("--morph-to", "deep").morph_to == "deep"
    run, act = actions(Settings())
    commands = commands_for(run, act)
    commands.line(":voice ./Cleo.pth")
    assert run.settings.voice == str(path)
    assert change_defaults("Anna", {"morph_to": "./Cleo.pth"}) == {"morph_to": str(path)}
    with pytest.raises(UsageError, match=r"There is no file or folder '\./none\.pth'"):
        change_defaults("Anna", {"morph_to": "./none.pth"})


def test_the_case_of_a_name_in_a_preset_makes_no_other_voice(voices):
    change_defaults("Anna", {"formant": 2})
    user_folder().mkdir(parents=True)
    (user_folder() / "mine.yaml").write_text("voice: anna\npitch: 5\n")
    (user_folder() / "any.yaml").write_text("pitch: 5\n")
    wanted = Settings(voice="Anna", pitch=5, formant=2)
    run, act = actions(Settings())
    act.load_preset("mine")
    assert run.settings == wanted
    assert act.origin is not None
    assert not act.origin.edits
    manager = PresetManager(own_settings)
    manager.scan()
    assert manager.current(wanted) == "mine"
    for flags, name in ((("--voice", "ANNA"), "mine"), (("--voice", "Bert"), "")):
        found = choice("--preset", "mine", *flags)
        assert (found.settings.voice, found.preset) == (flags[1].capitalize(), name)
    assert choice("--preset", "any", "--voice", "anna").preset == ""


def test_the_voice_in_use_remembers_its_settings(voices):
    run, act = actions(Settings(voice="Anna", pitch=12, breathiness=0.5, gate=-50, trim=-2))
    commands = commands_for(run, act)
    assert commands.line(":remember") == "'Anna' remembers: pitch 12 semitones, trim -2 dB."
    assert find_defaults("Anna")[0] == {"pitch": 12, "trim": -2}, "breathiness does nothing with it"
    assert act.start == Settings(voice="Anna", pitch=12, trim=-2)
    run.settings = Settings(voice="Anna")
    assert commands.line(":remember") == (
        "'Anna' remembers nothing: its settings are at their defaults."
    )
    assert "Save a preset." in commands.attempt(lambda: str(remember_settings(Settings())))


def test_a_preset_that_is_saved_is_loaded_as_it_was(voices):
    change_defaults("Anna", {"pitch": 12, "protect": 0.1})
    run, act = actions(Settings(voice="Anna", pitch=0, protect=0.1))
    act.save_preset("mine", "")
    change_defaults("Anna", {"protect": 0.2})
    run.settings = Settings()
    act.load_preset("mine")
    assert run.settings == Settings(voice="Anna", pitch=0, protect=0.1)
    assert load_preset(user_folder() / "mine.yaml").given == {"voice", "pitch", "protect"}
    assert act.origin is not None
    assert not act.origin.edits


def test_a_remembered_run_restores_what_was_turned_and_follows_the_voice(voices):
    change_defaults("Anna", {"pitch": 12, "formant": 2})
    settings = Settings(voice="Anna", pitch=12, formant=0, protect=0.1, gate=-50)
    save_remembered(RememberedRun(settings=settings, turned=turned_names(settings)))
    assert updated_run(load_remembered()[0]).settings == settings
    change_defaults("Anna", {"pitch": 10, "formant": None, "trim": 1})
    found = updated_run(load_remembered()[0])
    assert found.settings == settings.replace(pitch=10, trim=1)
    save_remembered(RememberedRun(settings=Settings(voice="Anna", pitch=4)))
    assert updated_run(load_remembered()[0]).settings == Settings(voice="Anna", pitch=4, trim=1)
    built_in = RememberedRun(settings=Settings(pitch=4))
    assert updated_run(built_in) == built_in


def test_it_survives_a_new_name_removal_and_replacement(voices, capsys):
    change_defaults("Anna", {"pitch": 12})
    rename_voice("Anna", "Anne")
    assert find_defaults("Anna") == ({}, "")
    assert main(["voices", "remove", "Anne"]) == 0
    assert main(["voices", "restore", "Anne"]) == 0
    add_voice(FoundVoice(V1, None, "Anne"), force=True)
    assert find_defaults("Anne") == ({"pitch": 12}, "")


def test_a_voice_to_morph_to_must_be_installed(voices, capsys):
    assert main(["voices", "set", "Anna", "morph_to=Brt"]) == 2
    assert "There is no voice 'Brt'" in capsys.readouterr().err
    assert find_defaults("Anna")[0] == {}
    assert main(["voices", "set", "Anna", "morph_to=bert"]) == 0


def test_a_new_name_is_used_wherever_the_old_one_was(voices, capsys):
    user_folder().mkdir(parents=True)
    mine = user_folder() / "mine.yaml"
    mine.write_text("# My own.\nvoice: anna   # in lower case\npitch: 3\n")
    other, bad = user_folder() / "other.yaml", user_folder() / "bad.yaml"
    other.write_text("voice: Bert\n")
    bad.write_text("voice: Anna\npitch: much\n")
    change_defaults("Bert", {"morph_to": "Anna", "pitch": 2})
    save_remembered(RememberedRun(settings=Settings(voice="Anna", gate=-50), preset="mine"))
    here = Conditions("USB", "Headphones", "mains")
    save_learned(here, {("Anna", "rvc-40k"): (150.0, 90.0)})
    assert main(["voices", "rename", "Anna", "Anne Marie"]) == 0
    told = capsys.readouterr().out
    assert told == (
        "'Anna' is now 'Anne Marie'.\n"
        "Its name was also changed in the settings of the last run, the preset 'mine', what 'Bert' "
        "remembers, what automatic latency has found.\n"
    )
    assert load_learned(here)["Anne Marie", "rvc-40k"] == (150.0, 90.0)
    text = mine.read_text()
    assert text.startswith("# My own.\nvoice: Anne Marie   # in lower case\npitch: 3\n")
    assert (other.read_text(), bad.read_text()) == ("voice: Bert\n", "voice: Anna\npitch: much\n")
    assert find_defaults("Bert")[0] == {"morph_to": "Anne Marie", "pitch": 2}
    run = load_remembered()[0]
    assert (run.settings.voice, run.settings.gate, run.preset) == ("Anne Marie", -50, "mine")
    # Nothing else names it.
    assert main(["voices", "rename", "Anne Marie", "anne marie"]) == 0
    assert capsys.readouterr().out == "'Anne Marie' is now 'anne marie'.\n"


def test_a_preset_of_the_built_in_voice_keeps_its_name(voices, capsys):
    user_folder().mkdir(parents=True)
    mine, full = user_folder() / "mine.yaml", user_folder() / "full.yaml"
    (user_folder() / "Anna.yaml").write_text("pitch: 3\n")
    mine.write_text("morph_to: Anna\nmorph: 0.5\n")
    full.write_text("voice: world\nmorph_to: Anna\nmorph: 0.5\n")
    save_remembered(RememberedRun(settings=Settings(morph_to="Anna", morph=0.5)))
    assert main(["voices", "rename", "Anna", "Anne"]) == 0
    assert capsys.readouterr().out == "'Anna' is now 'Anne'.\n"
    assert "morph_to: Anna\n" in mine.read_text()
    assert "morph_to: Anna\n" in full.read_text()
    assert load_remembered()[0].settings.morph_to == "Anna"
    # Between voices of RVC it is a voice.
    mine.write_text("voice: Bert\nmorph_to: Anne\nmorph: 0.5\n")
    assert main(["voices", "rename", "Anne", "Anna"]) == 0
    assert mine.read_text().startswith("voice: Bert\nmorph_to: Anna\nmorph: 0.5\n")


def test_a_new_name_of_a_preset_is_used_by_what_morphs_to_it(voices, capsys):
    user_folder().mkdir(parents=True)
    files = {
        "Anna": "pitch: 3\n",
        "mine": "# My own.\nmorph_to: Anna  # half of it\nmorph: 0.5\n",
        "full": "voice: world\nmorph_to: Anna\nmorph: 1\n",
        "other": "morph_to: anna\n",
        "rvc": "voice: Bert\nmorph_to: Anna\n",
    }
    for name, text in files.items():
        (user_folder() / f"{name}.yaml").write_text(text)
    save_remembered(RememberedRun(settings=Settings(morph_to="Anna", morph=0.5), preset="mine"))
    assert main(["presets", "rename", "Anna", "Anne"]) == 0
    assert capsys.readouterr().out == (
        "'Anna' is now 'Anne'.\n"
        "Its name was also changed in the settings of the last run, the preset 'full', the preset "
        "'mine'.\n"
    )
    assert resolve_morph(load_remembered()[0].settings).pitch == 1.5
    assert load_remembered()[0].preset == "mine"
    text = (user_folder() / "mine.yaml").read_text()
    assert text.startswith("# My own.\nmorph_to: Anne  # half of it\n")
    assert resolve_morph(find_preset("full").settings).pitch == 3
    for name in ("other", "rvc"):  # another preset, and a voice
        assert (user_folder() / f"{name}.yaml").read_text() == files[name]


def test_the_voices_of_favourite_presets_are_kept_ready(voices):
    user_folder().mkdir(parents=True)
    for name, voice in (("one", "Anna"), ("two", "Bert"), ("three", "Anna")):
        (user_folder() / f"{name}.yaml").write_text(f"voice: {voice}\n")
    run, act = actions(Settings())
    act.memory = PanelState(favourites={3: "one", 1: "two", 2: "deep", 4: "three", 5: "gone"})
    act.keep_favourites_ready()
    assert run.ready == ("Bert", "world", "Anna")


@pytest.mark.parametrize(("median", "told"), [("213.4", True), ("high", False), ("-3", False)])
def test_the_pitch_of_the_training_is_told(home, capsys, median, told):
    voice = read_voice_checkpoint(V1)
    config = json.dumps(list(dataclasses.asdict(voice.config).values()))
    write_safetensors(
        home / "Anna.safetensors", voice.weights, {"config": config, "f0_median": median}
    )
    assert main(["voices", "add", "Anna.safetensors"]) == 0
    note = "It remembers auto_pitch_target 213.4 from its file."
    assert (note in capsys.readouterr().out) == told
    assert installed_voice("Anna").manifest.info == {"f0_median": median}
    assert find_defaults("Anna")[0] == ({"auto_pitch_target": 213.4} if told else {})
    assert main(["voices", "show", "Anna"]) == 0
    assert f"f0_median {median}" in capsys.readouterr().out


def test_a_damaged_file_is_reported_and_the_voice_works(voices, capsys):
    defaults_file("Anna").write_text("pitch: high\n")
    message = f"What 'Anna' remembers is ignored. {defaults_file('Anna')}:1: 'pitch' is 'high'"
    assert chosen("--voice", "Anna") == Settings(voice="Anna")
    assert message in capsys.readouterr().err
    assert actions(Settings())[1].select_voice("Anna").startswith(message)
    for words in (["list"], ["show", "Anna"]):
        assert main(["voices", *words]) == 0
        assert message in capsys.readouterr().out
    assert main(["voices", "set", "Anna", "pitch=1"]) == 2, "it is not overwritten"
    assert defaults_file("Anna").read_text() == "pitch: high\n"
    defaults_file("Anna").write_text("block: 100\n")
    assert "'block' is not a setting of a voice" in find_defaults("Anna")[1]


def test_the_settings_of_a_voice_from_python(voices):
    change_defaults("Anna", {"pitch": 12})
    assert voice_settings("Anna", formant=1) == Settings(voice="Anna", pitch=12, formant=1)
    assert voice_settings("world", pitch=2) == Settings(pitch=2)
    with pytest.raises(UsageError, match="There is no voice 'Dora'"):
        voice_settings("Dora")
    defaults_file("Anna").write_text("pitch: high\n")
    with pytest.raises(RtvcError, match="'pitch' is 'high'"):
        voice_settings("Anna")


def test_the_loudness_of_a_sine_is_that_of_the_standard():
    time = np.arange(4 * RATE) / RATE
    sine = np.sin(2 * np.pi * 997 * time).astype(np.float32)
    # A sine of 0 dBFS at 997 Hz on one channel is -3.01 LUFS (BS.1770-5, annex 1).
    assert integrated_loudness(sine) == pytest.approx(-3.01, abs=0.01)
    assert integrated_loudness(0.1 * sine) == pytest.approx(-23.01, abs=0.01)
    gated = np.concatenate([sine, 1e-5 * sine, 0.02 * sine])
    assert integrated_loudness(gated) == pytest.approx(-3.01, abs=0.2)
    assert integrated_loudness(0 * sine) == -np.inf


def test_a_new_voice_is_levelled(capsys, monkeypatch):
    utterance = load_utterance()[RATE : RATE + RATE // 2]
    utterance *= 0.9 / np.abs(utterance).max()  # the trim is within its range
    monkeypatch.setattr("rtvc.live.demo.load_utterance", lambda: utterance)

    def added(name: str, *words: str) -> tuple[str, str]:
        assert main(["voices", "add", str(V1), "--name", name, *words]) == 0
        printed = capsys.readouterr()
        return printed.out.splitlines()[-1], printed.err

    later = "With the base models, trim it to the loudness of others: rtvc voices level Anna"
    assert added("Anna") == (later, "")
    assert find_defaults("Anna")[0] == {}
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    out, err = added("Bert")
    assert re.match(r"'Bert': -\d+\.\d LUFS, trim -\d+\.\d dB\. Undo: ", out)
    assert err == "Measuring the loudness of 'Bert' ... (Ctrl-C skips it)\n"
    converted = convert(utterance, sample_rate=RATE, settings=own_settings("Bert"))
    assert integrated_loudness(converted) == pytest.approx(integrated_loudness(utterance), abs=0.3)
    change_defaults("Bert", {"trim": 2.0})
    kept = "'Bert' keeps its trim of +2.0 dB. Measure it again: rtvc voices level Bert"
    assert added("Bert", "--force") == (kept, "")
    assert added("Carl", "--no-level")[1] == ""

    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rtvc.live.demo.load_utterance", interrupted)
    assert added("Dora")[1].endswith(
        "Skipped. Measure the loudness later: rtvc voices level Dora\n"
    )
    assert find_defaults("Carl")[0] == find_defaults("Dora")[0] == {}


@pytest.mark.thorough
@pytest.mark.slow
def test_levelled_voices_are_equally_loud(home, capsys, monkeypatch):
    utterance = load_utterance()[:RATE]
    monkeypatch.setattr("rtvc.live.demo.load_utterance", lambda: utterance)
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    add_voice(FoundVoice(V1, None, "Anna"))
    quiet = variant(home / "quiet.safetensors", V1, 0.97)
    add_voice(FoundVoice(quiet, None, "Bert"))
    change_defaults("Anna", {"pitch": 3, "pitch_method": "swift"})
    change_defaults("Bert", {"pitch_method": "swift"})

    def loudness(name: str) -> float:
        return integrated_loudness(
            convert(utterance, sample_rate=RATE, settings=own_settings(name))
        )

    before = [loudness(name) for name in ("Anna", "Bert")]
    assert main(["voices", "level"]) == 0
    printed = capsys.readouterr()
    assert "Measuring the loudness of 'Bert' (2 of 2) ..." in printed.err
    line = r"'Anna': -\d+\.\d LUFS, trim -\d+\.\d dB\. Undo: rtvc voices set Anna trim=\n"
    assert re.match(line, printed.out)
    assert find_defaults("Anna")[0].keys() == {"pitch", "pitch_method", "trim"}
    after = [loudness(name) for name in ("Anna", "Bert")]
    assert max(np.abs(np.array(before) - integrated_loudness(utterance))) > 1
    np.testing.assert_allclose(after, integrated_loudness(utterance), atol=0.3)
    assert main(["voices", "level", "Nobody"]) == 2


def test_the_panel_follows_what_another_program_lets_the_voice_remember(voices):
    _, act = actions(own_settings("Anna"))
    act.follow_voice_defaults()
    assert act.start is None
    change_defaults("Anna", {"pitch": 12})
    act.follow_voice_defaults()
    assert act.start is not None
    assert act.start.pitch == 12
    change_defaults("Anna", {"pitch": None})
    act.follow_voice_defaults()
    assert act.start is None
