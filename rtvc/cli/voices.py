"""``rtvc voices``: adds, lists, shows, sets, removes and blends RVC voices."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtvc.cli import options, voice_defaults, voice_level
from rtvc.cli.columns import columns_of, padded
from rtvc.errors import RtvcError, UsageError
from rtvc.settings import BUILT_IN

if TYPE_CHECKING:
    from rtvc.library import Manifest
    from rtvc.library.adding import AddedVoice
    from rtvc.library.finding import FoundVoice
    from rtvc.library.voices import InstalledVoice

SUMMARY = "list, add, show, set, level, remove, restore, rename and blend RVC voices"
USAGE = "rtvc voices [list | add | show | set | level | remove | restore | rename | blend] ..."
DESCRIPTION = """\
An RVC voice is a .pth file, usually with an .index file, often in one zip archive.
Adding a voice copies what it needs into rtvc's own folder and leaves the original as it
is; nothing in the file is executed. Run 'rtvc setup' once for the base models that all
RVC voices need."""
EPILOG = """\
examples:
  rtvc voices                           list all voices
  rtvc voices add Anna.zip              add a voice and its index from an archive
  rtvc voices add https://huggingface.co/someone/anna/blob/main/Anna.zip
  rtvc voices show Anna                 show version, rate, pitch, index and origin
  rtvc voices set Anna pitch=12         start Anna with this pitch
  rtvc voices blend Anna Bert --ratio 0.3 --name Annabert
  rtvc --voice Anna                     use the voice live

