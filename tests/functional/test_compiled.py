"""The compiled twins agree with their NumPy pairs, and are used where they should be."""

import dataclasses
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

from minivit import functional as F
from minivit.backend import twins as twins_module
from minivit.backend import use_twins
from minivit.engine.objective import Classification
from minivit.engine.parallel import DataParallel
from minivit.functional import compiled, gelu, layernorm, softmax
from minivit.models import ViT, ViTConfig

NUMBA = pytest.mark.skipif(bool(twins_module.unavailable_reason()), reason="needs Numba")
SHAPES = [(1, 1), (1, 300), (300, 5), (7, 65), (2, 3, 5, 33), (40, 16)]
FORWARDS = ["gelu_forward", "gelu_tanh_forward", "layernorm_forward", "softmax_forward"]


@pytest.fixture
def twins():
    return compiled.find_twins()


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pair(name):
    """The NumPy pair, run in a thread that uses no twins."""
    return getattr(gelu, name, None) or getattr(F, name)


def arguments(name, shape):
    x = 2 * numbers(shape, 1)
    if name == "layernorm_forward":
        return x, numbers(shape[-1:], 2), numbers(shape[-1:], 3)
    return (x,)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def relative(found, expected):
    return np.abs(found - expected).max() / max(1e-30, np.abs(expected).max())


@NUMBA
def test_every_pair_that_may_have_a_twin_has_one(twins):
    marked = {
        name
        for module in (F.gelu, F.layernorm, F.pooling, F.softmax, F.flash_attention)
        for name, function in vars(module).items()
        if hasattr(function, "__wrapped__") and function.__module__ == module.__name__
    }
    assert set(twins) == marked
    assert len(marked) == 15


@NUMBA
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FORWARDS)
def test_forward_and_backward_agree_with_the_pair_in_float64(name, shape, twins):
    args = arguments(name, shape)
    exact_args = [a.astype(np.float64) for a in args]
    out, cache = twins[name](*args)
    expected, exact_cache = pair(name)(*exact_args)
    assert out.dtype == np.float32
    assert out.shape == shape
    assert relative(out, expected) < 2e-6
    backward = name.replace("forward", "backward")
    dout = numbers(shape, 4)
    found = as_tuple(twins[backward](dout, cache))
    expected_grads = as_tuple(pair(backward)(dout.astype(float), exact_cache))
    for one, other in zip(found, expected_grads, strict=True):
        assert one.dtype == np.float32
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 2e-6 * max(1.0, np.abs(other).max())


