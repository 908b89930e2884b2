"""``rtvc setup``: installs the base models that all RVC voices need."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from rtvc.cli import options
from rtvc.errors import RtvcError, UsageError, did_you_mean

if TYPE_CHECKING:
    from rtvc.cli.terminal import ProgressBar

SUMMARY = "download the base models that RVC voices need (once, 371 MB)"
USAGE = "rtvc setup [MODEL...] [--from PATH | --source URL] [FLAGS]"
DESCRIPTION = """\
All RVC voices share two base models: the content encoder ContentVec and the pitch
estimator RMVPE. This command downloads them from their publishers and verifies their
SHA-256. Run it again to resume an interrupted download. The built-in voice needs no
base models.

MODEL is contentvec or rmvpe (both by default), fcpe (another pitch estimator) or, with
--from, the name of a content encoder that a voice needs, such as spin."""
EPILOG = """\
examples:
  rtvc setup                             download everything that RVC voices need
  rtvc setup --list                      show what is installed and what is missing
  rtvc setup --from ~/RVC/assets         copy the files of another program, without network
  rtvc setup fcpe                        add the FCPE pitch estimator
  rtvc setup spin --from ~/Downloads/spin
  rtvc setup --source https://example.org/mirror    download from a mirror"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "models", metavar="MODEL", nargs="*", help="base models (default: all that are needed)"
    )
    parser.add_argument(
        "--list", action="store_true", help="list the base models and change nothing"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--from",
        dest="place",
        type=options.file_path,
        metavar="PATH",
        help="copy from a file, or search a folder",
    )
    place.add_argument(
        "--source", metavar="URL", help="download from a mirror: the URL of its folder"
    )
    parser.add_argument(
        "--unverified",
        action="store_true",
        help="with --source: accept a file with another SHA-256 if its weights fit",
    )
    parser.add_argument("--force", action="store_true", help="replace installed base models")


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    from rtvc.cli.terminal import ProgressBar
    from rtvc.library.addresses import file_in
    from rtvc.library.base_models import BASE_MODELS

    if args.list:
        return _list(args)
    if args.unverified and not args.source:
        raise UsageError(
            "--unverified requires --source; --from accepts every file whose weights fit."
        )
    if args.place is not None and not os.path.exists(args.place):
        raise UsageError(f"There is no file or folder {str(args.place)!r}.")
    kinds = _named(args) or [model.kind for model in BASE_MODELS.values() if model.required]
    if args.place is None:
        _refuse_unknown(kinds)
    if args.source:  # refused before anything is printed
        for kind in kinds:
            file_in(args.source, BASE_MODELS[kind].file)
    bar = ProgressBar(sys.stderr)
    failed = 0
    for kind in kinds:
        try:
            done = _install(kind, args, bar)
        except RtvcError as error:
            failed += 1
            bar.note(f"rtvc: {error}")
            if args.place is None or not os.path.exists(args.place):
                break  # the next model would fail for the same reason
        else:
            print(done, flush=True)
    if failed:
        return 1
    print(_next_step())
    return 0


def _install(kind: str, args: argparse.Namespace, bar: ProgressBar) -> str:
    from rtvc.library.base_models import (
        BASE_MODELS,
        installed_model,
        is_intact,
        model_title,
        refuse_newer,
    )
    from rtvc.library.home import format_size
    from rtvc.library.setting_up import install_from_folder, install_from_url

    title = model_title(kind)
    there = installed_model(kind)
    if there is not None and not args.force:
        if is_intact(there):
            return f"{title}: already installed ({_trust(known=there.known)})."
        bar.note(f"{title}: the installed file is damaged and will be replaced.")
    if args.place is not None:
        installed = install_from_folder(kind, args.place)
        return f"{title}: installed from {installed.source} ({_trust(known=installed.known)})."
    model = BASE_MODELS[kind]
    refuse_newer(kind)
    bar.note(f"{title}: downloading {format_size(model.size)}.")
    try:
        installed = install_from_url(
            model, bar.transfer(title), mirror=args.source or "", unverified=args.unverified
        )
    except KeyboardInterrupt:
        bar.note("Interrupted. Run the same command again to resume.")
        raise
    finally:
        bar.clear()
    return f"{title}: installed ({_trust(known=installed.known)})."


