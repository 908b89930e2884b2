"""Opens a file of weights, whichever of the known containers it is in."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtvc._types import AnyArray
from rtvc.engine.weights.errors import ContentError, reading
from rtvc.engine.weights.recognise import FileKind, require_weights
from rtvc.engine.weights.safetensors import read_safetensors
from rtvc.engine.weights.torch_file import read_torch_file


@dataclass(frozen=True)
class WeightsFile:
    """The content of a file of weights.

    Attributes
    ----------
    tree
        The saved dictionary: for safetensors its tensors by name.
    metadata
        The text fields of a safetensors file; empty for torch files.
    """

    tree: dict[str, Any]
    metadata: dict[str, str]


def read_weights_file(path: Path, description: str) -> WeightsFile:
    """Read a torch or safetensors file.

    Parameters
    ----------
    path
        The file.
    description
        What it was given as, for messages: ``"a voice"``.

    Raises
    ------
    RtvcError
        When it is of another kind, damaged, or does not hold a dictionary with text keys.
    """
    if require_weights(path, description) is FileKind.SAFETENSORS:
        return WeightsFile(*read_safetensors(path))
    tree = read_torch_file(path)
    with reading(path, description):
        if not isinstance(tree, dict) or any(not isinstance(k, str) for k in tree):
            raise ContentError("it does not hold named weights")
    return WeightsFile(tree, {})


def as_state_dict(tree: object) -> dict[str, AnyArray]:
    """Return `tree` as weights by name.

    Raises
    ------
    ContentError
        When it is anything else.
    """
    if not isinstance(tree, dict) or not all(
        isinstance(name, str) and isinstance(array, np.ndarray) for name, array in tree.items()
    ):
        raise ContentError("it does not hold the weights of one network")
    return tree


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises
    ------
    RtvcError
        When the file cannot be read.
    """
    with reading(path, "a file of weights"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
