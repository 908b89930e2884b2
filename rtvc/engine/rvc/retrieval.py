"""Retrieval: features of the training voice that lie nearest to the incoming ones.

The index is what RVC training writes: faiss IVF-Flat over content features at
50 Hz, before they are repeated to 100 Hz.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from rtvc._types import Float32
from rtvc.engine.weights.ivf_flat_file import IvfFlatHeader, check_ivf_flat
from rtvc.errors import RtvcError, UsageError

if TYPE_CHECKING:
    import faiss


NEIGHBOURS = 8


class Neighbours(NamedTuple):
    """Nearest training features of each row, nearest first.

    Attributes
    ----------
    distances
        Squared Euclidean distance, (n, k).
    ids
        Number of the training feature, (n, k); -1 where a list held fewer than k.
    vectors
        The features themselves, (n, k, width); undefined where the id is -1.
    """

    distances: Float32
    ids: npt.NDArray[np.int64]
    vectors: Float32


class FeatureIndex:
    """An opened index.

    Attributes
    ----------
    width
        Length of a feature: 256 for v1 voices, 768 for v2.
    total
        Number of training features in it.
    probes
        How many lists a search looks into, as the file says (nprobe): few
        neighbours in one list are part of how a voice sounds.
    """

    def __init__(self, ivf: faiss.IndexIVFFlat, header: IvfFlatHeader, path: Path) -> None:
        self._ivf = ivf
        self._path = path
        self.width = header.width
        self.total = header.total
        self.probes = header.probes

    def check_width(self, feature_dim: int) -> None:
        """Refuse an index that was made for voices of another feature width.

        Parameters
        ----------
        feature_dim
            Width of the voice's features: 256 for v1, 768 for v2.

        Raises
        ------
        UsageError
            The index holds features of another width.
        """
        if self.width != feature_dim:
            names = {256: "v1", 768: "v2"}
            raise UsageError(
                f"The index {self._path} holds {names.get(self.width, 'unknown')} features "
                f"(width {self.width}), but the voice needs {names.get(feature_dim, 'others')} "
                f"(width {feature_dim}); use the index that was trained with this voice."
            )

    def search(self, features: Float32, k: int = NEIGHBOURS) -> Neighbours:
        """Find the k nearest training features of every row.

        Only the vectors found are copied out of the inverted lists; there is no
        second copy of the index.

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
            The features have another width than the index, or k is below 1.
        """
        import faiss

        if features.ndim != 2:
            raise UsageError(f"Features are a table (n, width), not of shape {features.shape}.")
        self.check_width(features.shape[1])
        if k < 1:
            raise UsageError(f"A search needs at least one neighbour, not {k}.")
        # The setting belongs to the calling thread. One thread: a block has a few dozen rows, and
        # OpenMP would wake a pool that the networks need.
        faiss.omp_set_num_threads(1)
        rows = np.ascontiguousarray(features, dtype=np.float32)
        distances, ids, vectors = self._ivf.search_and_reconstruct(rows, k)
        return Neighbours(distances, ids, vectors)

    def retrieve(self, features: Float32, k: int = NEIGHBOURS) -> Float32:
        """Weighted mean of the nearest training features.

        The weight of a neighbour at squared distance D is 1/D**2, normalised over the
        neighbours, as in RVC's ``infer/rtrvc.py``. An exact hit takes all the weight (the
        reference divides by zero there). Neighbours that are missing, or not finite, have
        none; a row with no neighbour at all is returned as it came.

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
        # (nearest/D)**2 is proportional to 1/D**2, and needs no guard against tiny distances.
        ratio = np.divide(nearest, squared, out=np.zeros_like(squared), where=found & (squared > 0))
        weights = np.where(squared == 0, 1.0, ratio) ** 2
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        safe = np.where(found[:, :, None], vectors, np.float32(0))
        mean: Float32 = np.einsum("nk,nkd->nd", weights.astype(np.float32), safe)
        return np.where(total > 0, mean, features).astype(np.float32)

    def blend(self, features: Float32, rate: float) -> Float32:
        """Move features towards the training voice.

        Parameters
        ----------
        features
            Content features at 50 Hz, (n, width).
        rate
            0 leaves them as they are, 1 replaces them by what was retrieved.

        Returns
        -------
        ndarray
            ``rate * retrieved + (1 - rate) * features``, (n, width) float32.

        Raises
        ------
        UsageError
            The rate is outside 0..1, or as `search`.
        """
        if not 0.0 <= rate <= 1.0:
            raise UsageError(f"The index rate goes from 0 to 1, not {rate}.")
        if rate == 0.0:
            self.check_width(features.shape[-1])
            return features
        blended = rate * self.retrieve(features) + (1.0 - rate) * features
        return blended.astype(np.float32, copy=False)


def load_index(path: str | Path) -> FeatureIndex:
    """Open the index of a voice.

    Parameters
    ----------
    path
        An ``added_IVF..._Flat_....index`` file, or Applio's ``{name}.index``.

    Returns
    -------
    FeatureIndex
        Ready to search; the vectors are in memory once.

    Raises
    ------
    RtvcError
        The file cannot be read, is damaged, is another kind of index, or holds no vectors
        (the ``trained_`` file that training leaves beside the useful one).
    """
    import faiss

    file = Path(path)
    header = check_ivf_flat(file)
    if header.total == 0:
        raise RtvcError(
            f"The index {file} is empty: it is the first of the two files that training writes. "
            "Use the one whose name begins with added_."
        )
    if header.lists > header.total:
        raise RtvcError(
            f"The index {file} is damaged: it has more lists than vectors. Get the file again, or "
            "build it again with the training tool."
        )
    try:
        ivf = faiss.read_index(str(file))
    except (RuntimeError, MemoryError) as error:
        raise RtvcError(f"The index {file} cannot be opened: {error}.") from error
    assert isinstance(ivf, faiss.IndexIVFFlat)  # as its layout says
    return FeatureIndex(ivf, header, file)
