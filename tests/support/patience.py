"""Measurements on a machine that others use too."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

import pytest

PAUSES_S = (15, 45)
"""Between attempts: what holds a machine up may last for a minute."""

MOST_RETRIES = 3
"""In a run of pytest. What has to be measured again more often is a defect, or the machine
cannot measure anything."""

Test = TypeVar("Test", bound=Callable[..., object])

_PROPERTY = "measured again because"
_failed: list[str] = []
"""Why attempts of the test that runs have failed."""


def measured(test: Test) -> Test:
    """Measure up to three times: a fault of the program shows every time, a held-up machine not.

    Such a test is `serial`. Each further attempt is counted, see `MOST_RETRIES`.
    """

    @functools.wraps(test)
    def attempt(*args: Any, **kwargs: Any) -> object:
        for pause in PAUSES_S:
            try:
                return test(*args, **kwargs)
            except AssertionError as error:
                _failed.append((str(error).splitlines() or [""])[0])
                time.sleep(pause)
        return test(*args, **kwargs)

    return cast(Test, pytest.mark.serial(attempt))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Leave the retries in the test's report, which reaches xdist's controller too."""
    _failed.clear()
    try:
        return (yield)
    finally:
        item.user_properties += [(_PROPERTY, reason) for reason in _failed]


class Retries:
    """Counts the retries of a run, prints them, and fails the run if they are too many."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect those of a test."""
        if report.when == "call":
            self.found += [
                (report.nodeid, str(reason))
                for name, reason in report.user_properties
                if name == _PROPERTY
            ]

    @property
    def too_many(self) -> bool:
        """Whether they fail the run."""
        return len(self.found) > MOST_RETRIES

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run, where nothing else has; --last-failed then chooses what was retried."""
        if not self.too_many:
            return
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        failed = session.config.pluginmanager.get_plugin("lfplugin")
        if failed is not None:
            failed.lastfailed.update((test, True) for test, _ in self.found)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print them."""
        if not self.found:
            return
        terminalreporter.section("measured again")
        for test, reason in self.found:
            terminalreporter.write_line(f"{test}: {reason}")
        verdict = f"{len(self.found)} retries; more than {MOST_RETRIES} fail the run."
        terminalreporter.write_line(verdict, red=self.too_many, bold=self.too_many)


def pytest_configure(config: pytest.Config) -> None:
    """Count in the process that prints: with xdist that is the controller."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Retries(), "retries")
