"""The command line in use: real files, and real processes where that can matter."""

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

import rtvc
from rtvc.cli import main, options
from rtvc.config.panel_state import (
    PanelState,
    load_panel_state,
    panel_state_path,
    save_panel_state,
)
from rtvc.config.presets import user_folder
from rtvc.config.remembered import (
    RememberedRun,
    read_remembered,
    remembered_path,
    save_remembered,
)
from rtvc.errors import UsageError
from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings
from tests.support.material import more
from tests.support.processes import started

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEAVY = {"mlx", "numpy", "sounddevice", "textual", "yaml", "soundfile", "soxr", "rtvc.session"}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def rtvc_command(*arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run rtvc, and check its exit code unless that is None."""
    done = subprocess.run(
        [sys.executable, "-m", "rtvc", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert code in (None, done.returncode), done.stderr
    return done


def refused(*arguments: str | Path, code: int = 2) -> str:
    """Return the sentence with which rtvc refuses its arguments, in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            ended: object = main.main([str(argument) for argument in arguments])
        except SystemExit as error:
            ended = error.code
    assert ended == code, err.getvalue()
    assert out.getvalue() == ""
    assert err.getvalue().startswith("rtvc: ")
    return err.getvalue().removeprefix("rtvc: ").strip()


@pytest.mark.parametrize("command", [None, *main.COMMANDS])
def test_help_is_instant_light_and_teaches(command: str | None):
    words = [command, "--help"] if command else ["--help"]
    code = (
        "import sys\n"
        "from rtvc.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('modules:', *sys.modules)"
    )
    # Time of the processor, not of the clock: the machine may be busy with other tests.
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if seconds[-1] < 0.3:
            break
    text, modules = done.stdout.split("modules: ")
    assert not HEAVY & set(modules.split())
    assert min(seconds) < 0.3
    assert "example" in text
    assert text.startswith("usage: rtvc")


def test_version():
    assert rtvc_command("--version").stdout == f"rtvc {rtvc.__version__}\n"


def commands_in(text: str) -> list[str]:
    found = re.findall(r"(?:^ +|`)(rtvc(?: [^`\n]*?)?)(?:`|  +[^\n]*|\n)", text, re.MULTILINE)
    # "rtvc convert" alone is a name in a sentence: the command needs files.
    return [c for c in found if "COMMAND" not in c and c != "rtvc convert"]


EXAMPLES = [
    example
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.stem != "architecture"  # its threads have such names
    for example in commands_in(page.read_text())
] + [
    example
    for name in main.COMMANDS
    for example in commands_in(main.command(name).EPILOG.replace("examples:", "") + "\n")
]


@pytest.mark.parametrize("example", sorted(set(EXAMPLES)))
def test_every_example_is_understood(example: str, capsys: pytest.CaptureFixture[str]):
    import shlex

    words = shlex.split(example.split(">", maxsplit=1)[0])[1:]
    if "--help" in words:
        with pytest.raises(SystemExit):
            main.parse(words)
        assert capsys.readouterr().out
    else:
        assert main.parse(words).command in main.COMMANDS


def test_there_are_examples():
    assert len(set(EXAMPLES)) > 20


def test_presets_in_examples_exist():
    from rtvc.config.presets import list_presets

    used = set(re.findall(r"(?:--preset|presets show) (\w+)", " ".join(EXAMPLES)))
    assert used - {"mine"} <= {file.name for file in list_presets()}
    assert "deep" in used


def test_without_a_command_it_runs():
    assert main.parse([]).command == "run"
    assert main.parse(["--pitch", "-3"]).command == "run"


@pytest.mark.parametrize(
    "command", [["run"], ["convert", "a.wav", "b.wav"], ["presets", "save", "x"]]
)
def test_every_setting_is_a_flag(command: list[str]):
    for setting in SETTINGS.values():
        if command[0] == "presets" and not setting.stored:
            continue
        value = {str: setting.choices[-1] if setting.choices else "x", bool: True}.get(
            setting.kind, setting.low if setting.default != setting.low else setting.high
        )
        words = [setting.flag] if setting.kind is bool else [setting.flag, f"{value}"]
        args = main.parse([*command, *words])
        assert options.chosen(args, Settings()).settings == Settings().replace(
            **{setting.name: cast(Value, value)}
        )
    nothing = options.Chosen(Settings(), frozenset(), "", frozenset())
    assert options.chosen(main.parse(command), Settings()) == nothing


def test_flags_go_on_top_of_the_preset(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text("pitch: -4\nformant: -2\ngate: -50\n")
    args = main.parse(["run", "--preset", str(path), "--pitch", "-6"])
    base = Settings(pitch=9.0, whisper=True, block=200.0)
    expected = Settings(pitch=-6.0, formant=-2.0, gate=-50.0, block=200.0)
    stated = frozenset(("pitch", "formant", "gate"))
    assert options.chosen(args, base) == options.Chosen(expected, stated, "", stated)


@pytest.mark.thorough
def test_a_size_between_two_frames_is_rounded_and_reported_once(tmp_path: Path):
    said = "'block' is rounded from 95 to 100 ms, a multiple of 10.\n"
    done = rtvc_command("presets", "save", "x", "--block", "95", "--headroom", "25")
    assert done.stderr == said + said.replace("block", "headroom").replace("95 to 100", "25 to 20")
    assert "headroom 20 ms" in done.stdout
    assert "headroom: 20\n" in (tmp_path / "config" / "presets" / "x.yaml").read_text()
    path = tmp_path / "p.yaml"
    path.write_text("block: 95\n")
    assert rtvc_command("presets", "save", "y", "--preset", path).stderr == f"{path}:1: {said}"
    assert rtvc_command("presets", "check", path).stdout == f"{path}: valid\n{path}:1: {said}"
    done = rtvc_command("--demo", "--seconds", "0.5", "--block", "95", "--stats", "s.json")
    assert done.stderr.count(said) == 1
    report = json.loads(Path("s.json").read_text())
    assert report["settings"]["block"] == 100
    assert report["stats"]["latency"]["block"] == 0.1


@pytest.mark.parametrize(
    ("flags", "preset"),
    [
        ([], "before"),
        (["--pitch", "3"], "before"),
        (["--voice", "Anna"], ""),
        (["--preset", "deep", "--pitch", "-7"], "deep"),
        (["--preset", "deep", "--voice", "Anna"], ""),
        (["--preset", "PRESETS/mine.yaml"], "mine"),
        (["--preset", "elsewhere.yaml"], ""),
    ],
    ids=" ".join,
)
def test_the_preset_that_the_settings_begin_with_is_known(flags: list[str], preset: str):
    user_folder().mkdir(parents=True)
    for path in (user_folder() / "mine.yaml", Path("elsewhere.yaml")):
        path.write_text("pitch: 3\n")
    words = [word.replace("PRESETS", str(user_folder())) for word in flags]
    args = main.parse(["run", *words])
    assert options.chosen(args, Settings(), "before").preset == preset


def test_a_preset_on_the_command_line_is_read_once(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text("pitch: -4\nblock: 60\n")
    opened = []
    watching = True  # a hook stays in the process

    def watch(event, args):
        if watching and event == "open":
            opened.append(str(args[0]))

    sys.addaudithook(watch)
    words = ["--demo", "--seconds", "0.2", "--preset", str(path), "--stats", "stats.json"]
    try:
        assert main.main(words) == 0
    finally:
        watching = False
    assert opened.count(str(path)) == 1
    assert json.loads(Path("stats.json").read_text())["settings"]["block"] == 60


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["devises"], "There is no command 'devises'. Did you mean 'devices'?"),
        (["--pich", "3"], "Unknown argument '--pich' of 'rtvc run'. Did you mean '--pitch'?"),
        (["foo"], "There is no command 'foo'. 'rtvc --help' lists all commands."),
        (["convert", "a", "b", "--compute", "cpu"], "'rtvc convert'. It is a flag of 'rtvc run'."),
        (["convert", "a", "b", "--profile=fast"], "a flag of 'rtvc run' and 'rtvc calibrate'."),
        (
            ["convert", "a", "b", "--output", "c"],
            "It is a flag of 'rtvc run', 'rtvc latency', 'rtvc doctor' and 'rtvc replay'.",
        ),
        (["--remove"], "Unknown argument '--remove' of 'rtvc run'. It is a flag of 'rtvc cable'."),
        (["setup", "--list", "--nonsense"], "of 'rtvc setup'. Run 'rtvc setup --help' for usage."),
        (["devices", "--", "--json"], "Flags are read before '--' only."),
        (["help", "run"], "There is no command 'help'. Did you mean '--help'?"),
        (["version"], "There is no command 'version'. Did you mean '--version'?"),
        (["robot"], "There is no command 'robot'. It is a preset: use --preset robot."),
        (["world"], "There is no command 'world'. It is a voice: use --voice world."),
        (["talk 1.wav"], "'talk 1.wav'. It is a file: use 'rtvc convert IN OUT'."),
        (["--voice", "deep"], "no voice 'deep'. It is a preset: choose it as the preset."),
        (["--preset", "world"], "no preset 'world'. It is a voice: choose it as the voice."),
        (["--whisper", "on"], "Unknown argument 'on' of 'rtvc run'. --whisper takes no value: lea"),
        (["--whisper", "off"], "--whisper takes no value: write --no-whisper to turn it off."),
        (["convert", "a", "b", "--force", "1"], "--force takes no value: leave '1' out."),
        (["--preset", "DEEP"], "There is no preset 'DEEP'. Did you mean 'deep'?"),
        (["--preset", "zzz"], "There is no preset 'zzz'. 'rtvc presets' lists all."),
        (["voices", "show", "wrld"], "There is no voice 'wrld'. Did you mean 'world'?"),
        (["voices", "show", "world"], "'world' is the built-in voice; choose an installed one."),
        (["--voice", "World"], "There is no voice 'World'. Did you mean 'world'?"),
        (["--json"], "Unknown argument '--json' of 'rtvc run'. Run 'rtvc run --help'"),
        (["convert", "a.wav", "b.wav", "--rate", "44.1"], "--rate is '44.1', but must be a whole"),
        (["convert", "a.wav", "b.wav", "--rate", "44"], "--rate is '44', but must be a whole"),
        (
            ["presets", "--json"],
            "Unknown argument '--json' of 'rtvc presets'. Run 'rtvc presets --help'",
        ),
        (
            ["presets", "--pich=1"],
            "Unknown argument '--pich' of 'rtvc presets'. Run 'rtvc presets --help'",
        ),
        (
            ["voices", "add", "x", "--PICK"],
            "Unknown argument '--PICK' of 'rtvc voices add'. Did you mean",
        ),
        (
            ["--pitch", "40"],
            "'pitch' is 40, but must be a number from -24 to 24 semitones. The nearest valid value "
            "is 24.",
        ),
        (["run", "--pitch", "high"], "'pitch' is 'high', but must be a number"),
        (["run", "--pitch"], "--pitch needs a value. Run 'rtvc run --help'"),
        (["run", "--mode", "dray"], "one of converted, dry, muted. Did you mean 'dry'?"),
        (
            ["run", "--never-dry", "--mode", "dry"],
            "--mode dry outputs your own voice: leave it out, or --never-dry.",
        ),
        (
            ["--fail-open", "--never-dry"],
            "--fail-open outputs your own voice: leave it out, or --never-dry.",
        ),
        (["run", "--seconds", "0"], "--seconds is '0', but must be a number above 0."),
        (["run", "stray"], "Unknown argument 'stray' of 'rtvc run'. "),
        (["run", "--preset", "no such"], "There is no preset 'no such'"),
        (["run", "--demo", ".", "--force"], ". is not a file that can be replaced."),
        (["run", "--demo", "d.xyz"], "The extension '.xyz' of d.xyz names no sound format"),
        (["presets", "save", ".mine"], "cannot begin with a dot"),
        (["presets", "save", "--", "-mine"], "cannot begin with '-'"),
        (["voices", "add", ""], "An argument is empty."),
        (["run", "--demo", "--input", "x"], "--demo uses no devices: leave out --input"),
        (
            ["convert", "a.wav"],
            "OUT is missing. Run 'rtvc convert --help'",
        ),
        (["convert", "absent.wav", "b.wav"], "There is no file 'absent.wav'."),
        (["setup", "--from", "absent"], "There is no file or folder 'absent'."),
        (["voices", "add", "absent.pth"], "There is no file or folder 'absent.pth'."),
        (["presets", "delete", "robot"], "'robot' comes with rtvc and cannot be deleted."),
        (["replay", "absent"], "There is no folder 'absent'."),
        (["presets", "check", "depp"], "There is no preset 'depp'. Did you mean 'deep'?"),
        (["presets", "shaw"], "'rtvc presets' has no action 'shaw'. Did you mean 'show'?"),
        (
            ["presets", "qqq"],
            "has no action 'qqq'. Actions: list, show, check, save, rename, delete",
        ),
        (
            ["--profile", "Fats"],
            "--profile is 'Fats', but must be one of quality, balanced, fast. Did",
        ),
        (["--profile", "x"], "--profile is 'x', but must be one of quality, balanced, fast."),
        (["presets", "save", "a/b"], "cannot be a preset's name"),
        (["presets", "save", "x", "--remembered"], "Nothing is remembered yet"),
        (["--voice", "Anna.zip"], "Install it with 'rtvc voices add Anna.zip'."),
        (["bench", "--voice", "v2-40k", "nix"], "There is no voice 'nix'."),
        (["setup", "--source", "nope"], "'nope' cannot be downloaded; use a URL that begins with"),
        (
            ["presets", "save", "x", "--pich", "1"],
            "Unknown argument '--pich' of 'rtvc presets save'. Did you mean '--pitch'?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_sentence_and_code_2(words: list[str], part: str):
    Path("talk 1.wav").touch()
    message = refused(*words)
    assert part in message
    assert "\n" not in message
    assert message[0].isupper() or message[0] in "'./-"
    assert message[-1] in ".?"


def parsers() -> list[tuple[str, argparse.ArgumentParser]]:
    """Return each command, and each action of a command, as it is typed, with its parser."""

    def below(parser: argparse.ArgumentParser, typed: str):
        yield typed, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, one in action.choices.items():
                    yield from below(one, f"{typed} {name}")

    return list(below(main._build_parser(main.COMMANDS), "rtvc"))


@pytest.mark.parametrize(("typed", "parser"), parsers(), ids=[typed for typed, _ in parsers()])
def test_usage_and_errors_name_the_command_as_typed(typed: str, parser: argparse.ArgumentParser):
    usage = parser.format_usage().removeprefix("usage: ")
    assert usage.startswith((f"{typed} ", f"{typed}\n"))
    assert parser.prog == typed
    with pytest.raises(UsageError, match=rf"^No\. Run '{typed} --help' for usage\.$"):
        parser.error("no")


def test_an_error_of_a_command_that_is_not_named_leads_to_its_help():
    assert "Run 'rtvc run --help' for usage" in refused("--pitch")


def test_all_commands_and_their_actions_are_looked_at():
    typed = [typed for typed, _ in parsers()]
    assert {"rtvc", "rtvc run", "rtvc voices blend", "rtvc presets save"} <= set(typed)


def test_debug_shows_where():
    done = rtvc_command("--debug", "presets", "show", "no such", code=2)
    assert "Traceback" in done.stderr
    assert "presets.py" in done.stderr


def test_an_unexpected_error_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(main.command("devices"), "run", lambda args: 1 / 0)
    assert main.main(["devices"]) == 1
    assert (
        "rtvc: Unexpected ZeroDivisionError: division by zero. This is a bug"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("line", ["voices add Anna.pth", "convert - out.wav", "run --demo"])
def test_a_current_folder_that_is_gone_is_no_bug(line: str, tmp_path: Path, capsys):
    (folder := tmp_path / "gone").mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        folder.rmdir()
        assert main.main(line.split()) == 1
    finally:
        os.chdir(before)
    assert capsys.readouterr().err.endswith(
        "rtvc: The current folder does not exist any more. Change to another folder and run the "
        "command again.\n"
    )


def test_a_closed_pipe_is_quiet():
    words = [sys.executable, "-m", "rtvc", "presets"]
    with started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 128 + signal.SIGPIPE


@pytest.mark.thorough
def test_presets_from_saved_to_checked(tmp_path: Path):
    saved = rtvc_command(
        "presets", "save", "mine", "--pitch", "-4", "--whisper", "--description", "My own."
    ).stdout
    path = tmp_path / "config" / "presets" / "mine.yaml"
    assert saved == f"Saved {path}: pitch -4 semitones, whisper true.\n"
    assert re.search(r"^mine +My own\.  \(yours\)$", rtvc_command("presets").stdout, re.MULTILINE)
    assert rtvc_command("presets", "show", "mine").stdout == path.read_text()
    assert "exists already" in refused("presets", "save", "mine", "--pitch", "1")
    hiding = rtvc_command("presets", "save", "deep", "--pitch", "-3").stdout
    assert "instead of the bundled preset 'deep'" in hiding
    before = path.read_text()
    updated = rtvc_command("presets", "save", "mine", "--pitch", "1", "--force").stdout
    assert updated == f"Updated {path}: pitch 1 semitones. Undo: rtvc presets restore mine\n"
    assert "description: My own." in path.read_text()
    restored = rtvc_command("presets", "restore", "mine").stdout
    assert restored == "Restored 'mine' as it was before the last update.\n"
    assert path.read_text() == before
    assert rtvc_command("presets", "check", path).stdout == f"{path}: valid\n"
    path.write_text("pitch: 99\npich: 1\n")
    checked = rtvc_command("presets", "check", path, code=1).stdout.splitlines()
    assert [line.split(": ")[0] for line in checked] == [f"{path}:1", f"{path}:2"]
    rtvc_command("presets", "save", "Nina")
    names = [line.split()[0] for line in rtvc_command("presets").stdout.splitlines()]
    assert names.index("Nina") == names.index("monotone") + 1, "capitals are sorted among the rest"
    assert "mine  " in (listed := rtvc_command("presets", "list").stdout)
    assert "not valid" in listed


@pytest.mark.thorough
def test_presets_are_renamed_deleted_and_restored(tmp_path: Path):
    folder = tmp_path / "config" / "presets"
    rtvc_command("presets", "save", "mine", "--pitch", "3")
    text = (folder / "mine.yaml").read_text()
    save_panel_state(PanelState(favourites={4: "mine", 5: "deep"}))
    save_remembered(RememberedRun(settings=Settings(pitch=3), preset="mine"))
    renamed = rtvc_command("presets", "rename", "mine", "my voice").stdout
    assert renamed == (
        "'mine' is now 'my voice'.\nIts name was also changed in the settings of the last run.\n"
    )
    assert load_panel_state()[0].favourites == {4: "my voice", 5: "deep"}
    assert read_remembered().preset == "my voice"
    assert "comes with rtvc and cannot be renamed" in refused("presets", "rename", "deep", "x")
    assert "'robot' comes with rtvc; choose" in refused("presets", "rename", "my voice", "robot")
    assert "Did you mean 'my voice'?" in refused("presets", "delete", "my vice")
    assert "cannot be deleted" in refused("presets", "delete", "my voice", "deep")
    deleted = rtvc_command("presets", "delete", "my voice", "my voice").stdout
    assert deleted == "Deleted 'my voice'. Undo: rtvc presets restore 'my voice'\n"
    listed = rtvc_command("presets").stdout
    assert listed.endswith("Deleted: my voice. Restore one with 'rtvc presets restore NAME'.\n")
    assert "No earlier version of the preset 'x'" in refused("presets", "restore", "x")
    restored = rtvc_command("presets", "restore").stdout
    assert restored == "Restored 'my voice', which was deleted.\n"
    assert (folder / "my voice.yaml").read_text() == text
    assert "No deleted preset is kept" in refused("presets", "restore")
    rtvc_command("presets", "save", "deep", "--pitch", "3")
    deleted = rtvc_command("presets", "delete", "deep").stdout
    assert "The bundled preset 'deep' is used again." in deleted


def test_presets_are_checked_by_their_names_and_files(tmp_path: Path):
    Path("mine.txt").write_text("pitch: 1\n")
    checked = rtvc_command("presets", "check", "deep", "mine.txt").stdout.splitlines()
    assert checked == [f"{ROOT / 'presets' / 'deep.yaml'}: valid", "mine.txt: valid"]
    noted = rtvc_command("presets", "save", "a", "--voice", "absent").stderr
    assert "There is no voice 'absent'." in noted
    folder = tmp_path / "config" / "presets"
    (folder / "new.yaml").write_text("sparkle: 1\n# Saved by rtvc 99.0.\n")
    listed = rtvc_command("presets").stdout
    assert "written by a newer version of rtvc" in listed
    assert "is not replaced: rtvc 99.0" in refused("presets", "save", "new", "--force", code=1)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str
):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for name in ("\u03a9.yaml", os.fsdecode(b"\xff.yaml")):
        Path(name).write_text("pitch: 1\n")
    checked = rtvc_command("presets", "check", "\u03a9.yaml", os.fsdecode(b"\xff.yaml")).stdout
    omega = "\u03a9" if encoding == "utf-8" else "\\u03a9"
    assert checked == f"{omega}.yaml: valid\n\\udcff.yaml: valid\n"


def test_a_preset_of_somebody_else_cannot_control_the_terminal(tmp_path: Path):
    folder = tmp_path / "config" / "presets"
    folder.mkdir(parents=True)
    (folder / "a\x1b[2J.yaml").write_text('description: "x\\e]0;y\\a"\nblock: 103\n')
    (folder / "b\x1b[2J.yaml").write_text("pich: 3\n")
    listed = rtvc_command("presets").stdout
    assert "a\\x1b[2J" in listed
    assert "x\\x1b]0;y\\x07" in listed
    checked = rtvc_command("presets", "check", code=1).stdout
    assert "a\\x1b[2J.yaml: valid" in checked
    assert "b\\x1b[2J.yaml:1: There is no setting 'pich'." in checked
    converted = rtvc_command("convert", "a", "b.wav", "--preset", "a\x1b[2J", code=2).stderr
    assert "'block' is rounded" in converted
    assert "\x1b" not in listed + checked + converted


def test_a_rename_leaves_a_damaged_file_of_the_panel(tmp_path: Path):
    rtvc_command("presets", "save", "mine", "--pitch", "3")
    panel_state_path().write_text("theme: [\n")
    assert "Its key in the panel is lost." in rtvc_command("presets", "rename", "mine", "a").stdout
    assert panel_state_path().read_text() == "theme: [\n"
    panel_state_path().unlink()
    remembered_path().write_text("pitch: 99\n")
    assert "'pitch' is 99" in rtvc_command("presets", "rename", "a", "b").stdout
    assert remembered_path().read_text() == "pitch: 99\n"


def test_bundled_presets_are_good_and_described():
    checked = rtvc_command("presets", "check").stdout.splitlines()
    listed = rtvc_command("presets").stdout.splitlines()
    assert len(checked) == len(listed) == len(list((ROOT / "presets").glob("*.yaml")))
    for line in checked:
        assert line.endswith(": valid")
    for line in listed:
        assert re.fullmatch(r"\S+ +\S.*\.", line)


def test_doctor_checks_everything():
    done = rtvc_command("doctor", "--json")
    report = json.loads(done.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["good"]
    for name in ("MLX", "PortAudio", "callback in C", "voices", "presets", "system", "remembered"):
        assert checks[name]["found"]
        assert checks[name]["verdict"] != "broken"
    for check in report["checks"]:
        assert check.keys() == {"name", "verdict", "found", "fix"}
        assert check["verdict"] in ("good", "warning", "broken")
    assert report["versions"]["rtvc"] == rtvc.__version__
    assert report["hardware"]["cores"] >= 1


@pytest.mark.parametrize(
    ("broken", "reason"),
    more(
        [
            ("import os; os.kill(os.getpid(), 11)", "crashed with signal 11"),
            ("raise ImportError('no Metal here')", "ImportError: no Metal here"),
        ]
    ),
    ids=["crashes", "refuses"],
)
def test_doctor_survives_a_broken_mlx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, reason: str
):
    (tmp_path / "mlx").mkdir()
    (tmp_path / "mlx" / "__init__.py").write_text("")
    (tmp_path / "mlx" / "core.py").write_text(broken)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    text = rtvc_command("doctor", code=1).stdout
    assert re.search(rf"^! MLX +{reason}", text, re.MULTILINE)
    assert "-> Install it again" in text
    assert "Broken (!): 1." in text


@pytest.mark.thorough
def test_the_demonstration_is_in_the_format_of_its_name():
    rtvc_command("run", "--demo", "d.mp3", "--seconds", "0.3", "--no-save")
    assert soundfile.info("d.mp3").format == "MP3"
    done = rtvc_command("run", "--demo", "sub/d.wav", code=2)
    assert "There is no folder sub for d.wav; create it first." in done.stderr


def test_the_demonstration_converts_in_real_time():
    began = time.monotonic()
    done = rtvc_command(
        "run", "--demo", "--seconds", "3", "--pitch", "7", "--stats", "figures.json"
    )
    assert time.monotonic() - began > 3
    assert "output to rtvc-demo.wav" in done.stderr
    assert "The output is in rtvc-demo.wav." in done.stdout
    sound, rate = soundfile.read("rtvc-demo.wav")
    assert rate == 48_000
    assert 2 < len(sound) / rate < 4
    assert np.sqrt(np.mean(sound**2)) > 0.01
    report = json.loads(Path("figures.json").read_text(), parse_constant=pytest.fail)
    assert report["settings"]["pitch"] == 7
    assert report["stats"]["state"] == "stopped"
    assert report["stats"]["blocks"] >= 20
    assert report["stats"]["latency"]["total"] > 0.16
    assert report["versions"]["mlx"]
    assert "config" not in os.listdir("..")


def test_the_first_run_changes_the_voice_without_being_asked():
    done = rtvc_command("--demo", "--seconds", "0.5", "--stats", "figures.json")
    assert "preset 'deep'" in done.stderr
    settings = json.loads(Path("figures.json").read_text())["settings"]
    assert (settings["pitch"], settings["formant"]) == (-5, -2)
    done = rtvc_command("--demo", "--seconds", "0.5", "--pitch", "0", "--stats", "plain.json")
    assert "preset" not in done.stderr
    assert json.loads(Path("plain.json").read_text())["settings"]["pitch"] == 0


@pytest.mark.thorough
def test_statistics_that_cannot_be_written_are_reported_before_the_run():
    done = rtvc_command("--demo", "--seconds", "30", "--stats", "/proc/s.json", code=1)
    assert "/proc/s.json cannot be written" in done.stderr
    absent = refused("--demo", "--seconds", "30", "--stats", "absent/s.json")
    assert absent == "There is no folder absent for s.json; create it first."
    assert not Path("absent").exists()
    assert done.stdout == ""
    assert not Path("rtvc-demo.wav").exists()


@pytest.mark.thorough
def test_the_demonstration_overwrites_nothing_unasked():
    Path("rtvc-demo.wav").write_text("mine")
    Path("taken.json").write_text("mine")
    assert "exists already" in refused("--demo", "--stats", "taken.json")
    done = rtvc_command("--demo", "--seconds", "0.5")
    assert "rtvc-demo-2.wav" in done.stdout
    assert Path("rtvc-demo.wav").read_text() == "mine"
    rtvc_command("--demo", "named.wav", "--seconds", "0.5")
    assert "exists already" in refused("--demo", "named.wav")
    for flag in ("--stats", "--record"):
        assert "is named twice" in refused("--demo", "new.wav", flag, "./new.wav")
    assert "instead of '-'" in refused("--demo", "new.wav", "--stats", "-")
    assert "leave one flag out" in refused("--save-on-fault", "--no-flight-recorder")


@pytest.mark.parametrize(
    ("number", "code"),
    more([(signal.SIGINT, 130), (signal.SIGTERM, 143)]),
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupt_keeps_what_the_run_made(number: signal.Signals, code: int):
    words = [sys.executable, "-m", "rtvc", "--demo", "--stats", "figures.json"]
    with started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert " dB" in process.stdout.readline()
        time.sleep(1.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "The output is in rtvc-demo.wav" in out
    assert json.loads(Path("figures.json").read_text())["stats"]["blocks"] > 3
    assert soundfile.info("rtvc-demo.wav").duration > 0.3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a configuration of ALSA")
def test_a_sound_system_that_cannot_start_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asound.conf").write_text("pcm.x {{{\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    sentence = "Cannot start the sound system: PortAudio cannot be initialised."
    assert sentence in rtvc_command("devices", code=1).stderr
    done = rtvc_command("run", "--seconds", "0.3", code=None)
    assert sentence in done.stderr
    played = "The output is in rtvc-demo.wav." in done.stdout
    assert played or "rtvc: Nothing was converted" in done.stderr  # it waits for hardware


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["convert", "-talk.wav", "out.wav"],
            "OUT is missing. Run 'rtvc convert --help' for usage. If '-talk.wav' is a file, write "
            "'./-talk.wav'.",
        ),
        (
            ["presets", "check", "-x.yaml"],
            "Unknown argument '-x.yaml' of 'rtvc presets check'. If '-x.yaml' is a file, write "
            "'./-x.yaml'.",
        ),
        (
            ["--demo", "-x.flac"],
            "Unknown argument '-x.flac' of 'rtvc run'. If '-x.flac' is a file, write './-x.flac'.",
        ),
        (
            ["--stats", "-s.json"],
            "--stats needs a value. Run 'rtvc run --help' for usage. If '-s.json' is a file, "
            "write './-s.json'.",
        ),
        (
            ["replay", "-folder"],
            "FOLDER is missing. Run 'rtvc replay --help' for usage. If '-folder' is a file, write "
            "'./-folder'.",
        ),
        (["replay", "-x"], "FOLDER is missing. Run 'rtvc replay --help' for usage."),
        (["--pitch", "-inf"], "--pitch needs a value. Run 'rtvc run --help' for usage."),
        (
            ["convert", "--", "-in.wav"],
            "OUT is missing. Run 'rtvc convert --help' for usage.",
        ),
        (["convert"], "IN and OUT are missing. Run 'rtvc convert --help' for usage."),
        (["bench", "--voice"], "--voice needs a value. Run 'rtvc bench --help' for usage."),
        (
            ["--whisper=yes"],
            "--whisper/--no-whisper takes no value, but has 'yes'. Run 'rtvc run --help' for "
            "usage.",
        ),
        (
            ["setup", "--from", "a", "--source", "b"],
            "--source and --from exclude each other. Run 'rtvc setup --help' for usage.",
        ),
        (
            ["presets", "save", "--", "-x", "--pitch", "3"],
            "Unknown argument '--pitch' of 'rtvc presets save'. Flags are read before '--' only.",
        ),
        (
            ["run", "--", "stray"],
            "Unknown argument 'stray' of 'rtvc run'. Run 'rtvc run --help' for usage.",
        ),
        (
            ["presets", "save", "x", "--desc", "Mine."],
            "Unknown argument '--desc' of 'rtvc presets save'. Did you mean '--description'?",
        ),
        (["--verison"], "Unknown argument '--verison' of 'rtvc run'. Did you mean '--version'?"),
        (["--seconds", "abc"], "--seconds is 'abc', but must be a number above 0."),
        (["--fps", "0"], "--fps is '0', but must be a whole number from 1 to 60."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_cannot_be_assigned_say_what_to_write(words: list[str], message: str):
    Path("-folder").mkdir()
    assert refused(*words) == message


def test_the_help_of_every_setting_says_its_default():
    for typed, parser in parsers():
        for action in parser._actions:
            if action.dest.startswith("setting_"):
                assert "(default " in (action.help or ""), f"{typed}: {action.option_strings}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["voices", "add", "~nobody here/x.zip"],
            "There is no file or folder '~nobody here/x.zip'.",
        ),
        (
            ["--voice", "~nobody here/x.pth", "--demo"],
            "There is no file or folder '~nobody here/x.pth'.",
        ),
        (["--preset", "~nobody here/x.yaml"], "~nobody here/x.yaml: There is no such file."),
        (["setup", "--from", "~nobody here/x"], "There is no file or folder '~nobody here/x'."),
        (["voices", "show", "~nobody here/x"], "There is no voice '~nobody here/x'."),
        (["voices", "show", "x" * 300], "There is no voice 'xxx"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_the_home_folder_of_nobody_is_no_bug(words: list[str], message: str):
    done = rtvc_command(*words, code=None)
    assert done.returncode == 2
    assert f"rtvc: {message}" in done.stderr


def test_doctor_says_what_rtvc_does_without_devices():
    from rtvc.cli.doctor import _portaudio

    found: dict[str, object] = {"version": "19", "host_apis": [], "inputs": [], "outputs": []}
    for check in (_portaudio(found), _portaudio({"error": "It is missing."})):
        assert "'rtvc run --demo'" in check.fix
        assert "until then" not in check.fix


def test_a_run_has_at_least_one_block():
    rtvc_command("--demo", "--seconds", "0.001", "--stats", "figures.json", "--no-save")
    assert json.loads(Path("figures.json").read_text())["stats"]["blocks"] > 0


def test_ctrl_c_while_modules_are_loaded_leaves_no_traceback():
    # The import that is interrupted is that of the command line itself.
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'rtvc.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['rtvc', 'presets']\n"
        "from rtvc.cli.guard import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_only_the_first_run_is_called_the_first():
    flags = ("--demo", "--seconds", "0.2")
    said = "preset 'deep'. 'rtvc presets' lists all presets."
    assert f"First run: using {said}" in rtvc_command(*flags).stderr
    save_remembered(RememberedRun(settings=Settings(pitch=3)))
    again = rtvc_command(*flags, "--reset").stderr
    assert f"Starting with {said}" in again
    assert "First run" not in again
