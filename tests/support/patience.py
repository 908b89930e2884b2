"""Measurements on a machine that others use too."""

import functools
import time

PAUSES_S = (15, 45)
"""Between attempts: what holds a machine up may last for a minute."""


def measured(test):
    """Measure up to three times: a fault of the program shows every time, a held-up machine not."""

    @functools.wraps(test)
    def attempt(*args, **kwargs):
        for pause in PAUSES_S:
            try:
                return test(*args, **kwargs)
            except AssertionError:
                time.sleep(pause)
        return test(*args, **kwargs)

    return attempt
