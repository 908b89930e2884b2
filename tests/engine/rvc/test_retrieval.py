"""Retrieval against the reference, and files that are no good."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rtvc.engine.rvc import loading
from rtvc.engine.rvc.retrieval import FeatureIndex, load_index
from rtvc.errors import RtvcError, UsageError

GOLDEN = Path(__file__).parents[2] / "golden"
ADDED = GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v1.index"
TRAINED = GOLDEN / "trained_IVF16_Flat_nprobe_1_golden_v1.index"
EXACT = 0  # the row of the queries that is itself in the index


@pytest.fixture(scope="module")
def index() -> FeatureIndex:
    return load_index(ADDED)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "index_v1.npz") as file:
        return dict(file)


def _ivf(vectors: np.ndarray, lists: int, probes: int = 1) -> Any:
    width = vectors.shape[1]
    # The wheel comes with types that do not know what this kind of index has.
    ivf: Any = faiss.index_factory(width, f"IVF{lists},Flat")
    ivf.cp.min_points_per_centroid = 1
    ivf.train(vectors)
    ivf.add(vectors)
    ivf.nprobe = probes
    return ivf


def _written(ivf: faiss.Index, path: Path) -> Path:
    faiss.write_index(ivf, str(path))
    return path


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def test_a_v2_index_gives_the_references_neighbours() -> None:
    wide = load_index(GOLDEN / "added_IVF16_Flat_nprobe_1_golden_v2.index")
    with np.load(GOLDEN / "index_v2.npz") as golden:
        query, ids, score, retrieved = (golden[n] for n in ("query", "ids", "score", "retrieved"))
    assert (wide.width, wide.total) == (768, 2000)
    found = wide.search(query)
    assert_array_equal(found.ids, ids)
    assert_allclose(found.distances, score, rtol=1e-6)
    blended = wide.blend(query, 1.0)
    others = np.arange(len(query)) != EXACT
    assert_allclose(blended[others], retrieved[others], atol=1e-5)
    assert np.isfinite(blended).all()


def test_what_it_holds(index: FeatureIndex) -> None:
    assert (index.width, index.total, index.probes) == (256, 2000, 1)


def test_search(index: FeatureIndex, golden: dict[str, np.ndarray]) -> None:
    found = index.search(golden["query"])
    assert_array_equal(found.ids, golden["ids"])
    assert_allclose(found.distances, golden["score"], rtol=1e-6)
    assert faiss.omp_get_max_threads() == 1


def test_search_of_other_numbers(index: FeatureIndex, golden: dict[str, np.ndarray]) -> None:
    assert_array_equal(index.search(golden["query"], k=3).ids, golden["ids"][:, :3])


def test_blend(index: FeatureIndex, golden: dict[str, np.ndarray]) -> None:
    features, retrieved = golden["query"], golden["retrieved"]
    others = np.arange(len(features)) != EXACT
    assert np.isnan(retrieved[EXACT]).all()  # the reference divides by zero
    expected = 0.6 * retrieved + 0.4 * features
    blended = index.blend(features, 0.6)
    assert blended.dtype == np.float32
    assert_allclose(blended[others], expected[others], atol=1e-5)
    assert_array_equal(index.blend(features, 1.0)[EXACT], features[EXACT])
    assert_array_equal(index.blend(features, 0.0), features)


def test_two_exact_hits_share(tmp_path: Path) -> None:
    vectors = np.concatenate([_random(50, 8)] * 2)
    index = load_index(_written(_ivf(vectors, 2), tmp_path / "twice.index"))
    assert_allclose(index.retrieve(vectors[:5]), vectors[:5], atol=1e-6)


def test_tiny_distances_do_not_overflow(tmp_path: Path) -> None:
    vectors = _random(50, 8)
    index = load_index(_written(_ivf(vectors, 1), tmp_path / "near.index"))
    retrieved = index.retrieve(vectors[:5] + np.float32(1e-6))
    assert_allclose(retrieved, vectors[:5], atol=1e-4)


def test_missing_neighbours_have_no_weight(tmp_path: Path) -> None:
    """A list shorter than k gives ids of -1, which must not select the last vector."""
    near, far = _random(3, 8), _random(60, 8) + 50
    index = load_index(_written(_ivf(np.concatenate([near, far]), 2), tmp_path / "short.index"))
    query = near[:1] + np.float32(0.1)
    found = index.search(query)
    assert_array_equal(found.ids[0, 3:], -1)
    weights = 1 / found.distances[0, :3].astype(float) ** 2
    expected = weights @ near[found.ids[0, :3]] / weights.sum()
    assert_allclose(index.retrieve(query)[0], expected, atol=1e-5)


def test_a_row_without_neighbours_stays(tmp_path: Path) -> None:
    ivf = _ivf(_random(60, 8), 2)
    centroids = ivf.quantizer.reconstruct_n(0, 2)
    ivf.reset()
    ivf.add(np.tile(centroids[1], (9, 1)))
    index = load_index(_written(ivf, tmp_path / "one-sided.index"))
    features = centroids + np.float32(0.01)
    retrieved = index.retrieve(features)
    assert_array_equal(retrieved[0], features[0])
    assert_allclose(retrieved[1], centroids[1], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_have_no_weight(tmp_path: Path, value: float) -> None:
    vectors = _random(60, 8)
    path = _written(_ivf(vectors, 1), tmp_path / "broken.index")
    raw = path.read_bytes()
    broken = vectors[7].copy()
    broken[3] = value
    path.write_bytes(raw.replace(vectors[7].tobytes(), broken.tobytes()))
    retrieved = load_index(path).retrieve(vectors[5:10])
    assert np.isfinite(retrieved).all()
    assert_array_equal(retrieved[[0, 1, 3, 4]], vectors[[5, 6, 8, 9]])


def test_vectors_that_faiss_counts_but_does_not_keep(tmp_path: Path) -> None:
    ivf = _ivf(_random(60, 8), 2)
    ivf.add(np.full((1, 8), np.nan, np.float32))
    index = load_index(_written(ivf, tmp_path / "uncounted.index"))
    assert (ivf.ntotal, index.total) == (61, 60)


def test_probes_come_from_the_file(tmp_path: Path) -> None:
    vectors, queries = _random(200, 8), _random(40, 8) * 1.5
    ids = []
    for probes in (1, 8):
        index = load_index(_written(_ivf(vectors, 8, probes), tmp_path / "probes.index"))
        assert index.probes == probes
        ids.append(index.search(queries.astype(np.float32), k=1).ids)
    exact = ((queries[:, None] - vectors) ** 2).sum(axis=2).argmin(axis=1)
    assert_array_equal(ids[1][:, 0], exact)
    assert (ids[0] != ids[1]).any()


def test_width_is_checked(index: FeatureIndex) -> None:
    with pytest.raises(UsageError, match=r"v1 features \(width 256\), but the voice needs v2"):
        index.check_width(768)
    with pytest.raises(UsageError, match="width 768"):
        index.blend(np.zeros((3, 768), np.float32), 0.5)
    with pytest.raises(UsageError, match="width 768"):
        index.blend(np.zeros((3, 768), np.float32), 0.0)


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan])
def test_rate_is_checked(index: FeatureIndex, rate: float) -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        index.blend(np.zeros((3, 256), np.float32), rate)


def test_features_and_k_are_checked(index: FeatureIndex) -> None:
    with pytest.raises(UsageError, match="shape"):
        index.search(np.zeros(256, np.float32))
    with pytest.raises(UsageError, match="at least 1"):
        index.search(np.zeros((1, 256), np.float32), k=0)


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks take only names in UTF-8")
def test_a_path_that_is_not_utf_8(tmp_path: Path, index: FeatureIndex) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xe9re.index"))
    odd.write_bytes(ADDED.read_bytes())
    query = _random(3, index.width)
    assert_array_equal(load_index(odd).blend(query, 0.5), index.blend(query, 0.5))


def test_the_empty_file_of_training_is_refused() -> None:
    with pytest.raises(RtvcError, match="added_"):
        load_index(TRAINED)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    vectors = _random(300, 8)
    for name in ("Flat", "HNSW4,Flat", "PQ4x4", "IVF4,SQ8"):
        other = faiss.index_factory(8, name)
        other.train(vectors)
        other.add(vectors)
        with pytest.raises(RtvcError, match="IVF-Flat"):
            load_index(_written(other, tmp_path / "other.index"))
    ivf = faiss.index_factory(8, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    ivf.train(vectors)
    with pytest.raises(RtvcError, match="Euclidean"):
        load_index(_written(ivf, tmp_path / "product.index"))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(RtvcError, match="cannot be read"):
        load_index(tmp_path / "none.index")
    (tmp_path / "text.index").write_text("not an index")
    with pytest.raises(RtvcError, match="IVF-Flat"):
        load_index(tmp_path / "text.index")


def test_direct_maps_of_faiss_are_understood(tmp_path: Path) -> None:
    vectors = _random(60, 8)
    ivf = _ivf(vectors, 2)
    ivf.set_direct_map_type(faiss.DirectMap.Array)  # type: ignore[attr-defined]
    index = load_index(_written(ivf, tmp_path / "mapped.index"))
    assert_allclose(index.retrieve(vectors[:3]), vectors[:3], atol=1e-6)
    # Nobody trains one with a hash table, and its keys could be chosen to take minutes.
    ivf.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
    with pytest.raises(RtvcError, match="direct map does not match"):
        load_index(_written(ivf, tmp_path / "hashed.index"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "small.index"
    return _written(_ivf(_random(40, 4), 3), path).read_bytes()


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_damage_gives_a_sentence_or_an_index_that_works(
    small: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(small)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged) - 1))]
    else:
        at = data.draw(st.integers(0, len(damaged) - 8))
        form = data.draw(st.sampled_from(["<B", "<I", "<Q"]))
        limit = 2 ** (8 * struct.calcsize(form)) - 1
        struct.pack_into(form, damaged, at, data.draw(st.integers(0, limit)))
    path = tmp_path / "damaged.index"
    path.write_bytes(damaged)
    try:
        index = load_index(path)
    except RtvcError:  # anything else fails the test
        return
    assert np.isfinite(index.retrieve(np.ones((2, 4), np.float32))).all()


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RtvcError, match="holds no index"):
        loading.load_index(tmp_path)
    for file in (ADDED, TRAINED):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert loading.load_index(tmp_path).total == 2000
    assert loading.load_index(tmp_path / ADDED.name).total == 2000
    (tmp_path / "another.index").write_bytes(ADDED.read_bytes())
    with pytest.raises(RtvcError, match=r"another\.index"):
        loading.load_index(tmp_path)
