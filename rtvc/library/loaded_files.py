"""Objects loaded from files: shared while they are in use, and kept for a while after."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
_Key = tuple[Path, int, int, Hashable]

_SHARE, _LARGEST = 8, 1 << 30


def kept_bytes() -> int:
    """Return how many bytes of files may be kept: an eighth of the memory, at most 1 GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory // _SHARE, _LARGEST)


class LoadedFiles:
    """Loads files, and returns the same object again if the file has not changed since.

    An object that nothing uses any more is kept, so that a change back to a voice does not load
    it again. The objects used longest ago are released first. Safe to use from several threads.

    Parameters
    ----------
    limit
        Bytes of files, in all, whose objects are kept; in memory they need about as much in
        float16, and twice as much in float32.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._load_locks: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)
        self._used: WeakValueDictionary[_Key, Any] = WeakValueDictionary()
        self._kept: OrderedDict[_Key, Any] = OrderedDict()
        """Oldest use first."""

    def get(self, path: Path, load: Callable[[Path], T], variant: Hashable = "") -> T:
        """Return what `load` makes of a file.

        Parameters
        ----------
        path
            The file.
        load
            Loads it; raises an error if there is no such file.
        variant
            What else the object depends on, such as the precision.
        """
        if not path.exists():
            return load(path)
        state = path.stat()
        key = path.resolve(), state.st_mtime_ns, state.st_size, variant
        with self._lock:
            load_lock = self._load_locks[key]
        with load_lock:
            found: T | None = self._used.get(key)
            if found is None:
                found = self._used[key] = load(path)
            with self._lock:
                self._keep(key, found)
            return found

    def release(self) -> None:
        """Keep nothing any more that is not in use."""
        with self._lock:
            self._kept.clear()

    def _keep(self, key: _Key, loaded: object) -> None:
        # Other versions of the file, such as one that has been replaced, are of no use now.
        for old in [k for k in self._kept if (k[0], k[3]) == (key[0], key[3])]:
            del self._kept[old]
        self._kept[key] = loaded
        while sum(size for _, _, size, _ in self._kept) > self._limit:
            self._kept.popitem(last=False)
