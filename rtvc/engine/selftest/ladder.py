"""What to do when the self-test fails: compute in another way, one step after the other.

MLX's operators instead of rtvc's own kernels, then float32 instead of float16, then the CPU with
its own operators instead of the GPU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import platform
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx

from rtvc._version import __version__
from rtvc.engine.models.ops import backend, ops
from rtvc.engine.models.ops.backend import Compute
from rtvc.engine.selftest.operators import OWN_KERNELS
from rtvc.engine.selftest.run import CASES, REFERENCE, Result, run_cases
from rtvc.errors import escaped

_REPORT = "Please report it with the output of 'rtvc doctor --self-test --json'."


class Store(Protocol):
    """Keeps verdicts from run to run. A verdict consists of texts, booleans and lists of texts."""

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the verdict for a key, None if there is none."""

    def save(self, key: str, verdict: dict[str, Any]) -> None:
        """Keep the verdict for a key; an error must not raise."""


@dataclass(frozen=True, slots=True)
class Step:
    """One way to compute, and what the self-test found.

    Attributes
    ----------
    compute
        The way to compute.
    results
        Results of the cases that ran.
    """

    compute: Compute
    results: tuple[Result, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        """Results that are wrong."""
        return tuple(result for result in self.results if not result.passed)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The way to compute that passes the self-test.

    Attributes
    ----------
    compute
        The way to compute.
    passed
        Whether it passes; False if nothing does.
    sentences
        One sentence for each step down, and one if nothing passes.
    """

    compute: Compute
    passed: bool
    sentences: tuple[str, ...] = ()


def device_name() -> str:
    """Return the name of the device that MLX uses, such as "Apple M3 Pro"."""
    return str(mx.device_info().get("device_name", "")) or platform.machine()


def system_name() -> str:
    """Return the name and version of the operating system."""
    mac = platform.mac_ver()[0]
    return f"macOS {mac}" if mac else f"{platform.system()} {platform.release()}"


def current_key() -> str:
    """Return what a verdict is valid for: versions, device, build of the system, and settings."""
    facts = mx.device_info()
    numbers = hashlib.sha256(REFERENCE.read_bytes()).hexdigest()[:12]
    parts = (
        f"rtvc {__version__} {numbers}",
        f"mlx {importlib.metadata.version('mlx')}",
        f"{facts.get('device_name', '')} {facts.get('architecture', '')}",
        f"{system_name()} {platform.version()}",
        " ".join(map(str, dataclasses.astuple(backend.FIRST))),
    )
    return "; ".join(parts)


def next_step(compute: Compute, failed: Iterable[str]) -> Compute | None:
    """Return the way to compute to try next, None if there is none.

    Parameters
    ----------
    compute
        The way that fails.
    failed
        Names of the cases that fail.
    """
    on_gpu = "gpu" in (compute.device, compute.operators)
    if on_gpu and compute.gru_kernel and not OWN_KERNELS.isdisjoint(failed):
        return dataclasses.replace(compute, gru_kernel=False)
    if compute.precision == "float16":
        return dataclasses.replace(compute, precision="float32")
    return Compute("cpu", "cpu", "float32") if on_gpu else None


def climb(start: Compute, *, complete: bool = False) -> tuple[Verdict, list[Step]]:
    """Find the first way to compute that passes the self-test, and use it.

    Parameters
    ----------
    start
        The first way to try.
    complete
        Whether to run all cases of each step, instead of stopping at a failed one when the next
        step is known.
    """
    steps: list[Step] = []
    sentences: list[str] = []
    compute: Compute = start
    while True:
        ops.use(compute)
        results: list[Result] = []
        for result in run_cases(_ordered()):
            results.append(result)
            if not (result.passed or complete):
                break
        steps.append(Step(compute, tuple(results)))
        failed = steps[-1].failed
        if not failed:
            return Verdict(compute, True, tuple(sentences)), steps
        lower = next_step(compute, [result.case.name for result in failed])
        sentences.append(describe(failed[0], compute, lower))
        if lower is None:
            return Verdict(compute, False, tuple(sentences)), steps
        compute = lower


def _ordered() -> tuple[Any, ...]:
    """Return the cases; those of rtvc's kernels first, because they have a step of their own."""
    return tuple(sorted(CASES, key=lambda case: case.name not in OWN_KERNELS))


def describe(failure: Result, compute: Compute, lower: Compute | None) -> str:
    """Return a sentence about a failed case and what rtvc does about it."""
    unit = "GPU" if compute.device == "gpu" else "processor"
    mlx = f"MLX {importlib.metadata.version('mlx')}, {device_name()}, {system_name()}"
    computes = f"fails to compute {failure.case.what}" if failure.error else ""
    computes = computes or f"computes {failure.case.what} wrongly"
    if lower is None:
        return (
            f"The {unit} {computes} ({mlx}), and so may all voices but the built-in one sound "
            f"wrong. Install mlx again. {_REPORT}"
        )
    return f"The {unit} {computes} ({mlx}); rtvc {_change(compute, lower)} instead. {_REPORT}"


def _change(compute: Compute, lower: Compute) -> str:
    if lower.operators != compute.operators:
        return "computes on the processor with other operators, which takes longer,"
    if lower.precision != compute.precision:
        return "computes in float32, which takes longer,"
    return "computes the recurrent layer in a loop, and small images without its own kernel,"


class _Once:
    """The verdict of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.verdict: Verdict | None = None


_once = _Once()


def ensure_tested(store: Store, under_test: threading.Event | None = None) -> Verdict:
    """Test this machine if its key is new, and use what passes; once in a process.

    Call it before the first network is built, from any thread. `under_test` is set for as long as
    the test takes.
    """
    under_test = under_test or threading.Event()
    with _once.lock:
        if _once.verdict is None:
            key = current_key()
            _once.verdict = _restored(store.load(key))
            if _once.verdict is None:
                under_test.set()
                try:
                    _once.verdict, _ = climb(backend.FIRST)
                finally:
                    under_test.clear()
                if _once.verdict.passed:
                    store.save(key, _as_dict(_once.verdict))
            ops.use(_once.verdict.compute)
        return _once.verdict


def run_again(store: Store) -> tuple[Verdict, list[Step]]:
    """Run all cases whatever the store holds, keep the verdict, and use what passes."""
    with _once.lock:
        _once.verdict, steps = climb(backend.FIRST, complete=True)
        store.save(current_key(), _as_dict(_once.verdict))
        return _once.verdict, steps


def step_down() -> str:
    """Compute in the next way that passes the self-test; return what is done, "" if nothing is.

    For a voice whose output became wrong while it ran. The verdict is not kept for later runs.
    """
    with _once.lock:
        before = backend.compute
        lower = next_step(before, OWN_KERNELS)
        if lower is None:
            return ""
        found, _ = climb(lower)
        done = f"rtvc {_change(before, found.compute)} from now on."
        known = () if _once.verdict is None else _once.verdict.sentences
        _once.verdict = Verdict(found.compute, found.passed, (*known, done))
        return done


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    return {
        "compute": dataclasses.asdict(verdict.compute),
        "passed": verdict.passed,
        "sentences": list(verdict.sentences),
    }


def _restored(saved: dict[str, Any] | None) -> Verdict | None:
    """Return a verdict that was kept, None for one that failed or is not readable."""
    if not saved or saved.get("passed") is not True:
        return None
    compute, sentences = saved.get("compute"), saved.get("sentences")
    if not isinstance(sentences, list) or not all(isinstance(one, str) for one in sentences):
        return None
    for way in _ways():
        # What is replaced is told, and nothing else.
        if dataclasses.asdict(way) == compute and bool(sentences) == (way != backend.FIRST):
            return Verdict(way, True, tuple(map(escaped, sentences)))
    return None


def _ways() -> list[Compute]:
    """Return every way to compute that the self-test can end with, the first one first."""
    found = [backend.FIRST]
    for compute in found:  # grows
        for failed in (OWN_KERNELS, ()):
            lower = next_step(compute, failed)
            if lower is not None and lower not in found:
                found.append(lower)
    return found
