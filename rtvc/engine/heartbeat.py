"""The heartbeat: what the endpoint calls every few milliseconds, on its own thread."""

from __future__ import annotations

from collections import deque

from rtvc.engine.delivery import Delivery
from rtvc.engine.watchdog import Watchdog


class Heartbeat:
    """Conceals late blocks and measures steps; its errors do not end the endpoint's thread.

    Parameters
    ----------
    delivery
        Conceals late blocks.
    watchdog
        Measures steps.
    """

    def __init__(self, delivery: Delivery, watchdog: Watchdog) -> None:
        self._delivery, self._watchdog = delivery, watchdog
        self._errors: deque[Exception] = deque(maxlen=1)
        self._failing = False

    def tick(self) -> None:
        """Do what is due."""
        try:
            self._delivery.tick()
            self._failing = False
        except Exception as error:
            if self._failing:
                self._delivery.restart()  # its state may be damaged
            else:
                self._errors.append(error)
            self._failing = True
        self._watchdog.tick()

    def take_error(self) -> Exception | None:
        """Return the error of a failure, once for failures in a row; None if there is none."""
        return self._errors.popleft() if self._errors else None