def _named(args: argparse.Namespace) -> list[str]:
    """Return the kinds of the base models that a command line names, each once."""
    from rtvc.library.base_models import model_kind

    return list(dict.fromkeys(model_kind(name) for name in args.models))


def _list(args: argparse.Namespace) -> int:
    from rtvc.library.base_models import (
        BASE_MODELS,
        installed_kinds,
        installed_model,
        is_intact,
        is_newer,
        model_title,
    )
    from rtvc.library.download import partial_size
    from rtvc.library.home import format_size, models_folder
    from rtvc.system.permission import folder_problem

    installing = {
        "--from": args.place,
        "--source": args.source,
        "--unverified": args.unverified,
        "--force": args.force,
    }
    for flag, value in installing.items():
        if value:
            raise UsageError(
                f"--list installs nothing, and {flag} is for installing. Leave one out."
            )
    if problem := folder_problem(models_folder()):
        raise RtvcError(problem)
    known = [*BASE_MODELS, *(kind for kind in installed_kinds() if kind not in BASE_MODELS)]
    kinds = _named(args) or known
    for kind in kinds:
        if kind not in known:
            hint = did_you_mean(kind, known, f"Base models: {', '.join(known)}.")
            raise UsageError(f"There is no base model {kind!r}. {hint}")
    incomplete = False
    for kind in kinds:
        model, there = BASE_MODELS.get(kind), installed_model(kind)
        if there is not None:
            found = f"installed, {format_size(there.size)}, {_trust(known=there.known)}"
            if not is_intact(there):
                found = f"damaged; {_replacement(kind)}"
        elif is_newer(kind):
            found = "from a newer version of rtvc; update rtvc to use it"
        elif model is not None:
            done = partial_size(model.url)
            partial = f", {format_size(done)} downloaded" if done else ""
            need = "missing" if model.required else "not installed, optional"
            found = f"{need} ({format_size(model.size)}{partial})"
            incomplete = incomplete or model.required
        print(f"{kind:12} {model_title(kind)}: {found}")
    print(f"\nFolder: {models_folder()}")
    if incomplete:
        print("'rtvc setup' downloads what is missing.")
    return 0


def _replacement(kind: str) -> str:
    """Return a clause about how a damaged base model is replaced."""
    from rtvc.library.base_models import BASE_MODELS

    model = BASE_MODELS.get(kind)
    if model is None:
        return f"'rtvc setup {kind} --from FOLDER' replaces it"
    return f"'rtvc setup{'' if model.required else f' {kind}'}' downloads it again"


def _refuse_unknown(kinds: list[str]) -> None:
    from rtvc.library.base_models import BASE_MODELS

    for kind in kinds:
        if kind not in BASE_MODELS:
            listed = f"Base models to download: {', '.join(BASE_MODELS)}."
            raise UsageError(
                f"There is no download of a base model {kind!r}. "
                f"{did_you_mean(kind, BASE_MODELS, listed)} A content encoder of that name can be "
                "taken from its folder with --from."
            )


def _trust(*, known: bool) -> str:
    if known:
        return "published file, SHA-256 verified"
    return "unknown file, but its weights fit"


def _next_step() -> str:
    from rtvc.library import list_voices
    from rtvc.library.base_models import BASE_MODELS, install_advice, installed_model

    missing = [m.kind for m in BASE_MODELS.values() if m.required and not installed_model(m.kind)]
    if missing:
        return f"RVC voices need more base models. {install_advice(missing)}"
    if not list_voices()[0]:
        return "All base models are installed. Now add a voice: rtvc voices add FILE"
    return "All base models are installed."
