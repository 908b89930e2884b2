"""Repeat measurements that other load on the machine can disturb, and count the retries.

A test that measures time says nothing while something else holds the machine up: where
`tests.support.machine` finds that, such a test that fails is skipped with the reason.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

import pytest

from tests.support.machine import ProcessorTimes, processor_times, what_holds_it_up

PAUSES_S = (5, 30)
"""Seconds between attempts; other load on the machine can last a minute."""

MAX_RETRIES = 3
"""Maximum number of retries in a test run. More retries indicate a bug, or a machine that is
too busy for measurements."""

MAX_WAITS = 4
"""Maximum number of times that a test run waits for a machine that is held up. After them a test
has one attempt."""

Test = TypeVar("Test", bound=Callable[..., object])

_AGAIN, _HELD_UP = "measured again because", "not measured because"
_failed: list[str] = []
"""The reasons for the failed attempts of the current test, except those held up."""
_waits: list[str] = []
"""What the test run has waited for."""


class HeldUpError(AssertionError):
    """A test has failed while the machine was held up; the text says by what."""


def measured(test: Test) -> Test:
    """Run a test up to three times; a bug fails every time, other load on the machine does not.

    The test is marked `measured` and `serial`. Each retry is counted, see `MAX_RETRIES`, unless
    the machine was held up.
    """

    @functools.wraps(test)
    def attempt(*args: Any, **kwargs: Any) -> object:
        for pause in PAUSES_S:
            before = processor_times()
            try:
                return test(*args, **kwargs)
            except AssertionError as error:
                reason = what_holds_it_up(before)
                if reason and len(_waits) == MAX_WAITS:
                    raise HeldUpError(reason) from error
                if reason:
                    _waits.append(reason)
                else:
                    _failed.append((str(error).splitlines() or [""])[0])
                time.sleep(pause)
        return test(*args, **kwargs)

    return cast(Test, pytest.mark.measured(pytest.mark.serial(attempt)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Add the retries to the test's report, which xdist sends to its controller."""
    _failed.clear()
    before = processor_times()
    try:
        return (yield)
    except AssertionError as error:
        _skip_if_held_up(item, error, before)
        raise
    finally:
        item.user_properties += [(_AGAIN, reason) for reason in _failed]


def _skip_if_held_up(item: pytest.Item, error: AssertionError, before: ProcessorTimes) -> None:
    # What measures no time may fail for another reason, which must not be lost.
    if not any(item.iter_markers("measured")):
        return
    reason = str(error) if isinstance(error, HeldUpError) else what_holds_it_up(before)
    if reason:
        item.user_properties.append((_HELD_UP, reason))
        pytest.skip(f"The machine is held up: {reason}.")


class Retries:
    """Counts the retries of a test run, prints them, and fails the run if there are too many."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.held_up: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the retries of a test, and why it could not be measured."""
        if report.when == "call":
            for name, reason in report.user_properties:
                if name in (_AGAIN, _HELD_UP):
                    kept = self.found if name == _AGAIN else self.held_up
                    kept.append((report.nodeid, str(reason)))

    @property
    def too_many(self) -> bool:
        """Whether there are too many retries."""
        return len(self.found) > MAX_RETRIES

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run after too many retries; --last-failed then selects the retried tests."""
        if not self.too_many:
            return
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        failed = session.config.pluginmanager.get_plugin("lfplugin")
        if failed is not None:
            failed.lastfailed.update((test, True) for test, _ in self.found)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the retries, and what could not be measured."""
        if self.held_up:
            terminalreporter.section("NOT MEASURED: the machine was held up")
            for test, reason in self.held_up:
                terminalreporter.write_line(f"{test}: {reason}", yellow=True)
        if not self.found:
            return
        terminalreporter.section("measured again")
        for test, reason in self.found:
            terminalreporter.write_line(f"{test}: {reason}")
        summary = f"{len(self.found)} retries; more than {MAX_RETRIES} fail the run."
        terminalreporter.write_line(summary, red=self.too_many, bold=self.too_many)


def pytest_configure(config: pytest.Config) -> None:
    """Register the counter in the process that prints; with xdist, that is the controller."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Retries(), "retries")
