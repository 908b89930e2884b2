"""What to do where the system refuses access to files."""

import sys


def permission_advice(error: OSError) -> str:
    """Return a sentence to add to the message about an error, after a space; "" if there is none.

    macOS asks you for each folder of yours, such as Downloads, whether a terminal may read it.
    """
    if sys.platform != "darwin" or not isinstance(error, PermissionError):
        return ""
    return " Allow your terminal access in System Settings, Privacy & Security, Files & Folders."
