"""Reads a weights file in any of the supported formats."""

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
    """The contents of a weights file.

    Attributes
    ----------
    tree
        The saved dictionary; for safetensors its tensors by name.
    metadata
        The metadata of a safetensors file; empty for torch files.
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
        Expected contents for messages, such as ``"a voice"``.

    Raises
    ------
    RtvcError
        The file is of another type, damaged, or not a dictionary with text keys.
    """
    if require_weights(path, description) is FileKind.SAFETENSORS:
        return WeightsFile(*read_safetensors(path))
    tree = read_torch_file(path)
    with reading(path, description):
        if not isinstance(tree, dict) or any(not isinstance(k, str) for k in tree):
            raise ContentError("it does not contain named weights")
    return WeightsFile(tree, {})


def as_state_dict(tree: object) -> dict[str, AnyArray]:
    """Return `tree` as a state dict.

    Raises
    ------
    ContentError
        It is not a dictionary of arrays with text keys.
    """
    if not isinstance(tree, dict) or not all(
        isinstance(name, str) and isinstance(array, np.ndarray) for name, array in tree.items()
    ):
        raise ContentError("it does not contain the weights of one network")
    return tree


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises
    ------
    RtvcError
        The file cannot be read.
    """
    with reading(path, "a weights file"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