'rtvc voices ACTION --help' explains an action and its flags."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", prog=parser.prog)

    def action(name: str, help_text: str, *, usage: str, epilog: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            usage=f"rtvc voices {usage}",
            epilog=f"examples:\n{epilog}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    listing = action(
        "list", "list all voices (the default)", usage="list [--json]", epilog="  rtvc voices list"
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    _add_add(action)
    show = action(
        "show",
        "show the facts of a voice, installed or not",
        usage="show NAME|FILE [--json]",
        epilog="  rtvc voices show Anna\n  rtvc voices show ~/Downloads/Anna.zip",
    )
    show.add_argument(
        "name", metavar="NAME", help="an installed voice, or a file, folder or zip archive"
    )
    show.add_argument("--json", action="store_true", help="print JSON")
    voice_defaults.add_set(action)
    voice_level.add_level(action)
    remove = action(
        "remove",
        "remove voices; 'rtvc voices restore' undoes it",
        usage="remove NAME... [--forever]",
        epilog="  rtvc voices remove Anna\n  rtvc voices remove Anna --forever    free the disk",
    )
    remove.add_argument("names", metavar="NAME", nargs="+", help="names of voices")
    remove.add_argument(
        "--forever",
        action="store_true",
        help="delete the files, also those of a voice that is removed already",
    )
    restore = action(
        "restore",
        "restore a removed voice",
        usage="restore NAME [--name NEW]",
        epilog="  rtvc voices restore Anna",
    )
    restore.add_argument("voice", metavar="NAME", help="a removed voice ('rtvc voices' lists them)")
    restore.add_argument("--name", metavar="NEW", help="restore it under another name")
    rename = action(
        "rename",
        "rename a voice",
        usage="rename OLD NEW",
        epilog='  rtvc voices rename model "Anna, deep"',
    )
    rename.add_argument("old", metavar="OLD", help="current name")
    rename.add_argument("new", metavar="NEW", help="new name")
    _add_blend(action)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    actions: dict[str | None, Callable[[argparse.Namespace], int]] = {
        "add": _add,
        "show": _show,
        "set": voice_defaults.run_set,
        "level": voice_level.run_level,
        "remove": _remove,
        "restore": _restore,
        "rename": _rename,
        "blend": _blend,
    }
    return actions.get(args.action, _list)(args)


def _add_add(action: Callable[..., argparse.ArgumentParser]) -> None:
    add = action(
        "add",
        "add a voice from a file, a folder, a zip archive or a URL",
        usage="add SOURCE [--index FILE] [--name NAME] [--pick FILE] [--force] [--no-level]",
        epilog=(
            "  rtvc voices add Anna.pth --index added_IVF512_Flat_nprobe_1_Anna_v2.index\n"
            "  rtvc voices add ~/Downloads/Anna.zip\n"
            "  rtvc voices add many.zip --pick Anna.pth --name Anna\n"
            "  rtvc voices add https://huggingface.co/someone/anna/blob/main/Anna.zip"
        ),
    )
    add.add_argument("source", metavar="SOURCE", help="a file, folder, zip archive or URL")
    add.add_argument(
        "--index",
        type=options.file_path,
        metavar="FILE",
        help="the index of the voice, if it is not found automatically",
    )
    add.add_argument("--name", metavar="NAME", help="name of the voice (default: the file name)")
    add.add_argument("--pick", metavar="FILE", help="add only this voice of several (default: all)")
    add.add_argument(
        "--force", action="store_true", help="replace a voice of that name; it can be restored"
    )
    voice_level.add_no_level(add)


def _add_blend(action: Callable[..., argparse.ArgumentParser]) -> None:
    blend = action(
        "blend",
        "interpolate between two voices of the same type",
        usage="blend A B [--ratio R] [--name NAME] [--force] [--no-level]",
        epilog="  rtvc voices blend Anna Bert --ratio 0.3 --name Annabert    70 % Anna",
    )
    blend.add_argument("first", metavar="A", help="name of a voice")
    blend.add_argument("second", metavar="B", help="name of another voice")
    blend.add_argument(
        "--ratio", type=_ratio, default=0.5, metavar="R", help="share of B, 0 to 1 (default 0.5)"
    )
    blend.add_argument("--name", metavar="NAME", help="name of the new voice (default: A+B)")
    blend.add_argument(
        "--force", action="store_true", help="replace a voice of that name; it can be restored"
    )
    voice_level.add_no_level(blend)


def _list(args: argparse.Namespace) -> int:
    from rtvc.library import list_removed, list_voices, missing_models
    from rtvc.library.base_models import install_advice
    from rtvc.library.home import voices_folder
    from rtvc.library.voice_defaults import find_defaults
    from rtvc.system.permission import folder_problem

    voices, problems = list_voices()
    removed = list_removed()
    code = int(bool(folder_problem(voices_folder())))
    if getattr(args, "json", False):
        _print_json(
            {
                "folder": str(voices_folder()),
                "built_in": [BUILT_IN],
                "voices": [_facts(v.name, v.manifest, v.path, v.index) for v in voices],
                "damaged": problems,
                "removed": removed,
            }
        )
        return code
    width = max(columns_of(name) for name in (BUILT_IN, *(voice.name for voice in voices)))
    print(f"{BUILT_IN:{width}}  built in")
    for voice in voices:
        print(f"{padded(voice.name, width)}  {_summary(voice.manifest)}")
    for problem in (*problems, *(find_defaults(voice.name)[1] for voice in voices)):
        if problem:
            print(problem)
    if removed:
        print(f"\nRemoved: {', '.join(removed)}. Restore one with 'rtvc voices restore NAME'.")
    missing = {kind for voice in voices for kind in missing_models(voice.manifest)}
    if missing:
        print(f"\nBase models are missing. {install_advice(sorted(missing))}")
    elif not (voices or problems):
        print("\nNo RVC voices yet. Add one with 'rtvc voices add FILE'.")
    return code


def _add(args: argparse.Namespace) -> int:
    from rtvc.cli.terminal import ProgressBar
    from rtvc.library.opening import open_source

    bar = ProgressBar(sys.stderr)
    try:
        with open_source(args.source, bar.transfer("Download")) as found:
            bar.clear()
            return _add_all(found, args)
    finally:
        bar.clear()


def _add_all(found: list[FoundVoice], args: argparse.Namespace) -> int:
    from rtvc.library.adding import add_voice
    from rtvc.library.finding import list_names, select_voice

    chosen = select_voice(found, args.pick) if args.pick else found
    if len(chosen) == 1:
        one = add_voice(chosen[0], name=args.name, index=args.index, force=args.force)
        _finish([_print_added(one)], args)
        return 0
    if args.name or args.index:
        raise UsageError(
            f"There are {len(chosen)} voices: {list_names(voice.path for voice in chosen)}. Choose "
            "one with --pick, or leave out --name and --index to add all."
        )
    added = []
    for voice in chosen:
        try:
            added.append(_print_added(add_voice(voice, force=args.force)))
        except RtvcError as error:
            print(f"rtvc: {error}", file=sys.stderr)
    print(f"{len(added)} of {len(chosen)} voices added.")
    _finish(added, args)
    return 1 if len(added) < len(chosen) else 0


def _finish(added: list[InstalledVoice], args: argparse.Namespace) -> None:
    """Measure the loudness of new voices, unless that is not wanted."""
    if not args.no_level:
        voice_level.level_new(added)


def _show(args: argparse.Namespace) -> int:
    from rtvc.library import installed_voice
    from rtvc.library.voice_defaults import find_defaults

    path = options.file_path(args.name)
    try:
        voice = installed_voice(args.name)
    except UsageError:
        if not os.path.exists(path):
            raise
    else:
        facts = _facts(voice.name, voice.manifest, voice.path, voice.index)
        if args.json:
            _print_json(facts)
        else:
            values, damage = find_defaults(voice.name)
            _print_facts(
                voice.name, voice.manifest, [damage], str(voice.folder), options.described(values)
            )
        return 0
    return _show_file(path, as_json=args.json)


def _show_file(path: Path, *, as_json: bool) -> int:
    from rtvc.library.adding import inspect_voice
    from rtvc.library.opening import open_source

    with open_source(str(path), lambda done, total: None) as found:
        described = [(one, *inspect_voice(one)) for one in found]
        if as_json:
            _print_json([_facts(one.name, facts, None, None) for one, facts, _ in described])
            return 0
        for number, (one, facts, notes) in enumerate(described):
            if number:
                print()
            _print_facts(one.name, facts, notes, "")
    return 0


def _ratio(text: str) -> float:
    """Return the share of the second voice as typed."""
    from rtvc.setting import parse_number

    try:
        return parse_number(text)
    except ValueError:
        raise UsageError(f"--ratio is {text!r}, but must be a number from 0 to 1.") from None


def _remove(args: argparse.Namespace) -> int:
    from rtvc.library import remove_voice
    from rtvc.library.voices import find_removable

    # All are found before the first is removed; a voice that is named twice is removed once.
    found = {find_removable(name, forever=args.forever): name for name in args.names}
    for name in found.values():
        kept = remove_voice(name, forever=args.forever)
        back = f" Undo: rtvc voices restore {shlex.quote(kept)}" if kept else ""
        print(f"Removed {name!r}.{back}")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from rtvc.library import restore_voice

    print(f"Restored {restore_voice(args.voice, args.name)!r}.")
    return 0


def _rename(args: argparse.Namespace) -> int:
    from rtvc.library import rename_voice
    from rtvc.library.renaming import change_name

    name = rename_voice(args.old, args.new)
    print(f"{args.old!r} is now {name!r}.")
    changed, problems = change_name(args.old, name)
    if changed:
        print(f"Its name was also changed in {', '.join(changed)}.")
    if problems:
        raise RtvcError(" ".join(problems))
    return 0


def _blend(args: argparse.Namespace) -> int:
    from rtvc.library.adding import blend_voices

    blended = blend_voices(
        args.first, args.second, ratio=args.ratio, name=args.name, force=args.force
    )
    _finish([_print_added(blended)], args)
    return 0


def _print_added(added: AddedVoice) -> InstalledVoice:
    """Print the voice that was added and the next step, and return it."""
    from rtvc.library import missing_models
    from rtvc.library.base_models import install_advice

    voice = added.voice
    print(f"Added {voice.name!r}: {_summary(voice.manifest)}.")
    for note in added.notes:
        print(note)
    missing = missing_models(voice.manifest)
    first = f"{install_advice(missing)} Then use it" if missing else "Use it"
    print(f"{first}: rtvc --voice {shlex.quote(voice.name)}")
    return voice


def _summary(manifest: Manifest) -> str:
    pitch = "with pitch" if manifest.uses_pitch else "without pitch"
    speakers = f", {manifest.speakers} speakers" if manifest.speakers > 1 else ""
    index = f"index of {manifest.index_vectors:,} vectors" if manifest.index else "no index"
    return (
        f"RVC {manifest.version}, {manifest.sample_rate / 1000:g} kHz, {manifest.vocoder}, "
        f"{pitch}{speakers}, {index}"
    )


def _print_facts(
    name: str, manifest: Manifest, notes: list[str], folder: str, remembers: str = ""
) -> None:
    from rtvc.library.base_models import install_advice, installed_model, model_title, needed_models

    models = needed_models(manifest)
    missing = [kind for kind in models if installed_model(kind) is None]
    needs = ", ".join(
        f"{model_title(kind)} ({'missing' if kind in missing else 'installed'})" for kind in models
    )
    rows = {
        "kind": f"RVC {manifest.version} voice, {'with' if manifest.uses_pitch else 'without'} "
        "pitch",
        "rate": f"{manifest.sample_rate} Hz",
        "vocoder": manifest.vocoder,
        "speakers": str(manifest.speakers),
        "index": f"{manifest.index_vectors:,} vectors ({manifest.index})"
        if manifest.index
        else "none",
        "remembers": remembers,
        "needs": needs,
        "info": "; ".join(f"{key} {text}" for key, text in manifest.info.items()),
        "from": manifest.origin or manifest.source,
        "SHA-256": manifest.source_sha256,
        "added": manifest.added if folder else "",
        "folder": folder,
    }
    print(name)
    for key, text in rows.items():
        if text:
            print(f"  {key:9} {text}")
    for note in filter(None, notes):
        print(f"  {note}")
    if missing:
        print(f"  {install_advice(missing)}")


def _facts(name: str, manifest: Manifest, path: Path | None, index: Path | None) -> dict[str, Any]:
    import dataclasses

    from rtvc.library import missing_models
    from rtvc.library.voice_defaults import find_defaults

    return {
        "name": name,
        "path": str(path) if path else None,
        "index_path": str(index) if index else None,
        "missing": missing_models(manifest),
        "remembers": find_defaults(name)[0] if path else {},
        **dataclasses.asdict(manifest),
    }


def _print_json(report: object) -> None:
    from rtvc.cli.run_report import as_json

    print(as_json(report), end="")
