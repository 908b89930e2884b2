"""``rtvc doctor --self-test``: every result of the self-test of the device."""

from __future__ import annotations

from typing import Any

from rtvc.errors import RtvcError, UsageError


def run(*, json: bool) -> int:
    """Run the self-test, print its results, and return the exit code.

    Raises
    ------
    UsageError
        If the chosen device is not there.
    RtvcError
        If the self-test itself fails.
    """
    from rtvc.cli.probes import probe

    found = probe("self_test")
    if found.get("usage"):
        raise UsageError(found["error"])
    if "error" in found:
        raise RtvcError(f"The self-test failed: {found['error']}")
    right = found["passed"] and not found["sentences"]
    if json:
        from rtvc.cli.run_report import as_json
        from rtvc.system.info import hardware, versions

        print(as_json(found | {"versions": versions(), "hardware": hardware()}), end="")
        return 0 if right else 1
    for step in found["steps"]:
        print(f"{describe_compute(step['compute'])} on {found['device']}, {found['system']}")
        for case in step["cases"]:
            print(f"{'  ' if case['passed'] else '! '}{case['what']:48} {_result(case)}")
        print()
    for sentence in found["sentences"]:
        print(sentence)
    if right:
        print("All results are right.")
    return 0 if right else 1


def describe_compute(compute: dict[str, Any]) -> str:
    """Return a way to compute in words, such as "GPU, float16"."""
    words = ["GPU" if compute["device"] == "gpu" else "CPU", compute["precision"]]
    if compute["operators"] != compute["device"]:
        words.append(f"operators of the {compute['operators'].upper()}")
    if compute["operators"] == "gpu" and not compute["gru_kernel"]:
        words.append("without rtvc's own kernels")
    return ", ".join(words)


def _result(case: dict[str, Any]) -> str:
    if case["error"]:
        return str(case["error"])
    if case["snr_db"] is None:
        return "not a number"
    return f"{case['snr_db']:6.1f} dB, level {case['gain']:.4f}"
