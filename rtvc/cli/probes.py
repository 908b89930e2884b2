"""Checks of installed libraries, each in its own process.

``python -m rtvc.cli.probes NAME`` prints the result as JSON. A library that crashes,
hangs or writes to the terminal cannot affect the caller.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    from rtvc.engine.selftest.run import Result

_TIMEOUT_S = 60
_SIZE = 1024


def mlx() -> dict[str, Any]:
    """Return the backend of MLX, its BLAS, and the speed of a matrix product."""
    from rtvc.system.blas import load_blas
    from rtvc.system.mlx_environment import set_mlx_environment

    blas = load_blas()
    set_mlx_environment()
    import mlx.core as mx

    matrix = mx.ones((_SIZE, _SIZE))
    mx.eval(matrix @ matrix)
    began = time.perf_counter()
    mx.eval(matrix @ matrix)
    seconds = time.perf_counter() - began
    return {
        "version": version("mlx"),
        "backend": backend_name(mx.metal.is_available(), mx.cuda.is_available()),
        "device": mx.device_info().get("device_name", ""),
        "builds": installed_builds(),
        "blas": str(blas),
        "remedy": blas.remedy,
        "gflops": round(2 * _SIZE**3 / seconds / 1e9, 1),
    }


def backend_name(metal: bool, cuda: bool) -> str:
    """Return what MLX computes with, from which of its GPU backends are available."""
    return "Metal" if metal else "CUDA" if cuda else "CPU"


def installed_builds(names: Iterable[str] | None = None) -> list[str]:
    """Return the installed packages with a build of MLX's library for Linux, sorted.

    Parameters
    ----------
    names
        Names of installed packages; by default all.
    """
    if names is None:
        names = (found.name for found in distributions())
    pattern = re.compile(r"mlx[-_](cpu|cuda[-_]?\d*)")
    return sorted({name.replace("_", "-") for name in names if pattern.fullmatch(name)})


def portaudio() -> dict[str, Any]:
    """Return the version of PortAudio, its host APIs and the default devices."""
    from rtvc.audio.devices import list_devices
    from rtvc.audio.portaudio import portaudio as load

    sounddevice = load()
    devices = list_devices()
    return {
        "version": sounddevice.get_portaudio_version()[1].split(",")[0].removeprefix("PortAudio "),
        "host_apis": [api["name"] for api in sounddevice.query_hostapis()],
        "inputs": [d.name for d in devices if d.inputs],
        "outputs": [d.name for d in devices if d.outputs],
        "default_input": next((d.name for d in devices if d.default_input), ""),
        "default_output": next((d.name for d in devices if d.default_output), ""),
        "transports": {d.name: d.transport for d in devices},
    }


def rtmixer() -> dict[str, Any]:
    """Check that the audio callback in C can be loaded."""
    import rtmixer as module

    return {"version": module.__version__}


def voices() -> dict[str, Any]:
    """Check that the built-in voice can analyse a tone."""
    import numpy as np
    import pyworld

    rate = 16_000
    tone = np.sin(2 * np.pi * 150 * np.arange(rate // 4) / rate)
    pitch, times = pyworld.harvest(tone, rate)
    return {
        "version": pyworld.__version__,
        "input_f0_hz": float(np.median(pitch)),
        "frames": len(times),
    }


def library() -> dict[str, Any]:
    """Return the installed and the damaged base models and RVC voices."""
    from rtvc.library import data_folder, list_removed, list_voices, missing_models
    from rtvc.library.base_models import BASE_MODELS, installed_kinds, installed_model, is_intact

    kinds = [*BASE_MODELS, *(kind for kind in installed_kinds() if kind not in BASE_MODELS)]
    models = {kind: installed_model(kind) for kind in kinds}
    installed, problems = list_voices()
    return {
        "home": str(data_folder()),
        "models": {
            kind: {"known": model.known, "whole": is_intact(model), "bytes": model.size}
            for kind, model in models.items()
            if model is not None
        },
        "missing": [k for k, m in BASE_MODELS.items() if m.required and models[k] is None],
        "voices": {voice.name: missing_models(voice.manifest) for voice in installed},
        "voice_bytes": sum(voice.size for voice in installed),
        "damaged": problems,
        "removed": list_removed(),
    }


def self_test() -> dict[str, Any]:
    """Run the self-test of the device, and keep its verdict."""
    from rtvc.library.computing import check_computing

    verdict, steps = check_computing()
    from rtvc.engine.selftest.ladder import device_name, system_name

    return {
        "passed": verdict.passed,
        "device": device_name(),
        "system": system_name(),
        "compute": dataclasses.asdict(verdict.compute),
        "sentences": list(verdict.sentences),
        "steps": [
            {
                "compute": dataclasses.asdict(step.compute),
                "cases": [_case(result) for result in step.results],
            }
            for step in steps
        ],
    }


def _case(result: Result) -> dict[str, Any]:
    judged = result.judgement
    finite = judged is not None and math.isfinite(judged.gain)
    return {
        "name": result.case.name,
        "what": result.case.what,
        "passed": result.passed,
        # The largest number stands for a result without any error.
        "snr_db": round(min(judged.snr_db, 300.0), 1) if judged and finite else None,
        "gain": round(judged.gain, 5) if judged and finite else None,
        "error": result.error,
    }


PROBES = {
    "self_test": self_test,
    "mlx": mlx,
    "portaudio": portaudio,
    "rtmixer": rtmixer,
    "voices": voices,
    "library": library,
}


def probe(name: str) -> dict[str, Any]:
    """Run a probe in its own process.

    Returns
    -------
    dict
        The result, or under "error" a sentence about the failure; "usage" is then there if the
        request is wrong.
    """
    # -P keeps modules of the current folder out; PYTHONPATH finds this rtvc.
    package = str(Path(__file__).parents[2])
    paths = filter(None, (package, os.environ.get("PYTHONPATH")))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "rtvc.cli.probes", name],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_TIMEOUT_S} s"}
    if done.returncode == 0:
        found = _last_object(done.stdout)
        return {"error": "no result"} if found is None else found
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else ""
    if done.returncode < 0:
        reason = f"crashed with signal {-done.returncode}: {reason}"
    return {"error": reason.strip() or f"exited with code {done.returncode}"}


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the last line that is a JSON object; a library may print more at the end."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


if __name__ == "__main__":
    try:
        print(json.dumps(PROBES[sys.argv[1]]()))
    except UsageError as error:
        print(json.dumps({"error": str(error), "usage": True}))
    except RtvcError as error:
        sys.exit(str(error))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
