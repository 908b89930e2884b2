"""Small valid files in every format that rtvc opens; the mutations start from them."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rtvc.engine.weights.content_encoder import ContentEncoderConfig, content_encoder_shapes
from rtvc.engine.weights.fcpe import FcpeConfig, fcpe_shapes
from rtvc.engine.weights.rmvpe import RmvpeConfig, rmvpe_shapes
from rtvc.engine.weights.voice_config import VoiceConfig
from rtvc.engine.weights.voice_keys import HIFIGAN, voice_shapes
from tests.engine.weights import torch_writer as tw

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG = VoiceConfig(
    spec_channels=5,
    segment_size=1,
    inter_channels=2,
    hidden_channels=2,
    filter_channels=2,
    n_heads=1,
    n_layers=1,
    kernel_size=3,
    p_dropout=0.0,
    resblock="1",
    resblock_kernel_sizes=(3,),
    resblock_dilation_sizes=((1,),),
    upsample_rates=(10, 8),
    upsample_initial_channel=4,
    upsample_kernel_sizes=(20, 16),
    spk_embed_dim=1,
    gin_channels=1,
    sr=8000,
)

Tree = dict[str, Any]


@dataclass(frozen=True)
class Seed:
    """A file, and the reader for it and for its mutations."""

    name: str
    reader: str
    content: bytes


def filled(shapes: Mapping[str, tuple[int, ...]], dtype: str = "<f2") -> Tree:
    """Return arrays of these shapes with small random numbers, the same in every call."""
    rng = np.random.default_rng(1)
    return {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}


def voice_tree(dtype: str = "<f2") -> Tree:
    """Return the contents of the smallest possible voice file."""
    shapes = voice_shapes(CONFIG, phone_channels=256, uses_pitch=True, vocoder=HIFIGAN)
    return {
        "weight": filled(shapes, dtype),
        "config": _plain(list(dataclasses.asdict(CONFIG).values())),
        "info": "200epoch",
        "sr": "8k",
        "f0": 1,
        "version": "v1",
    }


def weight_norm(weights: Tree) -> Tree:
    """Split the upsampling convolutions into gain and direction, as in training."""
    split: Tree = {}
    for name, array in weights.items():
        if name.startswith("dec.ups.") and array.ndim == 3:
            split[name + "_g"] = np.ones((len(array), 1, 1), array.dtype)
            split[name + "_v"] = array
        else:
            split[name] = array
    return split


def torch_zip(tree: object, more: Mapping[str, bytes] | None = None) -> bytes:
    """Return a torch file of plain values and arrays."""
    storages: dict[str, bytes] = {}
    return tw.zip_bytes(tw._encoded(tree, storages), storages, members=more)


def torch_legacy(tree: object, itemsize: int) -> bytes:
    """Return a torch file in the legacy format; all arrays have elements of `itemsize` bytes."""
    storages: dict[str, bytes] = {}
    body = tw._encoded(tree, storages)
    return tw.legacy_bytes(body, {k: (len(raw) // itemsize, raw) for k, raw in storages.items()})


def safetensors(tensors: Tree, metadata: Mapping[str, str], kinds: str = "F16") -> bytes:
    """Return a safetensors file of half-precision arrays, with `kinds` as the declared type."""
    header: Tree = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, array in tensors.items():
        raw = array.tobytes()
        span = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": kinds, "shape": list(array.shape), "data_offsets": span}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@cache
def checkpoints() -> tuple[Seed, ...]:
    """Return files with weights: voices, content encoders, pitch estimators."""
    voice = voice_tree()
    metadata = {"config": json.dumps(voice["config"]), "embedder_model": "contentvec"}
    normed = voice | {"weight": weight_norm(voice_tree("<f4")["weight"])}
    training = {"model": normed["weight"], "iteration": 3, "optimizer": {"state": {}, "lr": 1e-4}}
    content = filled(content_encoder_shapes(_CONTENT))
    fairseq = {
        "cfg": {"model": {"encoder_attention_heads": 1}},
        "model": content | {"mask_emb": content["final_proj.bias"]},
    }
    rmvpe = filled(rmvpe_shapes(_RMVPE), "<f4")
    fcpe = {
        "model": filled(fcpe_shapes(_FCPE), "<f4"),
        "config_dict": {"mel": {"sr": 16000}, "model": {"f0_min": 32.7, "f0_max": 1975.5}},
    }
    small = [
        Seed("voice", "voice", torch_zip(voice, {"archive/byteorder": b"little"})),
        Seed("weight norm", "voice", torch_zip(normed)),
        Seed("legacy voice", "voice", torch_legacy(voice, 2)),
        Seed("safetensors voice", "voice", safetensors(voice["weight"], metadata)),
        Seed("bfloat16 voice", "voice", safetensors(voice["weight"], metadata, "BF16")),
        Seed("training checkpoint", "voice", torch_zip(training)),
        Seed("content encoder", "content", safetensors(content, {"format": "pt"})),
        Seed("fairseq encoder", "content", torch_zip(fairseq)),
        Seed("rmvpe", "rmvpe", torch_zip(rmvpe)),
        Seed("fcpe", "fcpe", torch_zip(fcpe)),
    ]
    for file in ("voice_v2_f0_48k.pth", "applio_mrf_40k.pth"):
        small.append(Seed(file, "voice", (GOLDEN / file).read_bytes()))
    return tuple(small)


@cache
def indexes() -> tuple[Seed, ...]:
    """Return faiss indexes."""
    import faiss

    faiss.omp_set_num_threads(1)
    found = []
    for width, count, lists in ((4, 120, 3), (256, 80, 2), (768, 40, 1), (8, 200, 5)):
        rows = np.random.default_rng(count).standard_normal((count, width)).astype(np.float32)
        ivf = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, lists)
        ivf.train(rows)
        if width == 8:  # most lists are empty, so faiss writes sizes as pairs
            rows = np.repeat(rows[:1], 30, 0)
        ivf.add(rows)
        if width == 256:
            ivf.set_direct_map_type(faiss.DirectMap.Array)  # type: ignore[attr-defined]
        found.append(Seed(f"{width} wide", "index", faiss.serialize_index(ivf).tobytes()))
    for file in GOLDEN.glob("trained_*.index"):
        found.append(Seed(file.name, "index", file.read_bytes()))
    return tuple(found)


@cache
def archives() -> tuple[Seed, ...]:
    """Return zip archives like those in which voices are shared."""
    voice, index = checkpoints()[0].content, indexes()[1].content
    members = {
        "Anna/Anna.pth": voice,
        "Anna/added_IVF2_Flat_nprobe_1_Anna_v1.index": index,
        "Anna/read me.txt": b"From a friend.",
        "__MACOSX/Anna/._Anna.pth": b"\0\5\26\7",
    }
    two = {"a/Anna.pth": voice, "b/Bert.safetensors": checkpoints()[3].content}
    return (
        Seed("deflated", "archive", packed(members)),
        Seed("stored", "archive", packed(members, zipfile.ZIP_STORED)),
        Seed("two voices", "archive", packed(two)),
    )


def packed(
    members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw, method)
        archive.comment = comment
    return buffer.getvalue()


SEEDS: dict[str, Callable[[], tuple[Seed, ...]]] = {
    "checkpoints": checkpoints,
    "indexes": indexes,
    "archives": archives,
}

_CONTENT = ContentEncoderConfig(
    width=12,
    feed_forward_width=4,
    layers=1,
    heads=12,
    conv_width=2,
    conv_kernels=(10, 3, 3, 3, 3, 2, 2),
    conv_strides=(5, 2, 2, 2, 2, 2, 2),
    position_kernel=4,
    position_groups=4,
    projection=3,
)
_RMVPE = RmvpeConfig(
    base_channels=1,
    levels=2,
    blocks=1,
    intermediate_layers=1,
    output_channels=1,
    mels=8,
    hidden=2,
    bins=4,
)
_FCPE = FcpeConfig(
    mels=128,
    width=2,
    layers=1,
    kernel=3,
    bins=4,
    f0_min_hz=32.7,
    f0_max_hz=1975.5,
    uses_harmonic_embedding=True,
)


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
