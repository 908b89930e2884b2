"""Retrieval of the training features nearest to the input's content features.

The index is the one written by RVC training: faiss IVF-Flat over content features at 50 Hz,
before they are repeated to 100 Hz.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rtvc._types import Float32
from rtvc.engine.weights.ivf_flat_file import IvfFlatHeader, check_ivf_flat
from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    import faiss


NEIGHBOURS = 8


class Neighbours(NamedTuple):
    """The nearest training features of each row, nearest first.

    Attributes
    ----------
    distances
        Squared Euclidean distances, (n, k).
    ids
        Ids of the training features, (n, k); -1 where the searched lists hold fewer than k.
    vectors
        The training features, (n, k, width); undefined where the id is -1.
    """

    distances: Float32
    ids: npt.NDArray[np.int64]
    vectors: Float32


class FeatureIndex:
    """A loaded index.

    Attributes
    ----------
    width
        Feature width: 256 for v1 voices, 768 for v2.
    total
        Number of training features.
    probes
        Number of lists that a search examines (nprobe), from the file. It affects the sound of
        the voice, so it is not changed.
    """

    def __init__(self, ivf: faiss.IndexIVFFlat, header: IvfFlatHeader, path: Path) -> None:
        self._ivf = ivf
        self._path = path
        self.width = header.width
        self.total = header.total
        self.probes = header.probes

    def check_width(self, feature_dim: int) -> None:
        """Raise an error if the voice has another feature width than the index.

        Parameters
        ----------
        feature_dim
            Width of the voice's features: 256 for v1, 768 for v2.

        Raises
        ------
        UsageError
            If the widths differ.
        """
        if self.width != feature_dim:
            names = {256: "v1", 768: "v2"}
            raise UsageError(
                f"The index {self._path} holds {names.get(self.width, 'unknown')} features "
                f"(width {self.width}), but the voice needs {names.get(feature_dim, 'others')} "
                f"(width {feature_dim}). Use the index that was trained with this voice."
            )

    def search(self, features: Float32, k: int = NEIGHBOURS) -> Neighbours:
        """Find the k nearest training features of each row.

        Only the vectors found are copied from the inverted lists, so the index is in memory
        once.

        Parameters
        ----------
        features
            Content features at 50 Hz, (n, width).
        k
            Number of neighbours, at least 1.

        Returns
        -------
        Neighbours
            Squared distances, ids and vectors.

        Raises
        ------
        UsageError
            If the features do not have the width of the index, or k is less than 1.
        """
        import faiss

        if features.ndim != 2:
            raise UsageError(f"Features must have shape (n, width), not {features.shape}.")
        self.check_width(features.shape[1])
        if k < 1:
            raise UsageError(f"The number of neighbours must be at least 1, not {k}.")
        # A per-thread setting. A block has a few dozen rows, for which one thread is enough;
        # more would take cores from the networks.
        faiss.omp_set_num_threads(1)
        rows = np.ascontiguousarray(features, dtype=np.float32)
        distances, ids, vectors = self._ivf.search_and_reconstruct(rows, k)
        return Neighbours(distances, ids, vectors)

    def retrieve(self, features: Float32, k: int = NEIGHBOURS) -> Float32:
        """Return the weighted mean of the nearest training features.

        The weight of a neighbour at squared distance D is 1/D**2, normalised over the
        neighbours, as in RVC's ``infer/rtrvc.py``. An exact match gets the whole weight (the
        reference divides by zero). Neighbours that are missing or not finite get none. A row
        without neighbours is returned unchanged.

        Parameters
        ----------
        features
            Content features at 50 Hz, (n, width).
        k
            Number of neighbours, at least 1.

        Returns
        -------
        ndarray
            Retrieved features, (n, width) float32.

        Raises
        ------
        UsageError
            As `search`.
        """
        distances, ids, vectors = self.search(features, k)
        found = (ids >= 0) & np.isfinite(distances) & np.isfinite(vectors).all(axis=2)
        squared = np.where(found, distances, np.inf).astype(np.float64)
        nearest = squared.min(axis=1, keepdims=True, initial=np.inf)
        # (nearest/D)**2 is proportional to 1/D**2 and does not overflow for tiny distances.
        ratio = np.divide(nearest, squared, out=np.zeros_like(squared), where=found & (squared > 0))
        weights = np.where(squared == 0, 1.0, ratio) ** 2
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        safe = np.where(found[:, :, None], vectors, np.float32(0))
        mean: Float32 = np.einsum("nk,nkd->nd", weights.astype(np.float32), safe)
        return np.where(total > 0, mean, features).astype(np.float32)

    def blend(self, features: Float32, rate: float) -> Float32:
        """Blend features with retrieved ones.

        Parameters
        ----------
        features
            Content features at 50 Hz, (n, width).
        rate
            Share of the retrieved features, 0 to 1.

        Returns
        -------
        ndarray
            ``rate * retrieved + (1 - rate) * features``, (n, width) float32.

        Raises
        ------
        UsageError
            If the rate is outside 0..1, or as `search`.
        """
        if not 0.0 <= rate <= 1.0:
            raise UsageError(f"The index rate must be from 0 to 1, not {rate}.")
        if rate == 0.0:
            self.check_width(features.shape[-1])
            return features
        blended = rate * self.retrieve(features) + (1.0 - rate) * features
        return blended.astype(np.float32, copy=False)


class Retrieval(Protocol):
    """Blends features with what is retrieved for them: one index, or those of two voices."""

    def check_width(self, feature_dim: int) -> None:
        """Raise an error if the voice has another feature width."""

    def blend(self, features: Float32, rate: float) -> Float32:
        """Blend features with retrieved ones."""


class IndexBlend:
    """The indexes of two voices, for a voice between them; see `FeatureIndex`.

    Parameters
    ----------
    first, second
        Their indexes. Features stay as they are for a voice that has none.
    share
        Weight of the second index, 0 to 1.
    """

    def __init__(
        self, first: FeatureIndex | None, second: FeatureIndex | None, *, share: float
    ) -> None:
        self._parts = (first, 1.0 - share), (second, share)

    def check_width(self, feature_dim: int) -> None:
        """See `FeatureIndex.check_width`."""
        for index, _ in self._parts:
            if index is not None:
                index.check_width(feature_dim)

    def blend(self, features: Float32, rate: float) -> Float32:
        """Return the weighted mean of what both indexes make of the features."""
        blended = np.zeros_like(features)
        for index, weight in self._parts:
            own = features if index is None else index.blend(features, rate)
            blended += np.float32(weight) * own
        return blended


def load_index(path: str | Path) -> FeatureIndex:
    """Load an index file.

    Parameters
    ----------
    path
        An ``added_IVF..._Flat_....index`` file, or Applio's ``{name}.index``.

    Returns
    -------
    FeatureIndex
        The index, ready to search.

    Raises
    ------
    RtvcError
        If the file cannot be read, is damaged, is another type of index, or holds no vectors,
        as the ``trained_`` file that training also writes.
    """
    import faiss

    file = Path(path)
    header = check_ivf_flat(file)
    if header.total == 0:
        raise RtvcError(
            f"The index {file} is empty: it is the first of the two files that training writes. "
            "Use the file whose name starts with added_."
        )
    if header.lists > header.total:
        raise RtvcError(
            f"The index {file} is damaged: it has more lists than vectors. Download the file "
            "again, or rebuild it with the training tool."
        )
    try:
        with file.open("rb") as stream:  # faiss opens no path that is not UTF-8
            reader = faiss.PyCallbackIOReader(stream.read)  # type: ignore[attr-defined]
            ivf = faiss.read_index(reader)
    except (OSError, RuntimeError, MemoryError) as error:
        raise RtvcError(f"The index {file} cannot be opened: {error}.") from error
    assert isinstance(ivf, faiss.IndexIVFFlat)  # checked by check_ivf_flat
    return FeatureIndex(ivf, header, file)
