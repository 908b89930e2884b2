"""``rtvc doctor``: reports what is installed, what is wrong, and how to fix it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

from rtvc.cli import options
from rtvc.errors import UsageError, escaped

SUMMARY = "report what is installed, what is wrong, and how to fix it"
USAGE = (
    "rtvc doctor [--json]\n"
    "       rtvc doctor --self-test [--json]\n"
    "       rtvc doctor --live [--seconds N] [--input NAME] [--input-channel CHANNEL]\n"
    "                   [--output NAME] [--json]"
)
DESCRIPTION = """\
Checks everything that rtvc needs. The exit code is 1 if something is broken, and 0 if
there are only warnings, such as a missing microphone.

With --self-test it runs only the self-test of the device on which RVC voices compute: small
networks and single operators whose results are known. It is part of every 'rtvc doctor', and
runs by itself before the first RVC voice after an update of MLX or of the system. The exit
code is 1 if a result is wrong. What is wrong is replaced from then on, as it reports.

With --live it runs the engine on your devices, with the settings of the last run, while you
speak. The speaker plays silence. It reports step times, late blocks, how early blocks are,
underruns, clock drift, restarts, the latency (stated, measured by 'rtvc latency', and by the
sound), and what to change. The exit code is 1 if a block was late, a device had an underrun,
or the engine started again."""
EPILOG = """\
examples:
  rtvc doctor
  rtvc doctor --json > doctor.json    to attach to a bug report
  rtvc doctor --self-test             every result, with its signal-to-noise ratio
  rtvc doctor --live --seconds 60     a minute of live conversion, in silence"""

_MARKS = {"good": "  ", "warning": "? ", "broken": "! "}
_SLOW_GFLOPS = 15
"""A reference BLAS reaches 4 on slow machines, an optimised BLAS 50 or more."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, verdict, findings, and how to fix a problem."""

    name: str
    verdict: Literal["good", "warning", "broken"]
    found: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--self-test", action="store_true", help="test only the device on which voices compute"
    )
    parser.add_argument(
        "--live", action="store_true", help="run the engine on the devices; plays silence"
    )
    live = parser.add_argument_group("with --live")
    live.add_argument(
        "--seconds", type=options.seconds, metavar="N", help="run for N seconds (default 20)"
    )
    live.add_argument("--input", metavar="NAME", help="microphone: name, part of it, or number")
    live.add_argument("--output", metavar="NAME", help="speaker: name, part of it, or number")
    options.add_live_input_channel(live)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return the exit code."""
    if args.self_test:
        if args.live:
            raise UsageError("--self-test and --live exclude each other.")
        from rtvc.cli import doctor_self_test

        return doctor_self_test.run(json=args.json)
    if args.live:
        from rtvc.cli import doctor_live

        return doctor_live.run(args)
    if args.seconds or args.input or args.output or args.input_channel:
        raise UsageError("--seconds, --input, --input-channel and --output need --live.")
    checks = examine()
    broken = [check for check in checks if check.verdict == "broken"]
    if args.json:
        from rtvc.cli.run_report import as_json
        from rtvc.system.info import hardware, versions

        report = {
            "good": not broken,
            "checks": [dataclasses.asdict(check) for check in checks],
            "versions": versions(),
            "hardware": hardware(),
        }
        print(as_json(report), end="")
        return 1 if broken else 0
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{_MARKS[check.verdict]}{check.name:{width}}  {escaped(check.found)}")
        if check.fix:
            print(f"  {'':{width}}  -> {escaped(check.fix)}")
    print()
    print(f"Broken (!): {len(broken)}." if broken else "Nothing is broken.")
    return 1 if broken else 0


def examine() -> list[Check]:
    """Run all checks."""
    from rtvc.cli.probes import probe

    mlx, sound = _mlx(probe("mlx")), probe("portaudio")
    return [
        _rtvc(),
        _python(),
        _system(),
        *_packages(),
        mlx,
        *([] if mlx.verdict == "broken" else [_self_test(probe("self_test"))]),
        _portaudio(sound),
        _rtmixer(probe("rtmixer")),
        _sound_server(),
        _voices(probe("voices")),
        *_library(probe("library")),
        _presets(),
        _remembered(),
        *_extras(),
        *_feedback(sound),
        _latency(),
    ]


def _rtvc() -> Check:
    from rtvc import __file__ as where
    from rtvc._version import __version__

    return Check("rtvc", "good", f"{__version__} in {os.path.dirname(where)}")


def _python() -> Check:
    return Check("Python", "good", f"{platform.python_version()} in {sys.prefix}")


def _system() -> Check:
    from rtvc.system.info import hardware

    facts = hardware()
    found = (
        f"{facts['system']} on {facts['machine']}, {facts['processor'] or 'unknown processor'}, "
        f"{facts['cores']} cores, {facts['memory_gib']} GiB"
    )
    if sys.platform == "darwin" and facts["machine"] != "arm64":
        fix = "MLX needs Apple Silicon. If this is an arm64 Mac, use a Python for arm64."
        return Check("system", "broken", found, fix)
    return Check("system", "good", found)


def _packages() -> list[Check]:
    from rtvc.system.info import PACKAGES, versions

    found = versions()
    there = ", ".join(
        f"{name} {version}"
        for name, version in found.items()
        if version and name not in ("rtvc", "python")
    )
    missing = [name for name in PACKAGES if not found[name]]
    checks = [Check("packages", "good", there)]
    if missing:
        fix = "Install the package rtvc-live again, with the tool that installed it."
        checks.append(Check("packages", "broken", f"missing: {', '.join(missing)}", fix))
    return checks


def _mlx(found: dict[str, Any]) -> Check:
    if "error" in found:
        fix = "Install it again: pip install --force-reinstall mlx"
        return Check("MLX", "broken", found["error"], fix)
    text = (
        f"{found['version']}, {found['backend']} ({found['device'] or 'unknown device'}), "
        f"BLAS: {found['blas']}, {found['gflops']} GFLOP/s in a matrix product"
    )
    if len(found["builds"]) > 1:
        builds = " and ".join(found["builds"])
        text += f"; {builds} are installed, but own the same file: the last one installed is used"
        return Check("MLX", "warning", text, _one_build(found["builds"], found["version"]))
    if found["remedy"] or found["gflops"] < _SLOW_GFLOPS:
        fix = found["remedy"] or "Close other programs, or use a faster machine."
        return Check("MLX", "warning", text, f"Too slow for RVC voices. {fix}")
    return Check("MLX", "good", text)


def _self_test(found: dict[str, Any]) -> Check:
    from rtvc.cli.doctor_self_test import describe_compute

    name = "self-test"
    if "error" in found:
        fix = "Compute on the processor: rtvc run --compute cpu"
        if os.environ.get("RTVC_DEVICE"):
            fix = "Remove RTVC_DEVICE from the environment, or set it to cpu."
        return Check(name, "broken", found["error"], fix)
    cases = found["steps"][-1]["cases"]
    used = f"{describe_compute(found['compute'])} on {found['device']}"
    if not found["passed"]:
        return Check(name, "broken", found["sentences"][-1])
    if found["sentences"]:
        return Check(name, "warning", " ".join(found["sentences"]), f"rtvc uses {used}.")
    lowest = min(case["snr_db"] for case in cases)
    return Check(name, "good", f"{len(cases)} results right, {used}, at least {lowest:.0f} dB")


def _one_build(builds: list[str], version: str) -> str:
    """Return how to keep one of several builds of MLX's library."""
    kept = builds[-1]  # CUDA sorts last
    return (
        f"Keep one: pip uninstall {' '.join(builds)}, then pip install --no-deps {kept}=={version} "
        f"(or another of them)."
    )


