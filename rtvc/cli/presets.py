"""``rtvc presets``: lists, shows, checks, saves, renames, deletes and restores presets."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.cli.columns import columns_of, padded
from rtvc.errors import RtvcError, UsageError, did_you_mean, escaped

if TYPE_CHECKING:
    from rtvc.config.preset_manager import PresetEntry, PresetManager

SUMMARY = "list, show, check, save, rename, delete and restore presets"
USAGE = "rtvc presets [list | show | check | save | rename | delete | restore] ..."
DESCRIPTION = """\
A preset is a YAML file with a description and one setting per line, which you can also
write by hand. 'rtvc run --help' explains the settings."""
EPILOG = """\
examples:
  rtvc presets                          all presets, bundled and yours
  rtvc presets show deep > mine.yaml    start your own from a bundled preset
  rtvc presets check mine.yaml          report every mistake with its line
  rtvc presets save tiny --pitch 7 --formant 4 --description "A small voice."
  rtvc presets save mine --remembered   the settings of the last run
  rtvc presets save mine --preset mine --pitch 6 --force    change one setting
  rtvc presets restore mine             the version before that

'rtvc presets ACTION --help' explains an action and its flags."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", prog=parser.prog)

    def action(name: str, help_text: str, *, usage: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            usage=f"rtvc presets {usage}",
            epilog=f"examples:\n  rtvc presets {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    action(
        "list",
        "list all presets with their descriptions (the default)",
        usage="list",
        example="list",
    )
    show = action(
        "show",
        "print the file of a preset",
        usage="show NAME|FILE",
        example="show deep > mine.yaml",
    )
    show.add_argument("name", metavar="NAME", help="a preset's name or the path of its file")
    check = action(
        "check",
        "report all mistakes in presets",
        usage="check [NAME|FILE ...]",
        example="check ./mine.yaml",
    )
    check.add_argument(
        "presets",
        metavar="NAME",
        nargs="*",
        help="names of presets or paths of files (default: all presets)",
    )
    save = action(
        "save",
        "save settings as your own preset",
        usage="save NAME [FLAGS]",
        example='save tiny --pitch 7 --formant 4 --description "A small voice."',
    )
    save.add_argument("name", metavar="NAME", help="name of the preset")
    save.add_argument(
        "--description", default=None, metavar="TEXT", help="one sentence about the preset"
    )
    save.add_argument(
        "--remembered", action="store_true", help="start from the settings of the last live run"
    )
    save.add_argument(
        "--force",
        action="store_true",
        help="update a preset of that name; 'rtvc presets restore' brings the earlier version back",
    )
    options.add_settings(save, stored_only=True)
    rename = action(
        "rename",
        "rename a preset of your own; it keeps its key",
        usage="rename OLD NEW",
        example='rename mine "Me, deep"',
    )
    rename.add_argument("old", metavar="OLD", help="current name")
    rename.add_argument("new", metavar="NEW", help="new name")
    delete = action(
        "delete",
        "delete presets of your own; 'rtvc presets restore' undoes it",
        usage="delete NAME...",
        example="delete mine",
    )
    delete.add_argument("names", metavar="NAME", nargs="+", help="names of presets")
    restore = action(
        "restore",
        "restore a deleted preset, or the version before the last update",
        usage="restore [NAME]",
        example="restore mine",
    )
    restore.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default="",
        help="default: what was deleted or updated last",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    action = {
        "show": _show,
        "check": _check,
        "save": _save,
        "rename": _rename,
        "delete": _delete,
        "restore": _restore,
    }.get(args.action, _list)
    return action(args)


def _list(_args: argparse.Namespace) -> int:
    from rtvc.config.preset_trash import list_kept
    from rtvc.config.presets import list_presets, load_preset
    from rtvc.config.settings_yaml import NewerFileError

    files = list_presets()
    width = max((columns_of(escaped(file.name)) for file in files), default=0)
    for file in files:
        try:
            about = load_preset(file.path).description
        except NewerFileError:
            about = "(written by a newer version of rtvc; update rtvc to use it)"
        except UsageError:
            about = "(not valid; 'rtvc presets check' reports why)"
        mine = "" if file.bundled else "  (yours)"
        print(f"{padded(escaped(file.name), width)}  {escaped(about)}{mine}")
    own = {file.name for file in files if not file.bundled}
    deleted = {kept.name for kept in list_kept() if kept.reason == "deleted"} - own
    if deleted:
        names = escaped(", ".join(sorted(deleted)))
        print(f"\nDeleted: {names}. Restore one with 'rtvc presets restore NAME'.")
    return _report_unreadable()


def _report_unreadable() -> int:
    """Print that your own presets cannot be read; return the exit code, 0 if they can."""
    from rtvc.config.presets import user_folder
    from rtvc.system.permission import folder_problem

    if problem := folder_problem(user_folder()):
        print(f"rtvc: {problem}", file=sys.stderr)
    return int(bool(problem))


def _show(args: argparse.Namespace) -> int:
    from rtvc.config.presets import preset_path
    from rtvc.config.settings_yaml import read_text

    sys.stdout.write(read_text(preset_path(args.name)))
    return 0


