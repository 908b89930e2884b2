"""Cache of the converted weights of a base model, in a file next to the original.

The cache file is a safetensors file with float32 weights, which is memory-mapped. Its metadata
contains the size and modification time of the source files and the version of the conversion.
A cache file that is stale, damaged or unreadable is written again.
"""

import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from rtvc.engine.weights.content_encoder import (
    ContentEncoder,
    ContentEncoderConfig,
    content_encoder_file,
    read_content_encoder,
)
from rtvc.engine.weights.rmvpe import Rmvpe, RmvpeConfig, read_rmvpe
from rtvc.engine.weights.safetensors import read_safetensors, write_safetensors
from rtvc.errors import RtvcError
from rtvc.system.durable import flush_file
from rtvc.system.processes import is_running

#: Increase it with every change to the result of the readers.
CONVERSION_VERSION = 2

CACHE_NAME = ".converted.safetensors"
"""Name of the cache file; hidden, because it is not the model itself."""
_PART = ".part"

_log = logging.getLogger(__name__)

R = TypeVar("R", ContentEncoder, Rmvpe)


def load_content_encoder(path: Path) -> ContentEncoder:
    """Return a content encoder, from the cache file if it is valid.

    Raises
    ------
    RtvcError
        As `read_content_encoder`. Errors of the cache file are only logged.
    """
    file = content_encoder_file(path)
    if file.suffix == ".safetensors":
        return read_content_encoder(file)  # as fast as the cache
    # config.json sets the number of heads.
    sources = [file, file.parent / "config.json"]
    return _load(sources, ContentEncoder, ContentEncoderConfig, lambda: read_content_encoder(file))


def load_rmvpe(path: Path) -> Rmvpe:
    """Return RMVPE, from the cache file if it is valid.

    Raises
    ------
    RtvcError
        As `read_rmvpe`. Errors of the cache file are only logged.
    """
    return _load([path], Rmvpe, RmvpeConfig, lambda: read_rmvpe(path))


def _load(sources: list[Path], record: type[R], config: type[Any], read: Callable[[], R]) -> R:
    entry = sources[0].parent / CACHE_NAME
    made_from = json.dumps([_fingerprint(file) for file in sources])
    if entry.is_file():
        try:
            return _read_cache(entry, made_from, record, config)
        except (RtvcError, ValueError, TypeError, KeyError) as error:
            _log.info("The converted weights %s are written again: %s", entry, error)
    value = read()
    try:
        _write_cache(entry, made_from, value)
    except OSError as error:
        _log.warning("The converted weights could not be stored as %s: %s", entry, error)
    return value


def _fingerprint(file: Path) -> list[int | str]:
    try:
        status = file.stat()
    except OSError:
        return [file.name]
    return [file.name, status.st_size, status.st_mtime_ns]


def _read_cache(entry: Path, made_from: str, record: type[R], config: type[Any]) -> R:
    weights, metadata = read_safetensors(entry)
    if metadata["conversion"] != str(CONVERSION_VERSION) or metadata["made_from"] != made_from:
        raise ValueError("they are of another version")
    values = json.loads(metadata["record"])
    values["config"] = config(**{k: _lists_to_tuples(v) for k, v in values["config"].items()})
    return record(weights=weights, **values)


def _write_cache(entry: Path, made_from: str, value: ContentEncoder | Rmvpe) -> None:
    plain = {f.name: getattr(value, f.name) for f in fields(value) if f.name != "weights"}
    metadata = {
        "conversion": str(CONVERSION_VERSION),
        "made_from": made_from,
        "record": json.dumps(plain | {"config": asdict(plain["config"])}),
    }
    _remove_abandoned(entry.parent)
    # A temporary file first, so that no reader sees an incomplete one.
    handle, name = tempfile.mkstemp(dir=entry.parent, prefix=f".{os.getpid()}-", suffix=_PART)
    os.close(handle)
    try:
        write_safetensors(Path(name), value.weights, metadata)
        flush_file(Path(name))  # nothing checks the numbers in it when it is read
        Path(name).replace(entry)
    finally:
        Path(name).unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove the unfinished files of programs that were killed; each has hundreds of MB."""
    for part in folder.glob(f".*-*{_PART}"):
        process = part.name[1:].partition("-")[0]
        if process.isdigit() and not is_running(int(process)):
            part.unlink(missing_ok=True)


def _lists_to_tuples(value: Any) -> Any:
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value
