"""Keeps converted weights, so that a file of another program is converted once.

An entry is a safetensors file with float32 weights. Its metadata says what it was made from
(SHA-256 of the source), by which version of the conversion, and a checksum of its own content; an
entry that is stale or damaged is made anew.
"""

import hashlib
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rtvc.engine.weights.checkpoint import VoiceCheckpoint, read_voice_checkpoint
from rtvc.engine.weights.content_encoder import (
    ContentEncoder,
    ContentEncoderConfig,
    content_encoder_file,
    read_content_encoder,
)
from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.fcpe import Fcpe, FcpeConfig, read_fcpe
from rtvc.engine.weights.rmvpe import Rmvpe, RmvpeConfig, read_rmvpe
from rtvc.engine.weights.safetensors import read_safetensors, write_safetensors
from rtvc.engine.weights.source import sha256_of
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.errors import RtvcError

#: To be raised with every change to what the readers return.
CONVERSION = 1

_log = logging.getLogger(__name__)


R = TypeVar("R", VoiceCheckpoint, ContentEncoder, Rmvpe, Fcpe)


def load_voice(path: Path, folder: Path) -> VoiceCheckpoint:
    """Return a voice, from the cache in `folder` if it is there.

    Raises
    ------
    RtvcError
        As `read_voice_checkpoint`. Trouble with the cache alone is logged, not raised.
    """
    entry = folder / f"voice-{sha256_of(path)}.safetensors"
    return _load(entry, VoiceCheckpoint, VoiceConfig, lambda: read_voice_checkpoint(path))


def load_content_encoder(path: Path, folder: Path) -> ContentEncoder:
    """Return a content encoder, from the cache in `folder` if it is there.

    Raises
    ------
    RtvcError
        As `read_content_encoder`.
    """
    file = content_encoder_file(path)
    digest = sha256_of(file)
    settings = file.parent / "config.json"
    if settings.is_file():  # it decides the number of heads
        digest = hashlib.sha256((digest + sha256_of(settings)).encode()).hexdigest()
    entry = folder / f"content-{digest}.safetensors"
    return _load(entry, ContentEncoder, ContentEncoderConfig, lambda: read_content_encoder(file))


def load_rmvpe(path: Path, folder: Path) -> Rmvpe:
    """Return RMVPE, from the cache in `folder` if it is there.

    Raises
    ------
    RtvcError
        As `read_rmvpe`.
    """
    entry = folder / f"rmvpe-{sha256_of(path)}.safetensors"
    return _load(entry, Rmvpe, RmvpeConfig, lambda: read_rmvpe(path))


def load_fcpe(path: Path, folder: Path) -> Fcpe:
    """Return FCPE, from the cache in `folder` if it is there.

    Raises
    ------
    RtvcError
        As `read_fcpe`.
    """
    entry = folder / f"fcpe-{sha256_of(path)}.safetensors"
    return _load(entry, Fcpe, FcpeConfig, lambda: read_fcpe(path))


def _load(entry: Path, record: type[R], config: type[Any], read: Callable[[], R]) -> R:
    if entry.is_file():
        try:
            return _restore(entry, record, config)
        except (RtvcError, ValueError, TypeError, KeyError) as error:
            _log.info("The cached weights %s are made anew: %s", entry.name, error)
    value = read()
    try:
        _store(entry, value)
    except OSError as error:
        _log.warning("The converted weights could not be kept in %s: %s", entry.parent, error)
    return value


def _restore(entry: Path, record: type[R], config: type[Any]) -> R:
    weights, metadata = read_safetensors(entry)
    if metadata.get("conversion") != str(CONVERSION) or metadata.get("entry") != entry.stem:
        raise ContentError("it is of another version")
    if metadata.get("crc32") != _checksum(weights, metadata["record"]):
        raise ContentError("it is damaged")
    values = json.loads(metadata["record"])
    values["config"] = config(**{k: _frozen(v) for k, v in values["config"].items()})
    return record(weights=weights, **values)


def _store(entry: Path, value: VoiceCheckpoint | ContentEncoder | Rmvpe | Fcpe) -> None:
    plain = {f.name: getattr(value, f.name) for f in fields(value) if f.name != "weights"}
    text = json.dumps(plain | {"config": asdict(plain["config"])})
    metadata = {
        "conversion": str(CONVERSION),
        "entry": entry.stem,
        "record": text,
        "crc32": _checksum(value.weights, text),
    }
    entry.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: a reader never sees half an entry.
    handle, name = tempfile.mkstemp(dir=entry.parent, suffix=".part")
    os.close(handle)
    try:
        write_safetensors(Path(name), value.weights, metadata)
        Path(name).replace(entry)
    finally:
        Path(name).unlink(missing_ok=True)


def _checksum(weights: Mapping[str, npt.NDArray[np.float32]], text: str) -> str:
    """Return a CRC-32, to find damage on the disk; the entry's name guards the source."""
    checksum = zlib.crc32(text.encode())
    for name, array in weights.items():
        checksum = zlib.crc32(f"{name} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return str(checksum)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
