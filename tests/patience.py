"""Measurements on a machine that others use too."""

import functools

ATTEMPTS = 3


def measured(test):
    """Measure up to three times: a fault of the program shows every time, a held-up machine not."""

    @functools.wraps(test)
    def attempt(*args, **kwargs):
        for left in reversed(range(ATTEMPTS)):
            try:
                return test(*args, **kwargs)
            except AssertionError:
                if not left:
                    raise
        return None

    return attempt
