"""``rtvc presets``: lists, shows, checks and saves presets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rtvc.cli import options
from rtvc.errors import RtvcError, UsageError

SUMMARY = "list, show, check and save presets"
USAGE = "rtvc presets [list | show NAME | check [FILE...] | save NAME [FLAGS]]"
DESCRIPTION = """\
A preset is a YAML file with a description and one setting per line, which you can also
write by hand. 'rtvc run --help' explains the settings."""
EPILOG = """\
examples:
  rtvc presets                          all presets, bundled and yours
  rtvc presets show deep > mine.yaml    start your own from a bundled preset
  rtvc presets check mine.yaml          report every mistake with its line
  rtvc presets save tiny --pitch 7 --formant 4 --description "A small voice."
  rtvc presets save mine --remembered   the settings of the last run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", prog=parser.prog)
    actions.add_parser("list", help="list all presets with their descriptions (the default)")
    show = actions.add_parser("show", help="print the file of a preset")
    show.add_argument("name", metavar="NAME", help="a preset's name or the path of its file")
    check = actions.add_parser("check", help="report all mistakes in preset files")
    check.add_argument("files", metavar="FILE", nargs="*", help="files (default: all presets)")
    save = actions.add_parser(
        "save",
        help="save settings as your own preset",
        usage="rtvc presets save NAME [FLAGS]",
    )
    save.add_argument("name", metavar="NAME", help="name of the preset")
    save.add_argument(
        "--description", default=None, metavar="TEXT", help="one sentence about the preset"
    )
    save.add_argument(
        "--remembered", action="store_true", help="start from the settings of the last live run"
    )
    save.add_argument("--force", action="store_true", help="overwrite a preset of that name")
    options.add_settings(save, stored_only=True)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    action = {"show": _show, "check": _check, "save": _save}.get(args.action, _list)
    return action(args)


def _list(_args: argparse.Namespace) -> int:
    from rtvc.config.presets import list_presets, load_preset

    files = list_presets()
    width = max((len(file.name) for file in files), default=0)
    for file in files:
        try:
            about = load_preset(file.path).description
        except UsageError:
            about = "(not valid; 'rtvc presets check' reports why)"
        mine = "" if file.bundled else "  (yours)"
        print(f"{file.name:{width}}  {about}{mine}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from rtvc.config.presets import preset_path
    from rtvc.config.settings_yaml import read_text

    sys.stdout.write(read_text(preset_path(args.name)))
    return 0


def _check(args: argparse.Namespace) -> int:
    from rtvc.config.presets import list_presets, load_preset
    from rtvc.config.settings_yaml import SettingsFileError

    paths = [Path(name) for name in args.files] or [file.path for file in list_presets()]
    code = 0
    for path in paths:
        try:
            preset = load_preset(path)
            print(f"{path}: valid")
            for note in preset.notes:
                print(note)
        except SettingsFileError as error:
            print(error)
            code = 1
    return code


def _save(args: argparse.Namespace) -> int:
    from rtvc.config.presets import bundled_folder, load_preset, save_preset, user_path
    from rtvc.config.remembered import read_remembered, remembered_path
    from rtvc.settings import Settings

    path = user_path(args.name)
    if args.remembered and not remembered_path().exists():
        raise UsageError("Nothing is remembered yet: 'rtvc run' remembers its settings.")
    base = read_remembered().settings if args.remembered else Settings()
    settings = options.chosen(args, base).settings
    description = args.description
    if description is None:
        description = ""
        if args.force and path.exists():
            try:
                description = load_preset(path).description
            except RtvcError:
                description = ""
    save_preset(path, settings, description, overwrite=args.force)
    changed = options.described(settings.changed()) or "all settings at their defaults"
    print(f"Saved {path}: {changed}.")
    if (bundled_folder() / path.name).exists():
        print(f"It is used instead of the bundled preset {path.stem!r}; delete it to undo that.")
    return 0
