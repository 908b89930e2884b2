"""Checks a faiss IVF-Flat file before faiss reads it.

faiss trusts the counts in a file: a damaged file can make it allocate without limit, and some
index types make it open other files. Parsing the layout first costs a few microseconds, and
faiss reads only files that are complete.

Source: ``faiss/impl/index_write.cpp``; all numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from rtvc.errors import RtvcError

_L2 = 1
_MAX_WIDTH = 1 << 12
_DIRECT_MAP_NONE, _DIRECT_MAP_ARRAY = 0, 1


@dataclass(frozen=True)
class IvfFlatHeader:
    """Sizes in the header of an IVF-Flat file.

    Attributes
    ----------
    width
        Dimension of the vectors.
    total
        Number of vectors in the lists.
    lists
        Number of inverted lists.
    probes
        Number of lists per search.
    """

    width: int
    total: int
    lists: int
    probes: int


def check_ivf_flat(path: Path) -> IvfFlatHeader:
    """Parse an IVF-Flat file and compare every count with the number of bytes in the file.

    Parameters
    ----------
    path
        The ``.index`` file.

    Returns
    -------
    IvfFlatHeader
        Sizes, consistent with the length of the file.

    Raises
    ------
    RtvcError
        The file cannot be read, has another index type, or is damaged.
    """
    # Unlike the methods of Path, these raise nothing where a folder may not be entered.
    if os.path.exists(path) and not os.path.isfile(path):  # open() blocks on a pipe
        raise RtvcError(f"The index {path} is not an ordinary file.")
    try:
        with path.open("rb") as file:
            return _Parser(file, path).index()
    except OSError as error:
        raise RtvcError(f"The index {path} cannot be read: {error.strerror}.") from error


class _Parser:
    """Parses the file in one pass; each read is checked against the remaining bytes."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._bytes_left = file.seek(0, 2)
        file.seek(0)

    def index(self) -> IvfFlatHeader:
        magic = self._magic()
        if magic != b"IwFl":
            raise RtvcError(
                f"The index {self._path} is not an IVF-Flat index (it begins with {magic!r}); "
                "use the added_IVF..._Flat_....index that RVC training writes."
            )
        width, total = self._header()
        lists, probes = self._unpack("<QQ")
        self._require(lists > 0, "it has no lists")
        self._require(0 < probes < 1 << 32, f"its number of lists per search is {probes}")
        self._quantizer(width, lists)
        self._direct_map(total)
        stored = self._inverted_lists(width, total, lists)
        return IvfFlatHeader(width, stored, lists, probes)

    def _header(self) -> tuple[int, int]:
        width, total, _, _, trained, metric = self._unpack("<iqqqBi")
        self._require(0 < width <= _MAX_WIDTH, f"its vectors have {width} dimensions")
        self._require(total >= 0, f"its number of vectors is {total}")
        self._require(trained == 1, "it has not been trained")
        if metric != _L2:
            raise RtvcError(
                f"The index {self._path} does not use Euclidean distance (metric {metric}), "
                "which RVC retrieval needs; build it again with the training tool."
            )
        return width, total

    def _quantizer(self, width: int, lists: int) -> None:
        magic = self._magic()
        self._require(magic == b"IxF2", f"its quantizer is {magic!r}, not a flat index")
        centroid_width, centroids = self._header()
        (floats,) = self._unpack("<Q")
        self._require(
            centroid_width == width and centroids == lists and floats == lists * width,
            "the size of its quantizer does not match its header",
        )
        self._skip(4 * floats)

    def _direct_map(self, total: int) -> None:
        kind, entries = self._unpack("<BQ")
        # Training tools write no direct map. The third type, a hash table, is refused: crafted
        # keys make faiss take minutes to fill it.
        self._require(
            (kind == _DIRECT_MAP_NONE and entries == 0)
            or (kind == _DIRECT_MAP_ARRAY and entries == total),
            "the size of its direct map does not match",
        )
        self._skip(8 * entries)

    def _inverted_lists(self, width: int, total: int, lists: int) -> int:
        magic = self._magic()
        self._require(magic == b"ilar", f"its vectors are stored as {magic!r}, not in the file")
        list_count, code_size = self._unpack("<QQ")
        self._require(
            list_count == lists and code_size == 4 * width,
            "the size of its lists does not match its header",
        )
        stored = self._list_sizes(lists)
        # faiss counts vectors with NaN in the total, but stores them in no list.
        self._require(stored <= total, f"its header counts {total} vectors, its lists {stored}")
        self._skip(stored * (code_size + 8))
        self._require(self._bytes_left == 0, f"it has {self._bytes_left} bytes after its end")
        return stored

    def _list_sizes(self, lists: int) -> int:
        """Return the sum of the list sizes, stored for all lists or for the non-empty ones."""
        kind = self._magic()
        (count,) = self._unpack("<Q")
        if kind == b"full":
            self._require(count == lists, "the number of its list sizes does not match its header")
            return sum(self._integers(count))
        self._require(kind == b"sprs" and count % 2 == 0, "the sizes of its lists are unreadable")
        pairs = self._integers(count)
        numbers, sizes = pairs[::2], pairs[1::2]
        self._require(all(number < lists for number in numbers), "it fills lists that do not exist")
        in_order = all(a < b for a, b in pairwise(numbers))
        self._require(in_order, "it fills its lists out of order")
        return sum(sizes)

    def _integers(self, count: int) -> array[int]:
        integers = array("Q", self._read(8 * count))
        if sys.byteorder == "big":
            integers.byteswap()
        return integers

    def _magic(self) -> bytes:
        return self._read(4)

    def _unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self._read(struct.calcsize(form)))

    def _read(self, size: int) -> bytes:
        self._require(size <= self._bytes_left, "it ends early")
        self._bytes_left -= size
        return self._file.read(size)

    def _skip(self, size: int) -> None:
        self._require(size <= self._bytes_left, "it ends early")
        self._bytes_left -= size
        self._file.seek(size, 1)

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise RtvcError(
                f"The index {self._path} is damaged: {problem}. Get the file again, or build "
                "it again with the training tool."
            )