@NUMBA
@pytest.mark.parametrize("name", FORWARDS)
def test_strided_views_are_read_correctly_and_not_modified(name, twins):
    wide = numbers((6, 2, 30))
    view = wide[:, 1, ::2]
    args = (view, *arguments(name, (15,))[1:])
    original = wide.copy()
    out, cache = twins[name](*args)
    np.testing.assert_array_equal(out, twins[name](view.copy(), *args[1:])[0])
    backward = twins[name.replace("forward", "backward")]
    transposed = numbers((15, 6)).T
    first, second = backward(transposed, cache), backward(transposed.copy(), cache)
    for a, b in zip(as_tuple(first), as_tuple(second), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(wide, original)


@NUMBA
def test_gelu_without_a_cache_agrees_with_forward(twins):
    x = 3 * numbers((17, 9))
    for name in ("gelu", "gelu_tanh"):
        np.testing.assert_allclose(twins[name](x), twins[f"{name}_forward"](x)[0], atol=1e-6)


POOLINGS = [(3, 2, 1), (2, 2, 0), (3, 1, 1), (3, 2, 0), (1, 2, 0), (5, 3, 2)]


@NUMBA
@pytest.mark.parametrize(("size", "stride", "padding"), POOLINGS)
@pytest.mark.parametrize("shape", [(2, 8, 8, 16), (3, 7, 5, 3), (1, 5, 6, 33)], ids=str)
def test_max_pooling_agrees_with_its_pair_also_where_numbers_are_equal(
    shape, size, stride, padding, twins
):
    wide = numbers((*shape[:3], 2 * shape[3]))
    x = np.maximum(wide[..., ::2], 0)  # many zeros: the first of them is the maximum
    x[0, 1, 2, 0] = np.nan
    x[0, 3, 3, 1] = -np.inf
    args = (x, size, stride, padding)
    original = x.copy()
    y, cache = twins["max_pool_forward"](*args)
    expected, exact_cache = pair("max_pool_forward")(*args)
    np.testing.assert_array_equal(y, expected)
    valid = ~np.isnan(y)
    np.testing.assert_array_equal(cache.argmax[valid], exact_cache.argmax[valid])
    assert tuple(cache)[1:] == tuple(exact_cache)[1:]
    dy = numbers((*y.shape[:3], 2 * y.shape[3]), 1)[..., ::2]
    dx = twins["max_pool_backward"](dy, exact_cache)
    assert (dx.dtype, dx.shape) == (np.float32, shape)
    np.testing.assert_allclose(dx, pair("max_pool_backward")(dy, exact_cache), atol=1e-6)
    np.testing.assert_array_equal(x, original)


@NUMBA
def test_exp_is_accurate_to_a_few_rounding_errors():
    from minivit.functional.compiled import loops

    x = np.linspace(-87, 87, 200_001, dtype=np.float32)
    rows = x.reshape(1, -1).copy()
    loops.shifted_exp(rows, np.zeros((1, 1), np.float32))
    assert np.abs(rows[0] / np.exp(x.astype(float)) - 1).max() < 3e-7


@NUMBA
@pytest.mark.parametrize("largest", [39.0, 41.0, 1e4, 3e38])
def test_softmax_of_any_finite_scores_adds_up_to_one(largest, twins):
    scores = numbers((33, 20))
    scores[5, 3], scores[20, 19] = largest, -largest
    probs, _ = twins["softmax_forward"](scores)
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(probs, pair("softmax_forward")(scores)[0], atol=1e-6)


@NUMBA
@pytest.mark.parametrize("shift", [0.0, -1e4, 1e4])
def test_an_online_softmax_agrees_with_that_of_the_whole_row(shift, twins):
    scores, values = shift + 3 * numbers((7, 48)), numbers((48, 5), 1)
    row_max = np.full((7, 1), -np.inf, np.float32)
    row_sum, out = np.zeros_like(row_max), np.zeros((7, 5), np.float32)
    for keys in (slice(0, 16), slice(16, 17), slice(17, 48)):
        weights, *_ = twins["online_softmax"](scores[:, keys].copy(), row_max, row_sum, out)
        out += weights @ values[keys]
    np.testing.assert_array_equal(row_max, scores.max(-1, keepdims=True))
    expected = pair("softmax_forward")(scores.astype(float))[0] @ values
    np.testing.assert_allclose(out / row_sum, expected, atol=2e-6)


@NUMBA
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_not_hidden(bad, twins):
    x = numbers((20, 9))
    x[3, 4] = bad
    with np.errstate(invalid="ignore"):
        probs = twins["softmax_forward"](x)[0]
    assert np.isnan(probs[3]).all()
    assert np.isfinite(np.delete(probs, 3, 0)).all()
    y = twins["layernorm_forward"](x, *arguments("layernorm_forward", (9,))[1:])[0]
    assert np.isnan(y[3]).all()
    assert np.isfinite(np.delete(y, 3, 0)).all()
    for name in ("gelu_forward", "gelu_tanh_forward"):
        y = twins[name](x)[0]
        assert not np.isfinite(y[3, 4])
        assert np.isfinite(np.delete(y.ravel(), 31)).all()


WIDE = ViTConfig(image_size=32, patch_size=4, dim=64, depth=2, num_heads=4, pool="mean")


def gradients(dtype, config=WIDE):
    model = ViT(config, dtype=dtype)
    model.flat.data[...] = np.random.default_rng(0).normal(0, 0.1, model.flat.data.shape)
    images, labels = numbers((16, 3, 32, 32)), np.arange(16) % 10
    with DataParallel(model, 2) as workers:
        workers.loss_and_gradients(images, labels, Classification(0.1), 0, 0)
        logits = workers.logits(images)
    return model.flat.grad, logits


@NUMBA
@pytest.mark.parametrize("keys", [512, 16])
def test_gradients_of_a_model_agree_with_float64(keys, monkeypatch):
    """keys: with 16, attention is computed in blocks."""
    used = []
    from minivit.functional.compiled import twins as compiled_twins

    for module in ("attention", "flash_attention"):
        monkeypatch.setattr(f"minivit.functional.{module}.KEYS", keys)
    monkeypatch.setattr(twins_module, "LARGE", 64)

    def recorded(name):
        twin = getattr(compiled_twins, name)
        return lambda *args: used.append(name) or twin(*args)

    found = {name: recorded(name) for name in compiled.find_twins()}
    monkeypatch.setattr("minivit.engine.parallel.find_twins", lambda: found)
    grad, logits = gradients("float32")
    exact, exact_logits = gradients("float64")
    assert relative(grad, exact) < 1e-5
    assert relative(logits, exact_logits) < 1e-5
    attention = (
        {"online_softmax", "shifted_exp", "scores_gradient"} if keys == 16 else {"softmax_forward"}
    )
    assert attention | {"gelu", "gelu_backward", "layernorm_forward"} <= set(used)


@NUMBA
def test_gradients_of_a_hybrid_agree_with_float64(monkeypatch):
    monkeypatch.setattr(twins_module, "LARGE", 64)
    hybrid = dataclasses.replace(WIDE, stem="conv", residual_convs=1)
    grad, logits = gradients("float32", hybrid)
    exact, exact_logits = gradients("float64", hybrid)
    assert relative(grad, exact) < 1e-5
    assert relative(logits, exact_logits) < 1e-5


def chosen(x, find_twins, function=layernorm.layernorm_forward):
    """The function's result in a separate thread that uses these twins."""
    found = []

    def work():
        if find_twins is not None:
            use_twins(find_twins)
        found.append(function(x, x[0], x[0]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def test_twins_are_used_only_in_threads_that_ask_and_for_large_float32():
    marked = {"layernorm_forward": lambda *_: "twin"}
    large = numbers((twins_module.LARGE // 8, 8))
    assert chosen(large, lambda: marked) == "twin"
    for x, find_twins in (
        (large, None),
        (large[1:], lambda: marked),
        (large.astype(float), lambda: marked),
        (large, dict),
    ):
        assert isinstance(chosen(x, find_twins), tuple)


@NUMBA
def test_a_formula_changed_by_the_user_is_used_in_training(monkeypatch):
    original = layernorm.layernorm_forward

    def layernorm_forward(x, gamma, beta, eps=1e-3):
        y, cache = original(x, gamma, beta, eps)
        return y, tuple(cache)

    monkeypatch.setattr(layernorm, "layernorm_forward", layernorm_forward)
    with pytest.warns(UserWarning, match="layernorm_forward differs from its compiled twin"):
        found = compiled.find_twins.__wrapped__()
    assert set(compiled.find_twins()) - set(found) == {"layernorm_forward"}

    def softmax_forward(scores):
        return None, {"probs": scores}

    def softmax_backward(dprobs, cache):
        return cache["probs"]

    monkeypatch.setattr(softmax, "softmax_forward", softmax_forward)
    monkeypatch.setattr(softmax, "softmax_backward", softmax_backward)
    with pytest.warns(UserWarning, match="softmax"):
        found = compiled.find_twins.__wrapped__()
    assert not {"softmax_forward", "softmax_backward"} & set(found)


def python(program, **environment):
    import os

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.split("\n")[0]


SHOW = (
    "from minivit.functional.compiled import find_twins; from minivit.backend.twins import *;"
    "from minivit.backend.machine import describe_arithmetic;"
    "print(len(find_twins()), describe_twins(), 'Numba' in describe_arithmetic())"
)


def test_twins_can_be_switched_off():
    assert python(SHOW, MINIVIT_NUMBA="0") == "0 NumPy; off (MINIVIT_NUMBA=0) False"


@NUMBA
def test_the_implementation_in_use_is_reported(tmp_path):
    assert python(SHOW).startswith("15 Numba ")
    assert python(SHOW).endswith(" True")
    assert python(SHOW, NUMBA_DISABLE_JIT="1") == "0 NumPy; off (NUMBA_DISABLE_JIT) False"
    (tmp_path / "numba.py").write_text("raise ImportError('not this NumPy')", encoding="utf-8")
    unfit = "import warnings; warnings.simplefilter('ignore');" + SHOW
    assert python(unfit, PYTHONPATH=f"{tmp_path}:.").startswith("0 ")


@NUMBA
def test_without_a_cache_folder_twins_are_still_compiled(monkeypatch):
    import numba

    from minivit.functional.compiled import loops

    njit = numba.njit

    def full(*args, cache=False, **options):
        if cache:
            raise OSError(28, "No space left on device")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", full)
    double = loops.compiled("void(float32[::1])")(lambda x: x.fill(2))
    x = np.zeros(3, np.float32)
    double(x)
    assert (x == 2).all()


def test_a_pair_keeps_its_name_and_formula():
    assert F.softmax_forward.__name__ == "softmax_forward"
    assert "softmax" in F.softmax_forward.__module__
    assert ".. math::" in F.softmax_forward.__doc__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert F.softmax_forward(np.zeros((1, 4), np.float32))[0].sum() == 1
