"""Hostile files, each crafted for one attack, by name."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from functools import cache

import numpy as np

from rtvc.engine.weights.rmvpe import rmvpe_shapes
from tests.engine.weights import torch_writer as tw
from tests.fuzz import seeds
from tests.fuzz.seeds import Seed

_COMMAND = tw.sequence(tw.text("touch owned"))
_ITEM = tw.text("a") + b"N"
_MEGABYTE = 2**20

#: Pickles that run code in Python's unpickler, or fill the memory.
PROGRAMS: dict[str, bytes] = {
    "os.system": tw.name("os", "system") + _COMMAND + b"R",
    "posix.system": tw.name("posix", "system") + _COMMAND + b"R",
    "builtins.eval": tw.name("builtins", "eval") + _COMMAND + b"R",
    "builtins.exec in python 2": tw.name("__builtin__", "exec") + _COMMAND + b"R",
    "subprocess.Popen": tw.text("subprocess") + tw.text("Popen") + b"\x93" + _COMMAND + b"R",
    "chain of getattr": tw.name("builtins", "getattr")
    + tw.sequence(
        tw.name("builtins", "getattr")
        + tw.sequence(tw.name("builtins", "__import__"), tw.text("__self__"))
        + b"R",
        tw.text("eval"),
    )
    + b"R"
    + _COMMAND
    + b"R",
    "attribute of an allowed name": tw.name("collections", "OrderedDict.__init__.__globals__"),
    "module inside an allowed one": tw.text("torch._utils") + tw.text("sys.modules") + b"\x93",
    "nested loader": tw.name("torch.storage", "_load_from_bytes") + _COMMAND + b"R",
    "INST": b"(" + tw.text("touch owned") + b"ios\nsystem\n",
    "OBJ": b"(" + tw.name("os", "system") + tw.text("touch owned") + b"o",
    "EXT1": b"\x82\x01)R",
    "EXT2": b"\x83\x01\x00)R",
    "EXT4": b"\x84\x01\x00\x00\x00)R",
    "NEWOBJ_EX": tw.name("subprocess", "Popen") + b")}\x92",
    "BUILD over a class": tw.name("collections", "OrderedDict") + b"}(" + _ITEM + b"ub",
    "persistent module": tw.sequence(tw.text("module"), tw.name("os", "system")) + b"Q",
    "memo index": b"}r\xff\xff\xff\xff" + _ITEM + b"s",
    "memo of everything": b"]" + b"\x94" * _MEGABYTE,
    "lists": b"](" + b"]" * _MEGABYTE + b"e",
    "dictionaries": b"](" + b"}K\0Ns" * (_MEGABYTE // 5) + b"e",
    "marks": b"(" * _MEGABYTE,
    "lists in lists": b"]" + b"]" * _MEGABYTE + b"a" * _MEGABYTE,
    "integers": b"](" + b"J\0\0\0\x7f" * (_MEGABYTE // 5) + b"e",
    "tuples of one": b"](" + b"N\x85" * (_MEGABYTE // 2) + b"e",
    "wide text": b"](" + tw.text("a" * _MEGABYTE + "\U0001f600") * 2 + b"e",
    "many wide texts": b"](" + tw.text("a" * 60 + "\U0001f600") * 15_000 + b"e",
    "ordered dictionaries": b"](" + tw.ORDERED_DICT * 40_000 + b"e",
    "doubling lists": b"]q\0"
    + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(100)),
    "doubling tuples": b"]q\0" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(100)),
    "wide sharing": b"](" + b"N" * 1000 + b"eq\0](" + b"h\0" * 1000 + b"e",
    "list that contains itself": b"]q\0h\0a",
    "long integer": b"\x8a\xff" + b"\x7f" * 255,
    "LONG4": b"\x8b\xff\xff\xff\x7f",
    "bytes of 8 EiB": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "text of 4 GiB": b"X\xff\xff\xff\xffa",
    "keys that collide": b"}("
    + b"".join(tw.integer(n << 17) + b"N" for n in range(2**14))
    + b"u",
    "empty program": b"",
}  # fmt: skip


@cache
def checkpoints() -> tuple[Seed, ...]:
    found = [
        Seed(f"{name} ({layout})", "voice", write(body))
        for name, body in PROGRAMS.items()
        for layout, write in (("zip", tw.zip_bytes), ("legacy", _legacy))
    ]
    return (*found, *_tensors(), *_settings(), *_containers(), *_headers())


def _legacy(body: bytes) -> bytes:
    return tw.legacy_bytes(body, {})


def _tensors() -> list[Seed]:
    data = bytes(2 * _MEGABYTE)
    count = len(data) // 4
    transposed = tw.tensor("0", "FloatStorage", count, (512, count // 512), (1, 512))
    views = b"](" + b"".join(
        tw.tensor("0", "FloatStorage", count, (count // 2 - n, 2), (1, 1)) for n in range(4)
    ) + b"e"  # fmt: skip
    wide = tw.tensor("0", "BFloat16Storage", 2 * count, (512, count // 256), (1, 512))
    pair = {"dec.x.weight_g": np.ones((1, 1, 1), "<f2"), "dec.x.weight_v": None}
    pair["dec.x.weight_v"] = np.ones((1, 1024, 1024), "<f2")
    pair["enc_p.x"] = pair["dec.x.weight_g"]
    shared = tw.tensor("0", "HalfStorage", 2 * count, (2 * count,), (1,)) + b"q\0"
    shared = b"}(" + tw.text("enc_p.a") + shared + b"".join(
        tw.text(f"enc_p.{n}") + b"h\0" for n in range(2000)
    ) + b"u"  # fmt: skip
    names = {f"enc_p.{n}": np.zeros(0, "<f2") for n in range(3000)}
    return [
        Seed("transposed", "voice", tw.zip_bytes(tw.mapping({"a": transposed}), {"0": data})),
        Seed("overlapping views", "voice", tw.zip_bytes(tw.mapping({"a": views}), {"0": data})),
        Seed("bfloat16 transposed", "voice", tw.zip_bytes(tw.mapping({"a": wide}), {"0": data})),
        Seed("one tensor with many names", "voice", tw.zip_bytes(shared, {"0": data[: 4 * count]})),
        Seed("one large pair", "voice", seeds.torch_zip({"weight": pair})),
        Seed("many empty weights", "voice", seeds.torch_zip({"weight": names})),
    ]


def _settings() -> list[Seed]:
    """Return files with tensors and numbers in fields where a reader expects text."""
    voice, two = seeds.voice_tree(), np.ones(2, "<f2")
    found = [
        Seed(f"tensor as {key}", "voice", seeds.torch_zip(voice | {key: two}))
        for key in (*voice, "embedder_name", "speaker_info", "embedder_model")
    ]
    for at in range(len(voice["config"])):
        for what, value in (("tensor", two), ("list", [two] * 9), ("number", 2**100)):
            config = [*voice["config"][:at], value, *voice["config"][at + 1 :]]
            found.append(
                Seed(
                    f"{what} as setting {at}", "voice", seeds.torch_zip(voice | {"config": config})
                )
            )
        config = [*voice["config"][:at], 10**4000, *voice["config"][at + 1 :]]
        metadata = {"config": json.dumps(config)}
        content = seeds.safetensors(voice["weight"], metadata)
        found.append(Seed(f"huge number as setting {at}", "voice", content))
    for text in ("[" * 900 + "]" * 900, "[" * 100_000, "1" * 5000, "NaN", "1e999"):
        content = seeds.safetensors(voice["weight"], {"config": text})
        found.append(Seed(f"config {text[:4]}", "voice", content))
    for key in ("sr", "fmin", "hop_size"):
        tree = {
            "model": {"input_stack.0.weight": np.zeros((1, 128, 1), "<f2")},
            "config_dict": {"mel": {key: two}, "model": {"f0_min": two, "f0_max": 10**30}},
        }
        found.append(Seed(f"tensor as mel {key}", "fcpe", seeds.torch_zip(tree)))
    return found


def _containers() -> list[Seed]:
    valid = {"archive/data.pkl": tw.pickled(tw.mapping({})), "archive/version": b"3\n"}
    found = []
    for name in (
        "../x",
        "/etc/passwd",
        "archive/../../x",
        "a\\..\\b",
        "\x1b[2J",
        "archive//data.pkl",
    ):
        raw = seeds.packed(valid | {name: b"x"}, zipfile.ZIP_STORED)
        found.append(Seed(f"member {name!r}", "voice", raw))
    empty = {f"archive/data/{n}": b"" for n in range(20_000)}
    many = seeds.packed(valid | empty, zipfile.ZIP_STORED)
    forged = bytearray(many)
    struct.pack_into("<HH", forged, forged.rindex(b"PK\x05\x06") + 8, 1, 1)
    bomb = valid | {"archive/data.pkl": tw.pickled(tw.mapping({}) + bytes(32 * _MEGABYTE))}
    inner = seeds.packed({"voice/voice.pth": bytes(32 * _MEGABYTE)})
    found += [
        Seed("many members", "voice", many),
        Seed("more members than declared", "voice", bytes(forged)),
        Seed("only a directory", "voice", _directory(many, valid)),
        Seed("deflated bomb", "voice", seeds.packed(bomb)),
        Seed("archive in an archive", "voice", seeds.packed({"a/data.pkl": inner})),
        Seed("long comment", "voice", seeds.packed(valid, zipfile.ZIP_STORED, bytes(65_000))),
        Seed("two directories", "voice", seeds.packed(valid, 0) + seeds.packed(valid, 0)),
        Seed("one member under many names", "voice", _overlapping(valid)),
        Seed("zip64 of 2**62", "voice", _zip64(seeds.packed(valid, 0))),
    ]
    return found


def _directory(many: bytes, valid: dict[str, bytes]) -> bytes:
    """Return an archive with two real members; the others are only in the directory."""
    start, end = many.index(b"PK\x01\x02"), many.rindex(b"PK\x05\x06")
    head = seeds.packed(valid, zipfile.ZIP_STORED)
    head = head[: head.index(b"PK\x01\x02")]
    tail = bytearray(many[end:])
    struct.pack_into("<I", tail, 16, len(head))
    return head + many[start:end] + bytes(tail)


def _overlapping(valid: dict[str, bytes]) -> bytes:
    raw = seeds.packed(valid | {"archive/data/a": bytes(100_000)}, zipfile.ZIP_STORED)
    start, end = raw.rindex(b"PK\x01\x02"), raw.rindex(b"PK\x05\x06")
    record, tail = raw[start:end], bytearray(raw[end:])
    twins = b"".join(record.replace(b"data/a", b"dat%03d" % n) for n in range(100))
    count, size = struct.unpack_from("<HI", tail, 10)
    struct.pack_into("<HHI", tail, 8, count + 100, count + 100, size + len(twins))
    return raw[:end] + twins + bytes(tail)


def _zip64(raw: bytes) -> bytes:
    end = raw.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, 2**62, 2**62)
    return raw[:end] + record + struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1) + raw[end:]


def _headers() -> list[Seed]:
    """Return safetensors headers that expand in memory, and networks of excessive size."""
    found = []
    for name, item in (
        ("lists", "[],"),
        ("objects", "{},"),
        ("numbers", "99999,"),
        ("texts", '"",'),
    ):
        text = ('{"a":[' + item * (_MEGABYTE // len(item)) + "0]}").encode()
        found.append(Seed(f"header of {name}", "voice", struct.pack("<Q", len(text)) + text))
    for name, text in (
        ("a header that is deep", b'{"a":' * 100_000),
        ("a header that is deeper than it looks", b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"),
        ("a header of one long number", b'{"a":' + b"1" * 100_000 + b"}"),
        ("a key twice", b'{"a":1,"a":1}'),
        ("a header in UTF-16", '{"a": 1}'.encode("utf-16-le")),
        ("a header in UTF-32", '{"a": 1}'.encode("utf-32-le")),
    ):
        found.append(Seed(name, "voice", struct.pack("<Q", len(text)) + text))
    found.append(Seed("a header of 2**63", "voice", struct.pack("<Q", 2**63) + b"{}" * 100))
    small = seeds.filled(rmvpe_shapes(seeds._RMVPE), "<f2")
    small |= {
        f"unet.encoder.layers.{n}.conv.0.conv.0.weight": np.zeros((0, 1, 1, 1))
        for n in range(2, 2500)
    }
    levels = dict(small)
    small |= {f"unet.encoder.layers.0.conv.{n}.conv.0.weight": np.zeros(0) for n in range(1, 2500)}
    deep = {
        f"unet.encoder.layers.{n}.conv.0.conv.0.weight": np.zeros((0, 1, 1, 1))
        for n in range(2, 19_000)
    }
    for name, tree in (("levels", levels), ("levels times blocks", small), ("deep", levels | deep)):
        halves = {key: array.astype("<f2") for key, array in tree.items()}
        found.append(Seed(f"rmvpe of many {name}", "rmvpe", seeds.safetensors(halves, {})))
    return found


@cache
def indexes() -> tuple[Seed, ...]:
    return tuple(
        Seed(name, "index", raw)
        for name, raw in (
            ("many lists", _index(1, 2**16, [0] * (2**16 - 1) + [1])),
            ("as many lists as vectors", _index(4, 2**14, [1] * 2**14)),
            ("a search of 2**32 - 1 lists", _index(4, 2, [3, 3], probes=2**32 - 1)),
            ("a search of 2**31 lists", _index(4, 2, [3, 3], probes=2**31)),
            ("a width of 2**16", _index(2**16, 1, [1])),
            ("vectors of NaN", _index(4, 2, [9, 9], fill=float("nan"))),
            ("infinite vectors", _index(4, 2, [9, 9], fill=float("inf"))),
            ("large vectors", _index(4, 2, [9, 9], fill=3e38)),
            ("ids of -1", _index(4, 2, [9, 9], ids=-1)),
            ("ids of 2**62", _index(4, 2, [9, 9], ids=2**62)),
            ("sizes that overflow", _index(4, 2, [9, 9], claimed=[2**63 + 9, 2**63 + 9])),
            ("sizes of 2**61", _index(4, 1, [9], claimed=[2**61])),
            ("more vectors than declared", _index(4, 2, [9, 9], total=3)),
            ("fewer vectors than declared", _index(4, 2, [9, 9], total=2**62)),
            ("a direct map whose keys collide", _index(4, 1, [9], hashed=_colliding(60_000))),
            ("a large direct map", _index(4, 1, [9], hashed=list(range(60_000)))),
            ("lists in another file", _index(4, 1, [9]).replace(b"ilar", b"ilod")),
            ("another index inside", _index(4, 1, [9]).replace(b"IxF2", b"IwFl")),
            ("another index type", b"IxMp" + _index(4, 1, [9])[4:]),
            ("an index type that opens files", b"IBMp" + _index(4, 1, [9])[4:]),
        )
    )


def _index(  # noqa: PLR0917
    width: int,
    lists: int,
    sizes: list[int],
    probes: int = 1,
    fill: float = 0.5,
    ids: int | None = None,
    claimed: list[int] | None = None,
    total: int | None = None,
    hashed: list[int] | None = None,
) -> bytes:
    """Write an IVF-Flat file field by field."""
    stored = sum(sizes)
    head = struct.pack("<iqqqBi", width, total or stored, 2**20, 2**20, 1, 1)
    inner = struct.pack("<iqqqBi", width, lists, 2**20, 2**20, 1, 1)
    table = np.full(lists * width, 0.25, "<f4").tobytes()
    raw = b"IwFl" + head + struct.pack("<QQ", lists, probes)
    raw += b"IxF2" + inner + struct.pack("<Q", lists * width) + table
    raw += struct.pack("<BQ", 0 if hashed is None else 2, 0)
    if hashed is not None:
        pairs = np.array([(key, 0) for key in hashed], "<i8")
        raw += struct.pack("<Q", len(pairs)) + pairs.tobytes()
    raw += b"ilar" + struct.pack("<QQ", lists, 4 * width)
    raw += b"full" + struct.pack(f"<Q{lists}Q", lists, *(claimed or sizes))
    parts = [raw]
    for size in sizes:
        numbers = np.arange(size) if ids is None else np.full(size, ids)
        parts += np.full(size * width, fill, "<f4").tobytes(), numbers.astype("<i8").tobytes()
    return b"".join(parts)


def _colliding(count: int) -> list[int]:
    """Return keys that all collide in a hash table with one of the usual prime sizes."""
    buckets = 62_233 * 126_271  # sizes that the C++ library uses near this count
    return [buckets * n for n in range(count)]


@cache
def archives() -> tuple[Seed, ...]:
    voice, index = seeds.checkpoints()[0].content, seeds.indexes()[0].content
    valid = {"Anna.pth": voice, "Anna.index": index}
    found: dict[str, bytes] = {
        f"path {name!r}": seeds.packed(valid | {name: voice})
        for name in (
            "../Anna.pth", "/etc/Anna.pth", "a/../../Anna.pth", "..\\Anna.pth", "C:\\Anna.pth",
            "a/..", "Anna.pth/Anna.pth", ".pth", "CON.pth", "\x1b[2J.pth", "\u202e.pth",
            "x" * 5000 + ".pth", "a/" * 2000 + "Anna.pth", "ANNA.PTH", "Anna.pth ", "Anna.pth.",
        )
    }  # fmt: skip
    found |= {
        "a link": _link(voice),
        "a bomb": seeds.packed({"Anna.pth": bytes(8 * _MEGABYTE)}),
        "many small bombs": seeds.packed({f"{n}/Anna.pth": bytes(_MEGABYTE) for n in range(60)}),
        "a bomb in layers": seeds.packed({"Anna.pth": seeds.packed({"a": bytes(_MEGABYTE)})}),
        "many members": seeds.packed({f"{n}.txt": b"" for n in range(19_000)}),
        "many voices": seeds.packed({f"{n}.pth": voice[:200] for n in range(1000)}),
        "an empty archive": seeds.packed({}),
        "one member under many names": _overlapping(valid),
        "zip64 of 2**62": _zip64(seeds.packed(valid)),
        "two archives": seeds.packed(valid) + seeds.packed({"Bert.pth": voice}),
        "a member without a name": seeds.packed({"q": b""}).replace(b"q", b"\0"),
        "a long comment": seeds.packed(valid, comment=b"PK\x05\x06" * 16_000),
    }
    for name in list(PROGRAMS)[:20]:
        found[f"contains {name}"] = seeds.packed({"Anna.pth": tw.zip_bytes(PROGRAMS[name])})
    return tuple(Seed(name, "archive", raw) for name, raw in found.items())


def _link(content: bytes) -> bytes:
    buffer = io.BytesIO()
    member = zipfile.ZipInfo("Anna.pth")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, "/etc/passwd")
        archive.writestr("Bert.pth", content)
    return buffer.getvalue()


HOSTILE = {"checkpoints": checkpoints, "indexes": indexes, "archives": archives}
