import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvc.engine.weights import pickle_machine, torch_file
from rtvc.engine.weights.torch_file import read_torch_file
from rtvc.errors import RtvcError
from tests.engine.weights import torch_writer as tw

GOLDEN = Path(__file__).parents[2] / "golden"
VALUES = np.arange(12, dtype="<f4")


def refusal(path: Path) -> str:
    with pytest.raises(RtvcError) as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert len(message) < 400
    assert message.isprintable()
    return message


def test_values_equal_the_safetensors_of_the_same_weights():
    read = read_torch_file(GOLDEN / "hubert_small" / "pytorch_model.bin")
    raw = (GOLDEN / "hubert_small" / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    assert read.keys() == header.keys()
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        expected = np.frombuffer(raw[8 + length + start : 8 + length + end], "<f4")
        np.testing.assert_array_equal(read[name], expected.reshape(entry["shape"]))


def test_a_voice_gives_plain_values_and_half_precision_arrays():
    voice = read_torch_file(GOLDEN / "voice_v2_f0_48k.pth")
    assert type(voice) is dict
    assert (len(voice["config"]), voice["version"], voice["f0"]) == (18, "v2", 1)
    assert type(voice["config"][11]) is list
    assert {a.dtype for a in voice["weight"].values()} == {np.dtype(np.float16)}
    assert all(np.isfinite(a).all() for a in voice["weight"].values())


def test_a_fairseq_checkpoint_gives_its_tensors_and_drops_its_dictionary():
    checkpoint = read_torch_file(GOLDEN / "hubert_small_fairseq.pt")
    assert checkpoint["task_state"]["dictionaries"] == [None]
    assert checkpoint["model"]["encoder.pos_conv.0.weight_g"].shape == (1, 1, 128)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("HalfStorage", "<f2"),
        ("FloatStorage", "<f4"),
        ("DoubleStorage", "<f8"),
        ("LongStorage", "<i8"),
        ("IntStorage", "<i4"),
        ("ShortStorage", "<i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_every_element_type(tmp_path, kind, dtype, legacy):
    values = np.array([0, 1, 1, 0, 1, 0]).astype(dtype)
    body = tw.mapping({"a": tw.tensor("0", kind, 6, (2, 3), (3, 1))})
    if legacy:
        path = tw.write_legacy(tmp_path / "f.pt", body, {"0": (6, values.tobytes())})
    else:
        path = tw.write_zip(tmp_path / "f.pt", body, {"0": values.tobytes()})
    read = read_torch_file(path)["a"]
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, values.reshape(2, 3))


def test_bfloat16_becomes_float32_exactly(tmp_path):
    values = np.array([1.0, -2.5, 3.140625, 2.0**100, np.inf], "<f4")
    raw = (values.view("<u4") >> 16).astype("<u2").tobytes()
    body = tw.tensor("0", "BFloat16Storage", 5, (5,), (1,))
    read = read_torch_file(tw.write_zip(tmp_path / "f.pt", body, {"0": raw}))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "expected"),
    [
        ((), (), 5, VALUES[5]),
        ((4, 3), (1, 4), 0, VALUES.reshape(3, 4).T),
        ((3, 2), (4, 2), 1, VALUES.reshape(3, 4)[:, 1::2]),
        ((2, 3), (0, 1), 3, np.stack([VALUES[3:6]] * 2)),
        ((0, 3), (3, 1), 12, np.zeros((0, 3), "<f4")),
        ((12,), (1,), 0, VALUES),
    ],
)
def test_views_scalars_and_empty_tensors(tmp_path, shape, strides, offset, expected):
    body = tw.tensor("0", "FloatStorage", 12, shape, strides, offset=offset)
    read = read_torch_file(tw.write_zip(tmp_path / "f.pt", body, {"0": VALUES.tobytes()}))
    assert read.shape == shape
    assert not read.flags.writeable
    np.testing.assert_array_equal(read, expected)


def test_parameters_state_dicts_with_metadata_and_tied_weights(tmp_path):
    tensor = tw.tensor("0", "FloatStorage", 12, (12,), (1,))
    parameter = (
        tw.name("torch._utils", "_rebuild_parameter")
        + tw.sequence(tensor, b"\x88", tw.ORDERED_DICT)
        + b"R"
    )
    state = tw.ORDERED_DICT + b"(" + tw.text("w") + parameter + tw.text("tied") + tensor + b"u"
    metadata = tw.mapping({"_metadata": tw.mapping({"version": tw.integer(1)})})
    read = read_torch_file(
        tw.write_zip(tmp_path / "f.pt", state + metadata + b"b", {"0": VALUES.tobytes()})
    )
    assert list(read) == ["w", "tied"]
    assert read["w"] is read["tied"]
    with pytest.raises(ValueError, match="read-only"):
        read["w"][0] = 1.0


