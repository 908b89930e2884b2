"""Select the tests to run, and mark those that must not run in parallel."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NETWORKS = "rtvc/engine/models"
_MAIN = ("origin/HEAD", "origin/main", "main")
"""Names of the main branch; the first that exists is used."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that use the sound server; deselect soak and full-size tests."""
    left_out = set()
    if not named("soak", config):
        left_out.add("soak")
    if not full_size(config)[0]:
        left_out.add("full_size")
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        if "sound_server" in getattr(item, "fixturenames", ()):
            item.add_marker("sound")
        marks = {mark.name for mark in item.iter_markers()}
        (dropped if marks & left_out else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print whether the full-size tests run and why; -q would hide a report header."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"full_size tests: {full_size(session.config)[1]}")


def named(mark: str, config: pytest.Config) -> bool:
    """Return whether the option -m mentions a mark."""
    return mark in config.option.markexpr


def full_size(config: pytest.Config) -> tuple[bool, str]:
    """Return whether the full-size tests run, and the reason."""
    if named("full_size", config):
        return True, "selected by -m."
    if os.environ.get("CI"):
        return True, "run, since CI is set."
    return _networks_changed()


@cache
def _networks_changed() -> tuple[bool, str]:
    """Return whether the networks differ from the main branch, and the reason."""
    for main in _MAIN:
        base = _git("merge-base", "HEAD", main)
        if base:
            changed = _git("diff", "--name-only", base, "--", NETWORKS)
            new = _git("ls-files", "--others", "--exclude-standard", "--", NETWORKS)
            if changed or new:
                return True, f"run, since {NETWORKS} differs from {main}."
            return False, f"left out, since {NETWORKS} equals {main}; CI=true runs them."
    return True, "run, since there is no main branch to compare with."


def _git(*words: str) -> str:
    """Return the output of git, "" if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
