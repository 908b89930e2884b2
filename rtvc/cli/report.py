"""``rtvc report``: one archive with all that tells how rtvc runs on this machine."""

from __future__ import annotations

import argparse
import datetime
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rtvc.cli import options
from rtvc.cli.run_devices import print_note
from rtvc.errors import RtvcError, UsageError
from rtvc.system.target_folder import require_folder_of

if TYPE_CHECKING:
    from rtvc.audio.devices import Device

SUMMARY = "collect how rtvc runs on this machine, in one archive to send"
USAGE = "rtvc report [FILE] [--yes] [--seconds N] [--no-devices] [--no-rvc] [--with-device-names]"
DESCRIPTION = """\
Runs 'rtvc doctor', the self-test, a calibration, 'rtvc bench --quick' and a live run of two
minutes, half of it with the built-in voice and half with a full-size RVC voice of random
weights, and writes the results to one ZIP archive. It takes about five minutes. Nothing is
sent: you send the file yourself.

The live run opens your microphone and your speaker, for their timing: it converts a bundled
utterance and plays silence. The archive contains no sound, and no names of devices, voices,
folders or users; devices are called what they are, such as 'usb'. You see the list of its
files and are asked before it is written. Your calibration is not changed. Ctrl-C ends it and
leaves no file."""
EPILOG = """\
examples:
  rtvc report
  rtvc report mine.zip --yes          without the question
  rtvc report --no-devices            without opening microphone and speaker"""

_SECONDS = 120.0
_CALIBRATION_SHARE = 0.5
_PATIENCE_S = 300.0
"""Time that a part may take longer than planned."""
_LOOK_S = 0.2