def test_plain_values(tmp_path):
    body = tw.mapping(
        {
            "none": b"N",
            "yes": b"\x88",
            "long": tw.integer(2**62),
            "negative": tw.integer(-7),
            "float": b"G" + struct.pack(">d", 0.1),
            "text": tw.text("žluťoučký"),
            "list": b"](" + tw.integer(1) + tw.sequence(tw.integer(2)) + b"e",
        }
    )
    assert read_torch_file(tw.write_zip(tmp_path / "f.pt", body)) == {
        "none": None,
        "yes": True,
        "long": 2**62,
        "negative": -7,
        "float": 0.1,
        "text": "žluťoučký",
        "list": [1, [2]],
    }


# -- refusals ----------------------------------------------------------------------------------

COMMAND = tw.sequence(tw.text("touch /nowhere/owned"))
HARMFUL = {
    "posix.system": tw.name("posix", "system") + COMMAND + b"R",
    "nt.system": tw.name("nt", "system") + COMMAND + b"R",
    "os.system": tw.name("os", "system") + COMMAND + b"R",
    "builtins.eval": tw.name("builtins", "eval") + COMMAND + b"R",
    "__builtin__.exec": tw.name("__builtin__", "exec") + COMMAND + b"R",
    "builtins.getattr": tw.name("builtins", "getattr") + COMMAND + b"R",
    "operator.attrgetter": tw.name("operator", "attrgetter") + COMMAND + b"R",
    "torch.storage._load_from_bytes": tw.name("torch.storage", "_load_from_bytes"),
    "torch.load": tw.name("torch", "load"),
    "_codecs.encode": tw.name("_codecs", "encode"),
    "collections.OrderedDict.__class__": tw.name("collections", "OrderedDict.__class__"),
    "subprocess.Popen": tw.text("subprocess") + tw.text("Popen") + b"\x93" + COMMAND + b"R",
    "torch._utils.os.system": tw.text("torch._utils") + tw.text("os.system") + b"\x93",
    "numpy.core.multiarray.scalar": tw.name("numpy.core.multiarray", "scalar"),
}


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize("legacy", [False, True])
def test_names_that_are_not_allowed_are_refused(tmp_path, name, legacy):
    path = tmp_path / "f.pt"
    if legacy:
        tw.write_legacy(path, HARMFUL[name], {})
    else:
        tw.write_zip(path, HARMFUL[name])
    assert f"'{name}'" in refusal(path)


def test_names_in_messages_are_sanitised_and_truncated(tmp_path):
    message = refusal(tw.write_zip(tmp_path / "f.pt", tw.name("\x1b[2Jos\u202e", "x" * 400)))
    assert "'[2Jos." in message


@pytest.mark.parametrize(
    "body",
    [
        b"(ios\nsystem\n",  # INST
        b"(cos\nsystem\no",  # OBJ
        b"\x82\x01",  # EXT1
        b"\x83\x01\x00",  # EXT2
        b"\x84\x01\x00\x00\x00",  # EXT4
        b"}}\x92",  # NEWOBJ_EX
        b"P0\n",  # PERSID
        b"I1\n",
        b"F1\n",
        b"S'a'\n",
        b"B\x01\x00\x00\x00a",  # BINBYTES
        b"\x96" + b"\xff" * 8,  # BYTEARRAY8
        b"\x8b\xff\xff\xff\x7f",  # LONG4
        b"\x8a\xff" + b"\x7f" * 255,
        b"N2",  # DUP
        b"N0N",  # POP
        b"\x8f",  # EMPTY_SET
        b"NNR",
        b"N)R",
        b"ccollections\nOrderedDict\nNR",
        b"ccollections\nOrderedDict\n(]tR",
        b"ctorch\nHalfStorage\n)R",  # a storage type is data, not a function
        b"ctorch\nHalfStorage\n)\x81",
        b"ctorch\nHalfStorage\n",
        b"N}b",  # BUILD on nothing
        b"]}b",
        b"ccollections\nOrderedDict\n}b",
        b"}Nb",
        b"}N}\x86b",
        b"N" + tw.text("a") + b"Ns",
        b"}]Ns",  # unhashable key
        b"}" + tw.integer(2**61) + b"Ns",
        b"}(Nu",
        b"a",
        b"u",
        b"h\x01",
        b"NQ",
        tw.sequence(tw.text("module"), tw.text("os")) + b"Q",
        b"NN",
        b"(N",
        b"",
        b"q\x00",
        b"\x80\x09",
        b"X\xff\xff\xff\x7f",
        b"X\x02\x00\x00\x00\xff\xff",
        b"c" + b"a" * 600 + b"\nb\n",
    ],
    ids=repr,
)
def test_opcodes_that_weights_files_do_not_need(tmp_path, body):
    message = refusal(tw.write_zip(tmp_path / "f.pt", body))
    assert "nothing in it was run" in message


