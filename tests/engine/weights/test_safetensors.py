import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvc.engine.weights.safetensors import read_safetensors, write_safetensors
from rtvc.errors import RtvcError

GOLDEN = Path(__file__).parents[2] / "golden"


def file_bytes(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str, shape: list[Any], start: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_a_file_of_the_reference_implementation():
    tensors, metadata = read_safetensors(GOLDEN / "hubert_small" / "model.safetensors")
    assert len(tensors) == 213
    assert metadata == {"format": "pt"}
    assert tensors["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape == (192, 96)
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in tensors.values())


def test_round_trip(tmp_path):
    tensors = {
        "a.b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "žluť": np.float32(3.5) * np.ones((), np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "strided": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    }
    path = tmp_path / "f.safetensors"
    write_safetensors(path, tensors, {"kind": "voice"})
    read, metadata = read_safetensors(path)
    assert list(read) == list(tensors)
    assert metadata == {"kind": "voice"}
    for name, array in tensors.items():
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert length % 8 == 0


def test_mlx_reads_written_files(tmp_path):
    mx = pytest.importorskip("mlx.core")
    path = tmp_path / "f.safetensors"
    values = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    write_safetensors(path, {"w": values}, {"k": "v"})
    arrays, metadata = mx.load(str(path), return_metadata=True)
    np.testing.assert_array_equal(np.array(arrays["w"]), values)
    assert metadata == {"k": "v"}


def test_narrow_types(tmp_path):
    bits = np.array([0x3F80, 0xC020], "<u2").tobytes()  # 1.0, -2.5
    header = {
        "b": entry("BF16", [2], 0, 4),
        "h": entry("F16", [2], 4, 8),
        "f": entry("BOOL", [2], 8, 10),
    }
    path = tmp_path / "f.safetensors"
    path.write_bytes(file_bytes(header, bits + np.array([0.5, 2], "<f2").tobytes() + b"\x00\x01"))
    read, _ = read_safetensors(path)
    np.testing.assert_array_equal(read["b"], np.array([1.0, -2.5], np.float32))
    np.testing.assert_array_equal(read["h"], np.array([0.5, 2], np.float16))
    assert read["f"].tolist() == [False, True]


GOOD = entry("F32", [2], 0, 8)
EIGHT = b"\0" * 8
BAD = {
    "empty": b"",
    "short": b"\x10\0\0\0\0\0\0\0{}",
    "huge header": struct.pack("<Q", 2**63) + b"{",
    "not json": file_bytes(b"{nonsense"),
    "nested json": file_bytes(b"[" * 100_000),
    "a list": file_bytes([]),
    "not utf-8": file_bytes(b'{"\xff": 1}'),
    "huge number": file_bytes(b'{"a": ' + b"9" * 10_000 + b"}"),
    "entry is text": file_bytes({"a": "b"}),
    "missing field": file_bytes({"a": {"dtype": "F32", "shape": [2]}}, EIGHT),
    "unknown type": file_bytes({"a": entry("F8_E4M3", [8], 0, 8)}, EIGHT),
    "type is a list": file_bytes({"a": GOOD | {"dtype": []}}, EIGHT),
    "negative size": file_bytes({"a": entry("F32", [-2], 0, 8)}, EIGHT),
    "boolean size": file_bytes({"a": entry("F32", [True, 2], 0, 8)}, EIGHT),
    "fraction": file_bytes({"a": entry("F32", [2.0], 0, 8)}, EIGHT),
    "shape is text": file_bytes({"a": GOOD | {"shape": "2"}}, EIGHT),
    "wrong count": file_bytes({"a": entry("F32", [3], 0, 8)}, EIGHT),
    "beyond the end": file_bytes({"a": entry("F32", [2], 0, 8)}, EIGHT[:4]),
    "backwards": file_bytes({"a": entry("F32", [0], 8, 4)}, EIGHT),
    "three offsets": file_bytes({"a": GOOD | {"data_offsets": [0, 8, 8]}}, EIGHT),
    "overlap": file_bytes({"a": GOOD, "b": GOOD}, EIGHT),
    "gap": file_bytes({"a": entry("F32", [1], 4, 8)}, EIGHT),
    "trailing": file_bytes({"a": GOOD}, EIGHT * 2),
    "twice": file_bytes(
        b'{"a": ' + json.dumps(GOOD).encode() + b', "a": ' + json.dumps(GOOD).encode() + b"}",
        EIGHT,
    ),
    "too many axes": file_bytes({"a": entry("F32", [1] * 20, 0, 4)}, EIGHT[:4]),
    "empty but vast": file_bytes({"a": entry("F32", [0, 2**39, 2**39], 0, 0)}),
    "metadata is a number": file_bytes({"__metadata__": {"a": 1}}),
    "metadata is a list": file_bytes({"__metadata__": []}),
}


@pytest.mark.parametrize("case", BAD)
def test_damaged_files_are_refused_with_a_message(tmp_path, case):
    path = tmp_path / "f.safetensors"
    path.write_bytes(BAD[case])
    with pytest.raises(RtvcError, match="cannot be read as a safetensors file") as caught:
        read_safetensors(path)
    assert len(str(caught.value)) < 300


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated") / "f.safetensors"


SAMPLE = file_bytes(
    {"__metadata__": {"k": "v"}, "a": GOOD, "b": entry("F16", [2, 2], 8, 16)}, EIGHT * 2
)


@pytest.mark.thorough
@settings(max_examples=500, deadline=None, derandomize=True)
@given(data=st.data())
def test_mutated_files_are_read_or_refused_with_a_message(scratch, data):
    raw = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    scratch.write_bytes(raw)
    refused = None
    try:
        read_safetensors(scratch)
    except RtvcError as error:
        refused = str(error)
    assert refused is None or (len(refused) < 300 and refused.isprintable())