def _check(args: argparse.Namespace) -> int:
    from rtvc.config.presets import list_presets, load_preset
    from rtvc.config.settings_yaml import SettingsFileError

    paths = [_path_to_check(name) for name in args.presets]
    code = 0
    if not paths:
        paths, code = [file.path for file in list_presets()], _report_unreadable()
    for path in paths:
        try:
            preset = load_preset(path)
            lines = [f"{path}: valid", *preset.notes]
        except SettingsFileError as error:
            lines = error.lines
            code = 1
        for line in lines:
            print(escaped(line))
    return code


def _path_to_check(name: str) -> Path:
    """Return the path of a preset, or of a file whose name does not end as that of a preset."""
    from rtvc.config.presets import preset_path

    try:
        return preset_path(name)
    except UsageError:
        if os.path.exists(name):
            return Path(name)
        raise


def _save(args: argparse.Namespace) -> int:
    from rtvc.config.preset_manager import update_preset
    from rtvc.config.presets import bundled_folder, load_preset, save_preset, user_path
    from rtvc.config.remembered import read_remembered, remembered_path
    from rtvc.library.voice_defaults import own_settings, updated_run
    from rtvc.settings import Settings

    path = user_path(args.name)
    if args.remembered and not remembered_path().exists():
        raise UsageError("Nothing is remembered yet: 'rtvc run' remembers its settings.")
    base = updated_run(read_remembered()).settings if args.remembered else Settings()
    settings = options.chosen(args, base).settings
    changed = options.described(settings.changed()) or "all settings at their defaults"
    if args.force and path.exists():
        description = args.description
        if description is None:
            try:
                description = load_preset(path).description
            except RtvcError:
                description = ""
        update_preset(path, settings, description, own_settings)
        print(f"Updated {path}: {changed}. Undo: rtvc presets restore {shlex.quote(path.stem)}")
        _note_missing_voice(settings.voice)
        return 0
    save_preset(path, settings, args.description or "", own=own_settings)
    print(f"Saved {path}: {changed}.")
    _note_missing_voice(settings.voice)
    if (bundled_folder() / path.name).exists():
        print(f"It is used instead of the bundled preset {path.stem!r}; delete it to undo that.")
    return 0


def _note_missing_voice(name: str) -> None:
    """Print that the voice of a preset is not installed, so that a wrong name is noticed."""
    from rtvc.library import installed_voice, is_path
    from rtvc.settings import BUILT_IN

    if name == BUILT_IN or is_path(name):
        return
    try:
        installed_voice(name)
    except RtvcError as error:
        print(f"{error} The preset needs it.", file=sys.stderr)


def _rename(args: argparse.Namespace) -> int:
    manager = _manager()
    entry = _find(manager, args.old)
    new = manager.rename(entry, args.new)
    print(f"{entry.name!r} is now {new!r}.")
    for sentence in _follow_name(entry.name, new):
        print(sentence)
    return 0


def _delete(args: argparse.Namespace) -> int:
    from rtvc.config.preset_manager import require_own

    manager = _manager()
    for name in (names := dict.fromkeys(args.names)):
        require_own(_find(manager, name), "deleted")
    for name in names:
        manager.delete(_find(manager, name))
        hidden = ""
        if manager.find(name) is not None:
            hidden = f" The bundled preset {name!r} is used again."
        print(f"Deleted {name!r}.{hidden} Undo: rtvc presets restore {shlex.quote(name)}")
    return 0


def _restore(args: argparse.Namespace) -> int:
    print(_manager().restore(args.name).restored)
    return 0


def _manager() -> PresetManager:
    from rtvc.config.preset_manager import PresetManager
    from rtvc.library.voice_defaults import own_settings

    manager = PresetManager(own_settings)
    manager.scan()
    return manager


def _find(manager: PresetManager, name: str) -> PresetEntry:
    from rtvc.config.presets import preset_path

    entry = manager.find(name)
    if entry is None:
        preset_path(name)  # says so where your own presets cannot be read
        names = [entry.name for entry in manager.entries]
        hint = did_you_mean(name, names, "'rtvc presets' lists all.")
        raise UsageError(f"There is no preset {name!r}. {hint}")
    return entry


def _follow_name(old: str, new: str) -> list[str]:
    """Give a renamed preset its new name in all files that name it.

    These are the panel's keys, the last run, and your presets that morph to it.

    Returns
    -------
    list of str
        What was changed, and what keeps the old name because its file cannot be read.

    Raises
    ------
    RtvcError
        If a file cannot be written.
    """
    from rtvc.config.panel_state import load_panel_state, save_panel_state
    from rtvc.config.remembered import read_remembered
    from rtvc.library.renaming import change_preset_name

    sentences = []
    state, problem = load_panel_state()
    if problem:
        sentences.append(f"Its key in the panel is lost. {problem}")
    try:
        read_remembered()
    except RtvcError as error:
        sentences.append(str(error))
    changed, problems = change_preset_name(old, new)
    if changed:
        sentences.append(f"Its name was also changed in {', '.join(changed)}.")
    if not problem and state.digit_of(old):
        save_panel_state(state.renamed(old, new))
    if problems:
        raise RtvcError(" ".join(problems))
    return sentences