def _portaudio(found: dict[str, Any]) -> Check:
    if "error" in found:
        fix = "Install it for live sound. 'rtvc run --demo' works without it."
        return Check("PortAudio", "broken", found["error"], fix)
    text = f"{found['version']} ({', '.join(found['host_apis']) or 'no host API'})"
    missing = [what for what in ("input", "output") if not found[f"{what}s"]]
    if missing:
        kinds = {"input": "microphone", "output": "speaker"}
        names = " and no ".join(kinds[what] for what in missing)
        fix = (
            "Plug one in or start a sound server; rtvc waits for it. 'rtvc run --demo' needs none."
        )
        return Check("PortAudio", "warning", f"{text}, but no {names}", fix)
    text += (
        f", {len(found['inputs'])} microphone(s), {len(found['outputs'])} speaker(s); default: "
        f"{escaped(found['default_input'] or 'none')} to "
        f"{escaped(found['default_output'] or 'none')}"
    )
    fix = ""
    if sys.platform == "darwin":
        fix = (
            "If the microphone is silent: System Settings, Privacy & Security, Microphone: "
            "allow your terminal."
        )
    return Check("PortAudio", "good", text, fix)


def _rtmixer(found: dict[str, Any]) -> Check:
    if "error" in found:
        fix = "pip install rtmixer. Until then a Python callback is used, which may crackle."
        return Check("callback in C", "warning", found["error"], fix)
    return Check("callback in C", "good", f"rtmixer {found['version']}")


