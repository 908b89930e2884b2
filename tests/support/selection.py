"""Which tests run: those in parallel, those alone, and those that are left out."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NETWORKS = "rtvc/engine/models"
_MAIN = ("origin/HEAD", "origin/main", "main")
"""Where a branch comes from: the first of these that there is."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses the sound server as serial, and leave out what was not asked for."""
    left_out = set()
    if not named("soak", config):
        left_out.add("soak")
    if not full_size(config)[0]:
        left_out.add("full_size")
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        if "sound_server" in getattr(item, "fixturenames", ()):
            item.add_marker("serial")
        marks = {mark.name for mark in item.iter_markers()}
        (dropped if marks & left_out else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print which rule applies to the full-size tests; a header would be hidden by -q."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"full_size tests: {full_size(session.config)[1]}")


def named(mark: str, config: pytest.Config) -> bool:
    """Return whether -m says itself what is to happen with a mark."""
    return mark in config.option.markexpr


def full_size(config: pytest.Config) -> tuple[bool, str]:
    """Return whether the tests at full size may run, and a sentence that says why."""
    if named("full_size", config):
        return True, "as -m says."
    if os.environ.get("CI"):
        return True, "run, since CI is set."
    return _networks_changed()


@cache
def _networks_changed() -> tuple[bool, str]:
    """Return whether the networks differ from where the branch comes from, and a sentence."""
    for main in _MAIN:
        base = _git("merge-base", "HEAD", main)
        if base:
            changed = _git("diff", "--name-only", base, "--", NETWORKS)
            new = _git("ls-files", "--others", "--exclude-standard", "--", NETWORKS)
            if changed or new:
                return True, f"run, since {NETWORKS} differs from {main}."
            return False, f"left out, since {NETWORKS} is that of {main}; CI=true runs them."
    return True, "run, since there is no main branch to compare with."


def _git(*words: str) -> str:
    """Return what git prints, "" where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
