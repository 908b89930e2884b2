import numpy as np
import pytest

from rtvc.engine.weights.errors import ContentError
from rtvc.engine.weights.strict import as_float32, check_keys
from rtvc.engine.weights.weight_norm import fold, fold_weight_norm


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((6, 4, 5), 0), ((8, 4, 16), 0), ((12, 3, 8), 2), ((5, 7), 0), ((1, 6, 7), 0)],
    ids=["conv", "transposed conv", "positional conv", "linear", "one output"],
)
def test_slices_along_the_kept_axis_have_the_gain_as_norm(shape, axis):
    rng = np.random.default_rng(7)
    v = rng.standard_normal(shape).astype(np.float32)
    g_shape = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    g = rng.uniform(0.5, 2, g_shape).astype(np.float32)
    w = fold(g, v)
    assert w.dtype == np.float32
    others = tuple(i for i in range(v.ndim) if i != axis)
    exact = (
        g.astype(np.float64) * v / np.sqrt((v.astype(np.float64) ** 2).sum(others, keepdims=True))
    )
    np.testing.assert_allclose(w, exact, rtol=1e-6)
    norms = np.linalg.norm(np.moveaxis(w, axis, 0).reshape(shape[axis], -1), axis=1)
    np.testing.assert_allclose(norms, g.ravel(), rtol=1e-6)


def test_half_precision_is_converted_before_squaring():
    v = np.array([[[300.0, 400.0]], [[3e-5, 4e-5]]], np.float16)
    g = np.array([[[1.0]], [[2.0]]], np.float16)
    w = fold(g, v)
    np.testing.assert_allclose(w[0, 0], [0.6, 0.8], rtol=1e-6)
    expected = 2 * v[1, 0].astype(np.float64) / np.linalg.norm(v[1, 0].astype(np.float64))
    np.testing.assert_allclose(w[1, 0], expected, rtol=1e-5)


def test_both_spellings_give_the_same_and_other_names_are_unchanged():
    g, v, b = (
        np.ones((4, 1, 1), np.float32),
        np.random.default_rng(7).standard_normal((4, 2, 3)),
        np.zeros(4),
    )
    old = fold_weight_norm({"a.bias": b, "a.weight_g": g, "a.weight_v": v, "plain.weight": b})
    new = fold_weight_norm(
        {
            "a.parametrizations.weight.original1": v,
            "a.parametrizations.weight.original0": g,
            "a.bias": b,
            "plain.weight": b,
        }
    )
    assert old.keys() == new.keys() == {"a.bias", "a.weight", "plain.weight"}
    np.testing.assert_array_equal(old["a.weight"], new["a.weight"])
    np.testing.assert_allclose(np.linalg.norm(old["a.weight"].reshape(4, -1), axis=1), 1, rtol=1e-6)
    assert fold_weight_norm(old).keys() == old.keys()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a.weight_g": (4, 1, 1)}, "'a.weight_v' is missing"),
        ({"a.weight_v": (4, 2, 3)}, "'a.weight_g' is missing"),
        ({"a.parametrizations.weight.original0": (4, 1, 1)}, "original1' is missing"),
        ({"a.weight_g": (3, 1, 1), "a.weight_v": (4, 2, 3)}, "do not fit"),
        ({"a.weight_g": (1, 1, 1), "a.weight_v": (4, 2, 3)}, "do not fit"),
        ({"a.weight_g": (4,), "a.weight_v": (4, 2, 3)}, "do not fit"),
        ({"a.weight_g": (), "a.weight_v": ()}, "do not fit"),
        (
            {"a.weight": (4, 2, 3), "a.weight_g": (4, 1, 1), "a.weight_v": (4, 2, 3)},
            "'a.weight' is listed twice",
        ),
    ],
)
def test_pairs_that_do_not_match(weights, message):
    with pytest.raises(ContentError, match=message):
        fold_weight_norm({name: np.ones(shape) for name, shape in weights.items()})


def test_check_keys_lists_the_differences():
    expected = {f"layer.{i}.weight": (2, 3) for i in range(6)} | {"b": (4,), "scalar": ()}
    actual = {name: np.zeros(shape) for name, shape in expected.items()}
    check_keys(expected, actual)
    for i in range(5):
        del actual[f"layer.{i}.weight"]
    actual["b"] = np.zeros((5, 4))
    actual["scalar"] = np.zeros(1)
    actual["ex\x1btra"] = np.zeros(1)
    with pytest.raises(ContentError) as caught:
        check_keys(expected, actual)
    assert str(caught.value) == (
        "its weights do not fit the network: 5 missing (layer.0.weight, layer.1.weight, "
        "layer.2.weight and 2 more); 1 unexpected (extra); 2 mis-shaped (b 5x4 instead of 4, "
        "scalar 1 instead of scalar)"
    )


def test_values_must_be_finite_floating_point_numbers():
    halves = as_float32({"a": np.array([0.5], np.float16), "b": np.array([2.0], np.float64)})
    assert {a.dtype for a in halves.values()} == {np.dtype(np.float32)}
    for bad in ([np.nan], [np.inf], [1e300]):
        with pytest.raises(ContentError, match="'a' contains values that are not finite"):
            as_float32({"a": np.array(bad)})
    with pytest.raises(ContentError, match="floating-point"):
        as_float32({"a": np.array([1])})
