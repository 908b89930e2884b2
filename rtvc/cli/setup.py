"""``rtvc setup``: gets the networks that all RVC voices need."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError, UsageError, nearest

if TYPE_CHECKING:
    from rtvc.cli.terminal import ProgressBar

SUMMARY = "get the networks that RVC voices need (once, 371 MB)"
USAGE = "rtvc setup [MODEL...] [--from PATH | --source URL] [FLAGS]"
DESCRIPTION = """\
RVC voices need two networks beside their own: the content encoder ContentVec and the pitch
estimator RMVPE. This downloads them from where they are published, and compares them with
their published SHA-256; a download that breaks goes on when the command is given again.
The built-in voices need none of this.

MODEL chooses: contentvec, rmvpe (both by default), fcpe (another pitch estimator), or with
--from the name of a content encoder that a voice asks for, such as spin."""
EPILOG = """\
examples:
  rtvc setup                             all that voices need
  rtvc setup --list                      what is there, and what is missing
  rtvc setup --from ~/RVC/assets         from the files of another program, without a network
  rtvc setup fcpe                        one more
  rtvc setup spin --from ~/Downloads/spin
  rtvc setup --source https://example.org/mirror    from where the same files lie too"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("models", metavar="MODEL", nargs="*", help="which (default: all needed)")
    parser.add_argument(
        "--list", action="store_true", help="tell what is there, and change nothing"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--from", dest="place", type=Path, metavar="PATH", help="a file, or a folder to look in"
    )
    place.add_argument("--source", metavar="URL", help="an address under which the files lie")
    parser.add_argument(
        "--unverified",
        action="store_true",
        help="with --source: take files of another SHA-256 too, if their weights fit",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.terminal import ProgressBar
    from rtvc.library.base_models import BASE_MODELS, kind_of

    if args.list:
        return _list()
    if args.unverified and not args.source:
        raise UsageError("--unverified goes with --source; what --from takes need not be known.")
    kinds = [kind_of(name) for name in args.models] or [
        model.kind for model in BASE_MODELS.values() if model.needed
    ]
    if args.place is None:
        _refuse_unknown(kinds)
    bar = ProgressBar(sys.stderr)
    failed = 0
    for kind in kinds:
        try:
            done = _install(kind, args, bar)
        except RtvcError as error:
            failed += 1
            bar.note(f"rtvc: {error}")
            if args.place is None:
                break  # What hinders one download hinders the next.
        else:
            print(done, flush=True)
    if failed:
        return 1
    print(_next_step())
    return 0


def _install(kind: str, args: argparse.Namespace, bar: ProgressBar) -> str:
    from rtvc.library.base_models import BASE_MODELS, installed_model, is_whole, title_of
    from rtvc.library.home import megabytes
    from rtvc.library.setting_up import install_from_folder, install_from_web

    title = title_of(kind)
    there = installed_model(kind)
    if there is not None and not args.force:
        if is_whole(there):
            return f"{title}: there already ({_trust(known=there.known)})."
        bar.note(f"{title}: the file is damaged, and replaced.")
    if args.place is not None:
        installed = install_from_folder(kind, args.place.expanduser())
        return f"{title}: taken from {installed.source} ({_trust(known=installed.known)})."
    model = BASE_MODELS[kind]
    bar.note(f"{title}: downloading {megabytes(model.size)}.")
    try:
        installed = install_from_web(
            model, bar.transfer(title), mirror=args.source or "", unverified=args.unverified
        )
    except KeyboardInterrupt:
        bar.note("Interrupted. The same command goes on where this one stopped.")
        raise
    finally:
        bar.clear()
    return f"{title}: installed ({_trust(known=installed.known)})."


def _list() -> int:
    from rtvc.library.base_models import (
        BASE_MODELS,
        installed_kinds,
        installed_model,
        is_whole,
        title_of,
    )
    from rtvc.library.download import kept
    from rtvc.library.home import megabytes, models_folder

    incomplete = False
    for kind in (*BASE_MODELS, *(k for k in installed_kinds() if k not in BASE_MODELS)):
        model, there = BASE_MODELS.get(kind), installed_model(kind)
        if there is not None:
            found = f"installed, {megabytes(there.size)}, {_trust(known=there.known)}"
            if not is_whole(there):
                found, incomplete = "damaged; 'rtvc setup' gets it again", True
        elif model is not None:
            so_far = f", {megabytes(kept(model.url))} of it have come in" if kept(model.url) else ""
            need = "missing" if model.needed else "not installed, and not needed"
            found = f"{need} ({megabytes(model.size)}{so_far})"
            incomplete = incomplete or model.needed
        print(f"{kind:12} {title_of(kind)}: {found}")
    print(f"\nin {models_folder()}")
    if incomplete:
        print("'rtvc setup' gets what is missing.")
    return 0


def _refuse_unknown(kinds: list[str]) -> None:
    from rtvc.library.base_models import BASE_MODELS

    for kind in kinds:
        if kind not in BASE_MODELS:
            near = nearest(kind, BASE_MODELS)
            raise UsageError(
                f"There is no download of a base model {kind!r}; nearest: {near}. A content "
                "encoder of that name can be taken from its folder with --from."
            )


def _trust(*, known: bool) -> str:
    if known:
        return "a published file, by its SHA-256"
    return "not a published file that rtvc knows, but all its weights fit"


def _next_step() -> str:
    from rtvc.library import list_voices
    from rtvc.library.base_models import BASE_MODELS, installed_model, remedy

    missing = [m.kind for m in BASE_MODELS.values() if m.needed and not installed_model(m.kind)]
    if missing:
        return f"Voices need more than that. {remedy(missing)}"
    if not list_voices()[0]:
        return "All that voices need is there. Now add one: rtvc voices add FILE"
    return "All that voices need is there."