class _Part(NamedTuple):
    """One file of the archive.

    Attributes
    ----------
    file
        Its name.
    about
        What is in it, in words.
    words
        Arguments of Python that print it.
    seconds
        How long that takes, about.
    """

    file: str
    about: str
    words: tuple[str, ...]
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "file",
        nargs="?",
        type=options.file_path,
        metavar="FILE",
        help="archive to write (default rtvc-report-DATE.zip); an existing file is not replaced",
    )
    parser.add_argument("--yes", action="store_true", help="write the archive without a question")
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        default=_SECONDS,
        metavar="N",
        help="length of the live run; the calibration takes half as long, or as long as it needs "
        f"(default {_SECONDS:g})",
    )
    parser.add_argument(
        "--no-devices",
        action="store_true",
        help="run live on a simulated device, and open neither microphone nor speaker",
    )
    parser.add_argument(
        "--no-rvc",
        action="store_true",
        help="leave out all that needs the RVC voice, which takes 1 GB of memory",
    )
    parser.add_argument(
        "--with-device-names", action="store_true", help="write the names of the devices too"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    path = args.file or Path(f"rtvc-report-{datetime.date.today().isoformat()}.zip")
    _refuse(path, asks=not args.yes)
    listed = _devices(args)
    parts = _parts(args)
    about = sum(part.seconds for part in parts) / 60.0
    print_note(f"{len(parts)} parts, about {about:.1f} min. Ctrl-C ends it and leaves no file.")
    files = _files(parts, listed, args)
    print("The archive contains:")
    for name, (text, what) in files.items():
        print(f"  {name:22} {len(text.encode()):7} bytes  {what}")
    named = "with the names of your devices" if args.with_device_names else "no names of devices"
    print(f"It contains no sound, {named}, and no names of voices, folders or users.")
    if not args.yes and not _agreed(path):
        print_note("Nothing was written.")
        return 1
    _write(path, files)
    print(f"Wrote {path}. Attach it to an issue of rtvc, with what you heard.")
    return 0


def _refuse(path: Path, *, asks: bool) -> None:
    """Refuse what would fail in the end."""
    if path.exists():
        raise UsageError(f"{path} exists already. Choose another file, or remove it.")
    require_folder_of(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise RtvcError(f"{path} cannot be written: {error.strerror}.") from None
    if asks and not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask you on. Add --yes to write the archive.")


def _parts(args: argparse.Namespace) -> list[_Part]:
    from rtvc.cli.report_parts import RANDOM_VOICE
    from rtvc.settings import BUILT_IN

    voices = [BUILT_IN] if args.no_rvc else [BUILT_IN, RANDOM_VOICE]
    live_s, calibration_s = (
        share / len(voices) for share in (args.seconds, args.seconds * _CALIBRATION_SHARE)
    )
    on = "simulated" if args.no_devices else "devices"
    rtvc, part = ("-m", "rtvc"), ("-m", "rtvc.cli.report_parts")
    parts = [_Part("doctor.json", "'rtvc doctor', shortened", (*rtvc, "doctor", "--json"), 15.0)]
    if not args.no_rvc:
        parts.append(
            _Part("self-test.json", "the self-test", (*rtvc, "doctor", "--self-test", "--json"), 5)
        )
        parts.append(_Part("bench.json", "'rtvc bench'", (*rtvc, "bench", "--quick", "--json"), 30))
    for voice in voices:
        words = (*part, "calibration", voice, str(calibration_s), on)
        about = f"step times of {voice}"
        parts.append(_Part(f"calibration-{voice}.json", about, words, calibration_s + 5))
    for voice in voices:
        words = (*part, "live", voice, str(live_s), on)
        about = f"figures of a live run with {voice}"
        parts.append(_Part(f"live-{voice}.json", about, words, live_s + 5))
    return parts


def _devices(args: argparse.Namespace) -> list[Device]:
    from rtvc.audio.devices import Device

    words = ("-m", "rtvc.cli.report_parts", "devices", "", "0", "")
    found = None if args.no_devices else _result(_Part("", "", words, 5.0))
    return [Device(**row) for row in found] if isinstance(found, list) else []


def _files(
    parts: list[_Part], listed: list[Device], args: argparse.Namespace
) -> dict[str, tuple[str, str]]:
    """Run the parts; return the text of each file and what it is, by its name."""
    from rtvc.cli.anonymous import Names, device_rows, without_findings
    from rtvc.cli.run_report import as_json

    results = {}
    for number, part in enumerate(parts, 1):
        print_note(f"{number} of {len(parts)}: {part.about}, about {part.seconds:.0f} s.")
        found = _result(part)
        if part.file == "doctor.json" and isinstance(found, dict):
            found = without_findings(found)
        results[part] = found
    # Devices that have been connected meanwhile may be named too.
    names = Names(None if args.with_device_names else [*listed, *_devices(args)])
    rows = device_rows(listed, named=args.with_device_names)
    files = {"devices.json": (as_json(rows), "devices: kind, channels, rate")}
    for part, found in results.items():
        files[part.file] = (as_json(names.removed(found)), part.about)
    return files


def _result(part: _Part) -> Any:
    """Run a part and return its result, or under "error" why there is none."""
    from rtvc.cli.terminal import ProgressBar

    bar, began = ProgressBar(sys.stderr), time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-P", *part.words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        ) as process,
    ):
        try:
            late = {"error": f"It took longer than {part.seconds + _PATIENCE_S:.0f} s."}
            for share in _shares(part.seconds, began):
                if process.poll() is not None:
                    late = {}
                    break
                if part.file:
                    bar.show(part.file, share, time.monotonic() - began)
                time.sleep(_LOOK_S)
        finally:
            process.kill()
            bar.clear()
        if late:
            return late
        output.seek(0)
        errors.seek(0)
        try:
            return json.loads(output.read())
        except ValueError:
            lines = errors.read().strip().splitlines()
            return {"error": lines[-1] if lines else f"exit code {process.wait()}"}


def _shares(seconds: float, began: float) -> Iterator[float]:
    """Yield the share of a part that is done, until it has taken far too long."""
    while (elapsed := time.monotonic() - began) < seconds + _PATIENCE_S:
        yield min(elapsed / seconds, 0.99)


def _agreed(path: Path) -> bool:
    try:
        answer = input(f"Write {path}? [y/N] ")
    except EOFError:  # Ctrl-D
        print()
        return False
    return answer.strip().lower() in ("y", "yes")


def _write(path: Path, files: dict[str, tuple[str, str]]) -> None:
    """Write the archive; it exists only when it is complete."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (text, _) in files.items():
            archive.writestr(name, text)
    try:
        with path.open("xb") as file:
            file.write(content.getvalue())
    except FileExistsError:
        raise UsageError(f"{path} exists already. Choose another file, or remove it.") from None
    except OSError as error:
        path.unlink(missing_ok=True)
        raise RtvcError(f"{path} cannot be written: {error.strerror}.") from None
