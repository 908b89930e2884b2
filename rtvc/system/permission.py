"""What to do where the system refuses access to files."""

import os
import sys
from pathlib import Path


def permission_advice(error: OSError) -> str:
    """Return a sentence to add to the message about an error, after a space; "" if there is none.

    macOS asks you for each folder of yours, such as Downloads, whether a terminal may read it.
    """
    if sys.platform != "darwin" or not isinstance(error, PermissionError):
        return ""
    return " Allow your terminal access in System Settings, Privacy & Security, Files & Folders."


def folder_problem(folder: Path) -> str:
    """Return a sentence if a folder exists and what is in it cannot be read, "" otherwise."""
    try:
        os.listdir(folder)
        os.stat(os.path.join(folder, "."))  # listing does not need the permission to enter
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Cannot read the folder {folder}: {error.strerror}.{permission_advice(error)}"
    return ""