def test_memo_indexes_do_not_allocate(tmp_path):
    body = b"}r\xff\xff\xff\xff" + tw.text("a") + b"Ns"
    assert read_torch_file(tw.write_zip(tmp_path / "f.pt", body)) == {"a": None}


def doubling(open_: bytes, close: bytes) -> bytes:
    body = b"]q\x00"
    for level in range(60):
        body += open_ + b"h%c" % level + b"h%c" % level + close + b"q%c" % (level + 1)
    return body


@pytest.mark.parametrize(
    "body",
    [
        doubling(b"](", b"e"),
        doubling(b"(", b"t"),
        b"]q\x00h\x00a",  # a list that contains itself
        b"]" * 200 + b"a" * 199,
    ],
    ids=["doubling lists", "doubling tuples", "a cycle", "depth"],
)
def test_small_files_that_expand(tmp_path, body):
    path = tw.write_zip(tmp_path / "f.pt", b"](" + body + b"e")
    assert "object tree" in refusal(path)


def test_the_number_of_steps_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_machine, "MAX_OPERATIONS", 1000)
    assert "1000 steps" in refusal(tw.write_zip(tmp_path / "f.pt", b"](" + b"N" * 2000 + b"e"))


@pytest.mark.parametrize(
    "view",  # count, shape, strides, offset
    [
        (12, (13,), (1,), 0),
        (12, (12,), (1,), 1),
        (12, (3, 4), (5, 1), 0),
        (12, (2,), (2**31 - 1,), 0),
        (12, (2,), (2**40,), 0),
        (12, (2**40,), (0,), 0),
        (12, (-1,), (1,), 0),
        (12, (2,), (-1,), 1),
        (12, (2,), (1,), -1),
        (12, (1,), (1,), 12),
        (12, (0,), (1,), 13),
        (12, (0, 2**30, 2**30), (1, 1, 1), 0),
        (12, (1,) * 9, (1,) * 9, 0),
        (12, (3, 4), (4,), 0),
        (13, (1,), (1,), 0),
        (11, (1,), (1,), 0),
        (-1, (1,), (1,), 0),
        (2**60, (1,), (1,), 0),
        (12, (2**20, 12), (0, 1), 0),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_outside_their_storage(tmp_path, view, legacy):
    count, shape, strides, offset = view
    body = tw.tensor("0", "FloatStorage", count, shape, strides, offset=offset)
    if legacy:
        tw.write_legacy(tmp_path / "f.pt", body, {"0": (12, VALUES.tobytes())})
    else:
        tw.write_zip(tmp_path / "f.pt", body, {"0": VALUES.tobytes()})
    assert "tensor" in refusal(tmp_path / "f.pt")


def test_storage_views_of_old_torch_versions_are_refused(tmp_path):
    storage = tw.storage("0", "FloatStorage", 12, tw.sequence(tw.text("view")))
    body = tw.tensor("0", "FloatStorage", 12, (12,), (1,)).replace(
        tw.storage("0", "FloatStorage", 12), storage
    )
    path = tw.write_zip(tmp_path / "f.pt", body, {"0": VALUES.tobytes()})
    assert "unsupported way" in refusal(path)


def test_conflicting_descriptions_of_a_storage(tmp_path):
    body = b"](" + tw.tensor("0", "FloatStorage", 12, (1,), (1,))
    body += tw.tensor("0", "IntStorage", 12, (1,), (1,)) + b"e"
    path = tw.write_zip(tmp_path / "f.pt", body, {"0": VALUES.tobytes()})
    assert "two different ways" in refusal(path)


TENSOR = tw.tensor("0", "FloatStorage", 12, (12,), (1,))
DATA = {"0": VALUES.tobytes()}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"/etc/passwd": b"x"}, "unsafe name '/etc/passwd'"),
        ({"archive/../../x": b"x"}, "unsafe name"),
        ({"archive\\x": b"x"}, "unsafe name"),
        ({"archive/\x1b[2J": b"x"}, "unsafe name 'archive/[2J'"),
        ({"archive/byteorder": b"big"}, "big-endian"),
        ({"archive/code/a.py": b"x"}, "TorchScript"),
        ({"archive/constants.pkl": b"x"}, "TorchScript"),
        ({"other/data.pkl": b"x"}, "not one written by torch.save"),
    ],
)
def test_archive_members(tmp_path, members, message):
    assert message in refusal(tw.write_zip(tmp_path / "f.pt", TENSOR, DATA, members=members))


