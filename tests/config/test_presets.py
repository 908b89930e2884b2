"""Preset files and the remembered run: parsing, error messages and saving."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvc._version import __version__
from rtvc.config import presets, remembered, settings_yaml
from rtvc.config.settings_yaml import SettingsFileError
from rtvc.device_choice import DeviceIdentity
from rtvc.errors import UsageError
from rtvc.settings import SETTINGS, Settings

STORED = sorted(name for name, setting in SETTINGS.items() if setting.stored)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


def parse(text: str) -> presets.Preset:
    return presets.parse(text, "test", "test.yaml")


def refused(text: str) -> str:
    with pytest.raises(SettingsFileError) as caught:
        parse(text)
    return str(caught.value)


def test_a_preset_is_a_description_and_settings():
    preset = parse(
        "# mine\ndescription: A  deep\n  voice\npitch: -5\nwhisper: yes\nformant: -1.5\n"
    )
    assert preset.description == "A deep voice"
    assert preset.settings == Settings(pitch=-5.0, whisper=True, formant=-1.5)
    assert preset.given == {"pitch", "whisper", "formant"}


def test_all_problems_are_listed_with_file_line_and_name():
    text = (
        "description: x\npich: 3\npitch: 40\n\nwhisper: maybe\npitch: 2\nblock: [1, 2]\n"
        "mode: dray\ngate:\n"
    )
    assert refused(text).splitlines() == [
        "test.yaml:2: There is no setting 'pich'. Did you mean 'pitch'?",
        "test.yaml:3: 'pitch' is 40, but must be a number from -24 to 24 semitones. "
        "The nearest valid value is 24.",
        "test.yaml:5: 'whisper' is 'maybe', but must be true or false.",
        "test.yaml:6: 'pitch' is already set in line 3.",
        "test.yaml:7: 'block' must be one value, not a list or a mapping.",
        "test.yaml:8: 'mode' is 'dray', but must be one of converted, dry, muted. "
        "Did you mean 'dry'?",
        "test.yaml:9: 'gate' has no value; give one, or remove the line.",
    ]


@pytest.mark.parametrize(
    ("value", "number"),
    [("1e1", 10), ("-2.5E-1", -0.25), (".5", 0.5), ("+3", 3), ("4.", 4), ("0", 0), ("-0", 0)],
)
def test_decimal_numbers_are_read_as_written(value: str, number: float):
    assert parse(f"pitch: {value}").settings.pitch == number


@pytest.mark.parametrize(
    "value", ["012", "0x1F", "1:30", "1_0", "0b11", ".inf", ".nan", "0o14", "-7,5"]
)
def test_numbers_that_yaml_reads_differently_are_refused(value: str):
    message = refused(f"pitch: {value}")
    assert message.startswith(f"test.yaml:1: 'pitch' is {value!r}, but must be a number")
    assert message.endswith("write it as a plain decimal number, such as -2.5 or 12.")


@pytest.mark.parametrize("value", ["true", "on", "yes", "True", "ON"])
def test_yaml_truth_values(value: str):
    assert parse(f"whisper: {value}").settings.whisper is True
    assert refused(f"pitch: {value}").startswith(f"test.yaml:1: 'pitch' is {value!r}, but must be")
    assert parse(f"voice: {value}").settings.voice == value


def test_quotes_around_a_number_or_a_truth_value():
    assert "leave the quotes out" in refused("pitch: '3'")
    assert "leave the quotes out" in refused('whisper: "true"')
    assert parse("voice: '2024'").settings == parse("voice: 2024").settings


def test_sizes_between_two_frames_are_rounded_and_noted(folder: Path):
    text = "pitch: 3\nblock: 95\ncontext: 1004\nheadroom: 80\n"
    preset = presets.parse(text, "test", "test.yaml")
    assert (preset.settings.block, preset.settings.context) == (100, 1000)
    assert preset.given == {"pitch", "block", "context", "headroom"}
    assert preset.notes == (
        "test.yaml:2: 'block' is rounded from 95 to 100 ms, a multiple of 10.",
        "test.yaml:3: 'context' is rounded from 1004 to 1000 ms, a multiple of 10.",
    )
    path = remembered.remembered_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("block: 25\npitch: 2\n")
    run, sentence = remembered.load_remembered()
    assert (run.settings.block, run.settings.pitch) == (20, 2)
    assert sentence == "'block' is rounded from 25 to 20 ms, a multiple of 10."
    remembered.save_remembered(run)
    assert remembered.load_remembered() == (run, "")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "test.yaml: It is empty; settings are lines of the form 'name: value'."),
        ("# nothing\n", "It is empty"),
        ("- pitch\n- 3\n", "test.yaml:1: This is not a list of settings"),
        ("pitch 3", "test.yaml:1: This is not a list of settings"),
        ("pitch: 3\nformant: : 2\n", "test.yaml:2: This is not valid YAML"),
        ("pitch: 3\n\tformant: 2\n", "test.yaml:2: This is not valid YAML"),
        ("pitch: 3\n---\npitch: 2\n", "test.yaml:2: This is not valid YAML"),
        ("pitch: 3\ndescription: \x07\n", "test.yaml:2: The character 7 is not allowed in YAML."),
        ("pitch: !!python/object/apply:os.system ['true']\n", "must be one value"),
        ("voice: !!python/name:os.system\n", "test.yaml:1: 'voice' has the tag"),
        ("[1, 2]: 3\n", "test.yaml:1: The name of a setting must be one word."),
        ("base: &x {pitch: 3}\n<<: *x\n", "test.yaml:2: There is no setting '<<'"),
        ("a: " + "[" * 3000, "test.yaml: It is nested too deeply"),
        ('description: "\\U00110000"\n', "test.yaml: This is not valid YAML"),
        ('description: "\\UFFFFFFFF"\n', "test.yaml: This is not valid YAML"),
        ('morph_to: "a\\0/b"\n', "test.yaml:1: 'morph_to' is 'a\\x00/b', but must be a name."),
        ('voice: "\\uD800/b"\n', "test.yaml:1: 'voice' is '\\ud800/b', but must be a name."),
        (f"%YAML {'1' * 5000}.1\n---\npitch: 3\n", "test.yaml: This is not valid YAML"),
    ],
)
def test_files_that_are_not_presets_are_refused(text: str, part: str):
    assert part in refused(text)


def test_unreadable_files_are_refused(tmp_path: Path):
    cases = {"missing": None, "latin": b"# caf\xe9\n", "large": b"#" * 70_000}
    for name, data in cases.items():
        path = tmp_path / f"{name}.yaml"
        if data:
            path.write_bytes(data)
        with pytest.raises(
            SettingsFileError, match=f"{name}.yaml.*: (There is no|It is |This is )"
        ):
            presets.load_preset(path)
    with pytest.raises(SettingsFileError, match="is a folder"):
        presets.load_preset(tmp_path)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_parsed_or_refused(text: str):
    message = ""
    try:
        preset = parse(text)
    except SettingsFileError as error:
        message = str(error)
    else:
        assert preset.given <= set(SETTINGS)
    assert not message or message.startswith("test.yaml")


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(STORED), st.floats(0, 1)), NAMES)
def test_settings_are_saved_exactly(where: dict[str, float], voice: str):
    values: dict[str, Any] = {}
    for name, x in where.items():
        setting = SETTINGS[name]
        if setting.kind is float:
            values[name] = setting.low + x * (setting.high - setting.low)
        elif setting.kind is int:
            values[name] = round(x * setting.high)
        elif setting.kind is bool:
            values[name] = x > 0.5
        else:
            values[name] = (
                setting.choices[round(x * (len(setting.choices) - 1))]
                if setting.choices
                else voice or "x"
            )
    settings = Settings().replace(**values)
    text = settings_yaml.render({"description": "d"}, settings.changed())
    assert parse(text).settings == settings


def test_save_and_load(tmp_path: Path):
    path = tmp_path / "new" / "deep voice.yaml"
    presets.save_preset(path, Settings(pitch=-4.0), "on: a # test")
    preset = presets.load_preset(path)
    assert (preset.name, preset.description) == ("deep voice", "on: a # test")
    assert preset.settings == Settings(pitch=-4.0)
    assert f"# {SETTINGS['pitch'].help}" in path.read_text()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_nothing_is_overwritten_without_the_flag(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("pitch: 1\n")
    with pytest.raises(UsageError, match="exists already"):
        presets.save_preset(path, Settings(pitch=2.0))
    assert path.read_text() == "pitch: 1\n"


def test_overwriting_keeps_comments_and_order(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "# Mine.\ndescription: >\n  old words\n  here\n\npitch: 1   # low\nwhisper: on # hush\n"
    )
    presets.save_preset(path, Settings(pitch=2.5, gate=-50.0), "new", overwrite=True)
    text = path.read_text()
    assert text.startswith("# Mine.\ndescription: new\n")
    assert "pitch: 2.5   # low\nwhisper: false # hush\n" in text
    assert text.endswith(
        f"# {SETTINGS['gate'].help} A number from -90 to 0 dBFS.\ngate: -50\n\n"
        f"# Saved by rtvc {__version__}.\n"
    )
    assert presets.load_preset(path).settings == Settings(pitch=2.5, gate=-50.0)


@pytest.mark.parametrize(
    "old", ["{pitch: 1, whisper: on}", "pitch: &p 1\nformant: *p\n", "not a preset", "\tx"]
)
def test_overwriting_any_file_gives_a_valid_preset(tmp_path: Path, old: str):
    path = tmp_path / "a.yaml"
    path.write_text(old)
    settings = Settings(pitch=2.0, formant=3.0, breathiness=0.5)
    presets.save_preset(path, settings, "new", overwrite=True)
    assert presets.load_preset(path).settings == settings


def test_a_failed_write_keeps_the_old_preset(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.mkdir()
    with pytest.raises(Exception, match="cannot be written"):
        presets.save_preset(path, Settings(pitch=2.0), overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]


def test_presets_are_found_by_name_or_path(folder: Path):
    path = presets.user_path("my voice")
    presets.save_preset(path, Settings(pitch=7.0))
    assert presets.find_preset("my voice").settings.pitch == 7
    assert presets.find_preset(str(path)).settings.pitch == 7
    assert [file.name for file in presets.list_presets() if not file.bundled] == ["my voice"]
    with pytest.raises(UsageError, match=r"no preset 'my vice'. Did you mean 'my voice'?"):
        presets.find_preset("my vice")
    with pytest.raises(UsageError, match="There is no such file"):
        presets.find_preset("./absent.yaml")


def test_the_suffix_is_no_part_of_a_name_and_hidden_names_are_refused(folder: Path):
    for name in ("mine", "mine.yaml", "mine.YAML", "mine.yml"):
        assert presets.user_path(name) == presets.user_folder() / "mine.yaml"
    with pytest.raises(UsageError, match="cannot begin with a dot"):
        presets.user_path(".mine")


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "a\nb", "a:b"])
def test_invalid_names_are_refused(name: str):
    with pytest.raises(UsageError, match="cannot be a preset's name"):
        presets.user_path(name)


def test_a_preset_sets_the_voice_and_keeps_mode_microphone_and_timing():
    current = Settings(mode="muted", pitch_fixed=120.0, whisper=True, gate=-40.0, block=200.0)
    applied = parse("pitch: 5\nheadroom: 80\n").apply_to(current)
    assert applied == Settings(mode="muted", pitch=5.0, gate=-40.0, block=200.0, headroom=80.0)


@pytest.mark.parametrize("mode", ["dry", "muted"])
def test_a_preset_never_holds_or_sets_the_mode(tmp_path: Path, mode: str):
    path = tmp_path / "a.yaml"
    presets.save_preset(path, Settings(mode=mode, pitch=3))
    assert "mode" not in path.read_text()
    # As an older version wrote it.
    comment = f"# {SETTINGS['mode'].help} One of converted, dry, muted."
    path.write_text(f"description: ''\n\n{comment}\nmode: {mode}\n\n# Low.\npitch: 3\n")
    preset = presets.load_preset(path)
    assert preset.given == {"pitch"}
    note = "'mode' is ignored: files do not change it. Choose it in each run."
    assert preset.notes == (f"{path}:4: {note}",)
    for current in ("converted", "dry", "muted"):
        assert preset.apply_to(Settings(mode=current)) == Settings(mode=current, pitch=3)
    presets.save_preset(path, Settings(mode=mode, pitch=4), overwrite=True)
    text = f"description: ''\n\n\n# Low.\npitch: 4\n\n# Saved by rtvc {__version__}.\n"
    assert path.read_text() == text


def test_a_remembered_mode_is_ignored(folder: Path):
    folder.mkdir()
    remembered.remembered_path().write_text("mode: dry\npitch: 2\n")
    run, sentence = remembered.load_remembered()
    assert run.settings == Settings(pitch=2)
    assert sentence.startswith("'mode' is ignored")


def test_the_last_run_is_remembered_without_its_mode():
    assert remembered.load_remembered() == (remembered.RememberedRun(), "")
    settings = Settings(mode="dry", pitch=3.0, block=80.0)
    devices = DeviceIdentity("USB mic"), DeviceIdentity("Döner: 1", "ALSA", 1, 2)
    remembered.save_remembered(remembered.RememberedRun(*devices, settings))
    expected = remembered.RememberedRun(*devices, Settings(pitch=3.0, block=80.0))
    assert remembered.load_remembered() == (expected, "")


def test_a_damaged_file_of_the_last_run_is_renamed_with_a_warning(folder: Path):
    folder.mkdir()
    for number in ("", "-2"):
        remembered.remembered_path().write_text("pitch: 99\n")
        choices, sentence = remembered.load_remembered()
        aside = folder / f"remembered-damaged{number}.yaml"
        assert choices == remembered.RememberedRun()
        assert "nearest valid value is 24." in sentence
        assert str(aside) in sentence
        assert aside.read_text() == "pitch: 99\n"
        assert not remembered.remembered_path().exists()


def test_spaces_at_the_ends_are_no_part_of_a_name(folder: Path):
    for name in (" mine", "mine ", "\u3000mine\u00a0", " mine .yaml", "mine.yaml "):
        assert presets.user_path(name) == presets.user_folder() / "mine.yaml"
    for name in (" ", " .yaml", " .mine", ".yaml "):
        with pytest.raises(UsageError, match="name"):
            presets.user_path(name)


def test_a_pipe_with_a_name_is_no_preset_but_one_of_the_shell_is(folder: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "p.yaml")
    (tmp_path / "link.yaml").symlink_to("p.yaml")
    for name in ("p.yaml", "link.yaml"):
        with pytest.raises(UsageError, match="It is a pipe, not a file"):
            presets.load_preset(tmp_path / name)
    end, begin = os.pipe()
    try:
        os.write(begin, b"pitch: 3\n")
        os.close(begin)
        assert presets.load_preset(Path(f"/dev/fd/{end}")).settings.pitch == 3
    finally:
        os.close(end)