def _sound_server() -> Check:
    name = "sound server"
    if sys.platform == "darwin":
        return Check(name, "good", "CoreAudio")
    if not shutil.which("pactl"):
        return Check(name, "good", "unknown (pactl is not installed)")
    try:
        asked = subprocess.run(
            ["pactl", "info"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(name, "warning", "does not answer", "Restart it.")
    facts = dict(line.split(": ", 1) for line in asked.stdout.splitlines() if ": " in line)
    if asked.returncode or "Server Name" not in facts:
        fix = "A desktop starts it automatically. To start it yourself: pulseaudio --start"
        return Check(name, "warning", "none is running", fix)
    return Check(name, "good", facts["Server Name"])


def _voices(found: dict[str, Any]) -> Check:
    if "error" in found:
        fix = "pip install --force-reinstall pyworld-prebuilt"
        return Check("voices", "broken", found["error"], fix)
    return Check("voices", "good", f"world (built in, WORLD {found['version']})")


def _library(found: dict[str, Any]) -> list[Check]:
    if "error" in found:
        return [Check("RVC voices", "broken", found["error"])]
    return [_base_models(found), _rvc_voices(found)]


def _base_models(found: dict[str, Any]) -> Check:
    from rtvc.library.base_models import install_advice
    from rtvc.library.home import format_size

    name = "base models"
    damaged = [kind for kind, facts in found["models"].items() if not facts["whole"]]
    text = ", ".join(
        f"{kind} ({format_size(facts['bytes'])}"
        f"{'' if facts['known'] else ', not a published file'})"
        for kind, facts in found["models"].items()
    )
    if damaged:
        fix = f"rtvc setup {' '.join(damaged)}"
        return Check(name, "broken", f"{text}; damaged: {', '.join(damaged)}", fix)
    if found["missing"]:
        text = f"{text or 'none'}; missing: {', '.join(found['missing'])}"
        if "rmvpe" in found["missing"]:
            text += "; RVC voices use the pitch estimator swift until rmvpe is installed"
        fix = f"Only RVC voices need them. {install_advice(found['missing'])}"
        # Without an RVC voice, missing base models are not a problem.
        return Check(name, "warning" if found["voices"] else "good", text, fix)
    return Check(name, "good", text)


def _rvc_voices(found: dict[str, Any]) -> Check:
    from rtvc.library.base_models import install_advice
    from rtvc.library.home import format_size

    text = ", ".join(found["voices"]) or "none"
    if found["voices"]:
        text += f" ({format_size(found['voice_bytes'])})"
    if found["removed"]:
        text += f"; removed: {', '.join(found['removed'])}"
    text += f"; in {found['home']}"
    if found["damaged"]:
        text += f"; cannot be used: {len(found['damaged'])}"
        return Check("RVC voices", "warning", text, " ".join(found["damaged"]))
    others = sorted({kind for kinds in found["voices"].values() for kind in kinds})
    others = [kind for kind in others if kind not in found["missing"]]
    if others:
        return Check("RVC voices", "warning", text, install_advice(others))
    return Check("RVC voices", "good", text)


def _presets() -> Check:
    from rtvc.config.presets import list_presets, load_preset, user_folder
    from rtvc.errors import RtvcError

    problems = []
    try:
        files = list_presets()
    except RtvcError as error:
        return Check("presets", "broken", str(error), "Install rtvc again.")
    for file in files:
        try:
            load_preset(file.path)
        except RtvcError as error:
            problems.append(f"{file.name}: {str(error).splitlines()[0]}")
    mine = sum(not file.bundled for file in files)
    found = f"{len(files) - mine} bundled, {mine} of yours in {user_folder()}"
    if mine == len(files):
        return Check(
            "presets", "broken", found, "The bundled presets are missing: install rtvc again."
        )
    if problems:
        fix = "'rtvc presets check' reports every mistake."
        return Check("presets", "warning", f"{found}; not valid: {'; '.join(problems)}", fix)
    return Check("presets", "good", found)


def _remembered() -> Check:
    from rtvc.cli.options import described
    from rtvc.config.remembered import read_remembered, remembered_path
    from rtvc.config.settings_yaml import NewerFileError, UnreadableFileError
    from rtvc.errors import RtvcError
    from rtvc.live.devices import DeviceSelection, device_label, input_label

    name = "remembered"
    try:
        remembered = read_remembered()
    except (NewerFileError, UnreadableFileError) as error:
        first = "" if isinstance(error, NewerFileError) else "Make it yours, or remove it. "
        fix = f"{first}Until then each run starts from the defaults and is not remembered."
        return Check(name, "warning", str(error).splitlines()[0], fix)
    except RtvcError as error:
        fix = "The next run renames the file and starts from the defaults."
        return Check(name, "warning", str(error).splitlines()[0], fix)
    if not remembered_path().exists():
        return Check(name, "good", "nothing yet")
    selection = DeviceSelection.of(remembered)
    devices = f"{input_label(selection)} to {device_label(selection.output) or 'default'}"
    if selection.monitor:
        devices += f", and to {device_label(selection.monitor)}"
    settings = described(remembered.settings.changed()) or "all settings at their defaults"
    return Check(name, "good", f"{devices}; {settings}; in {remembered_path()}")


def _extras() -> list[Check]:
    """Check the packages that the settings of the next run need beyond those of rtvc."""
    from rtvc.config.remembered import read_remembered
    from rtvc.errors import MissingPackageError, RtvcError

    try:
        from rtvc.audio.echo_canceller import require_canceller
        from rtvc.engine.dsp.noise_suppression import require_suppressor

        settings = read_remembered().settings
    except (ImportError, RtvcError):  # reported by other checks
        return []
    checks = []
    for require, value in (
        (require_suppressor, settings.noise),
        (require_canceller, settings.echo),
    ):
        try:
            require(value)
        except MissingPackageError as error:
            checks.append(Check("packages", "warning", str(error)))
    return checks


def _feedback(sound: dict[str, Any]) -> list[Check]:
    """Check whether the devices of the next run, as far as they are known, make a loop."""
    from rtvc.config.remembered import RememberedRun, read_remembered
    from rtvc.errors import RtvcError
    from rtvc.live.feedback import Side, loop_warning

    try:
        run = read_remembered()
    except RtvcError:  # reported by another check
        run = RememberedRun()

    def side(name: str) -> Side:
        return Side(name, sound.get("transports", {}).get(name, ""))

    microphone = side(run.input.name if run.input else sound.get("default_input", ""))
    speakers = [side(run.output.name if run.output else sound.get("default_output", ""))]
    speakers += [side(run.monitor.name or sound.get("default_output", ""))] if run.monitor else []
    echo = run.settings.echo
    warnings = filter(None, (loop_warning(microphone, one, echo) for one in speakers if one.name))
    return [Check("feedback", "warning", warning) for warning in warnings]


def _latency() -> Check:
    from rtvc.config.measured_latency import latency_path, load_latencies
    from rtvc.live.devices import device_label

    name = "latency"
    known, warning = load_latencies()
    if warning:
        return Check(name, "warning", warning, "Measure again: rtvc latency")
    if not known:
        return Check(name, "good", "not measured ('rtvc latency' measures the devices)")
    found = "; ".join(
        f"{device_label(one.output)} to {device_label(one.input)} ({one.streams}): "
        f"{one.seconds * 1000:.0f} ms, "
        f"reported {one.reported * 1000:.0f} ms, measured {one.age}"
        for one in known
    )
    return Check(name, "good", f"{found}; in {latency_path()}")