def test_byte_order_little_is_accepted(tmp_path):
    members = {"archive/byteorder": b"little"}
    read_torch_file(tw.write_zip(tmp_path / "f.pt", TENSOR, DATA, members=members))


def test_duplicate_members(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = tw.write_zip(tmp_path / "f.pt", TENSOR, DATA, members={"archive/version": b"4"})
    assert "twice" in refusal(path)


def test_compressed_members(tmp_path):
    path = tw.write_zip(tmp_path / "f.pt", TENSOR, DATA, method=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(path)


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "MAX_MEMBERS", 50)
    members = {f"archive/data/{n}": b"" for n in range(1, 60)}
    path = tw.write_zip(tmp_path / "f.pt", TENSOR, DATA, members=members)
    assert "more than 50 archive members" in refusal(path)


def test_members_that_overlap(tmp_path):
    path = tw.write_zip(tmp_path / "f.pt", TENSOR, DATA, members={"archive/x": b"a" * 100})
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 20 : at + 28] = struct.pack("<II", 10**6, 10**6)
    path.write_bytes(raw)
    assert "more data than the file has" in refusal(path)


def test_damaged_tensor_data_is_detected(tmp_path):
    path = tw.write_zip(tmp_path / "f.pt", TENSOR, DATA)
    raw = path.read_bytes()
    assert VALUES.tobytes() in raw
    path.write_bytes(raw.replace(VALUES.tobytes(), (VALUES + 1).tobytes()))
    assert "damaged" in refusal(path)


def test_legacy_header_and_length(tmp_path):
    path = tw.write_legacy(tmp_path / "f.pt", TENSOR, {"0": (12, VALUES.tobytes())})
    np.testing.assert_array_equal(read_torch_file(path), VALUES)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"little_endian\x88", b"little_endian\x89"))
    assert "big-endian" in refusal(path)
    path.write_bytes(raw.replace(b"\x80\x02M\xe9\x03.", b"\x80\x02M\xe8\x03."))
    assert "header" in refusal(path)
    for keep in range(0, len(raw), 7):
        path.write_bytes(raw[:keep])
        refusal(path)


@pytest.mark.parametrize("count", [2**40, 2**63, 2**64, 2**100])
def test_impossible_sizes_of_legacy_storages(tmp_path, count):
    body = tw.tensor("0", "FloatStorage", count, (12,), (1,))
    assert "wrong size" in refusal(
        tw.write_legacy(tmp_path / "f.pt", body, {"0": (12, VALUES.tobytes())})
    )


def test_missing_files_folders_and_other_formats(tmp_path):
    assert "No such file" in refusal(tmp_path / "gone.pth")
    refusal(tmp_path)
    (tmp_path / "empty.pth").write_bytes(b"")
    refusal(tmp_path / "empty.pth")
    (tmp_path / "text.pth").write_text("<!DOCTYPE html>")
    assert "does not begin like" in refusal(tmp_path / "text.pth")


# -- property tests ------------------------------------------------------------------------


SAMPLE = tw.mapping(
    {
        "weight": tw.ORDERED_DICT + b"(" + tw.text("a") + TENSOR + b"u" + b"}b",
        "skipped": tw.name("fairseq.data.dictionary", "Dictionary") + b")\x81}b",
        "config": b"](" + tw.integer(1) + b"\x8a\x02\x01\x01\x88N" + b"e",
    }
)
SAMPLES = [
    tw.zip_bytes(SAMPLE, DATA, members={"archive/byteorder": b"little"}),
    tw.legacy_bytes(SAMPLE, {"0": (12, VALUES.tobytes())}),
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated") / "f.pt"


def message_or_none(path):
    try:
        read_torch_file(path)
    except RtvcError as error:
        return str(error)
    return None


@st.composite
def damaged(draw):
    raw = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(content=damaged())
def test_mutated_files_are_read_or_refused_with_a_message(scratch, content):
    scratch.write_bytes(content)
    message = message_or_none(scratch)
    assert message is None or (len(message) < 400 and message.isprintable())


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    body=st.lists(
        st.sampled_from([bytes([b]) for b in range(256)])
        | st.sampled_from([TENSOR, tw.text("a"), tw.ORDERED_DICT, b"](", b"}("]),
        max_size=40,
    ).map(b"".join)
)
def test_any_opcodes_are_read_or_refused_with_a_message(scratch, body):
    tw.write_zip(scratch, body, DATA)
    message = message_or_none(scratch)
    assert message is None or (len(message) < 400 and message.isprintable())
