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
    """Return a sentence if a folder exists and what is in it cannot be read, "" otherwise.

    A folder whose link leads nowhere counts as one that exists: its disk may not be mounted.
    """
    try:
        os.listdir(folder)
        os.stat(os.path.join(folder, "."))  # listing does not need the permission to enter
    except FileNotFoundError:
        return _dangling_link(folder)
    except OSError as error:
        return f"Cannot read the folder {folder}: {error.strerror}.{permission_advice(error)}"
    return ""


def _dangling_link(folder: Path) -> str:
    for part in (folder, *folder.parents):
        if os.path.islink(part) and not os.path.exists(part):
            return (
                f"Cannot read the folder {folder}: {part} is a link to {os.readlink(part)}, which "
                "is not there."
            )
    return ""
