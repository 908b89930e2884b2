"""Select the tests to run, and mark those that must not run in parallel."""

from __future__ import annotations

import os
import subprocess
import zlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NETWORKS = "rtvc/engine/models"
SHARES = 8
"""In CI one of `SHARES` thorough tests runs."""
_MAIN = ("origin/HEAD", "origin/main", "main")
"""Names of the main branch; the first that exists is used."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that use the sound server; deselect soak and full-size tests."""
    run_soak, run_full_size = named("soak", config), full_size(config)[0]
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        if "sound_server" in getattr(item, "fixturenames", ()):
            item.add_marker("sound")
        marks = {mark.name for mark in item.iter_markers()}
        leave_out = (
            ("soak" in marks and not run_soak)
            or ("full_size" in marks and not run_full_size)
            or ("thorough" in marks and not runs_thorough(item, config))
        )
        (dropped if leave_out else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print which tests run and why; -q would hide a report header."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"full_size tests: {full_size(session.config)[1]}")
        if os.environ.get("CI"):
            share = share_of_commit() + 1
            reporter.write_line(f"thorough tests: share {share} of {SHARES}, by the commit.")
        elif not named("thorough", session.config):
            reporter.write_line("thorough tests: those of folders of rtvc that have changed.")


def named(mark: str, config: pytest.Config) -> bool:
    """Return whether the option -m mentions a mark."""
    return mark in config.option.markexpr


def full_size(config: pytest.Config) -> tuple[bool, str]:
    """Return whether the full-size tests run, and the reason."""
    if named("full_size", config):
        return True, "selected by -m."
    if os.environ.get("CI"):
        return True, "run, since CI is set."
    return _changed(NETWORKS)


def runs_thorough(item: pytest.Item, config: pytest.Config) -> bool:
    """Return whether a thorough test runs.

    It tests the folder of rtvc that has the name of its own, or all of rtvc if none has.
    """
    if named("thorough", config):
        return True
    if os.environ.get("CI"):
        return zlib.crc32(item.nodeid.encode()) % SHARES == share_of_commit()
    folder = item.path.relative_to(ROOT / "tests").parts[0]
    return _changed(f"rtvc/{folder}" if (ROOT / "rtvc" / folder).is_dir() else "rtvc")[0]


@cache
def share_of_commit() -> int:
    """Return which share of the thorough tests runs in CI; each commit has another one."""
    return int(_git("rev-parse", "HEAD")[:8] or "0", 16) % SHARES


@cache
def _changed(folder: str) -> tuple[bool, str]:
    """Return whether a folder differs from the main branch, and the reason to run its tests."""
    for main in _MAIN:
        base = _git("merge-base", "HEAD", main)
        if base:
            changed = _git("diff", "--name-only", base, "--", folder)
            new = _git("ls-files", "--others", "--exclude-standard", "--", folder)
            if changed or new:
                return True, f"run, since {folder} differs from {main}."
            return False, f"left out, since {folder} equals {main}; CI=true runs them."
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
