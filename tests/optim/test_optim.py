"""Optimizers, clipping, schedules and the average of the weights."""

import importlib
import itertools
import math

import numpy as np
import pytest
from helpers import draw
from hypothesis import given
from hypothesis import strategies as st

from minivit.layers import FlatParameters, Layer, Parameter
from minivit.optim import (
    SGD,
    Adam,
    AdamW,
    ExponentialMovingAverage,
    Schedule,
    clip_by_global_norm,
    global_norm,
)

OPTIMIZERS = {
    "Adam": (Adam, {}),
    "Adam, L2": (Adam, {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    "AdamW": (AdamW, {"weight_decay": 0.1}),
    "SGD, plain": (SGD, {"momentum": 0.0}),
    "SGD": (SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    "SGD, Nesterov": (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
}
every_optimizer = pytest.mark.parametrize(
    ("make", "options"), OPTIMIZERS.values(), ids=list(OPTIMIZERS)
)


class Two(Layer):
    """A matrix, which decays, and a vector, which does not."""

    def __init__(self):
        self.bias = Parameter(draw(0, 16))
        self.weight = Parameter(draw(0, 4, 8))


def make_flat(dtype="float64"):
    layer = Two()
    return FlatParameters(layer, dtype), layer


def run(make, options, steps=10, dtype="float64"):
    """The weights after each of several steps, with given gradients and changing learning rates."""
    flat, _ = make_flat(dtype)
    optimizer = make(flat, **options)
    history = []
    for t in range(steps):
        flat.grad[...] = draw(100 + t, flat.data.size)
        optimizer.step(0.1 / (t + 1))
        history.append(flat.data.copy())
    return np.array(history)


@every_optimizer
def test_ten_steps_agree_with_pytorch(make, options):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    flat, layer = make_flat()
    decay = options.get("weight_decay", 0.0)
    tensors = [torch.tensor(p.data.copy()) for p in (layer.weight, layer.bias)]
    groups = [
        {"params": [tensors[0]], "weight_decay": decay},
        {"params": [tensors[1]], "weight_decay": 0.0},
    ]
    others = {name: value for name, value in options.items() if name != "weight_decay"}
    optimizer = getattr(torch.optim, make.__name__)(groups, lr=1.0, **others)
    for t, found in enumerate(run(make, options)):
        grads = flat.views(draw(100 + t, flat.data.size))
        for tensor, name in zip(tensors, ("weight", "bias"), strict=True):
            tensor.grad = torch.from_numpy(grads[name].copy())
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (t + 1)
        optimizer.step()
        expected = torch.cat([tensor.flatten() for tensor in tensors]).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "options", "expected"),
    [
        (Adam, {}, [0.9, 0.9]),
        (
            Adam,
            {"weight_decay": 0.5},
            [0.9, 0.9],
        ),  # the size of a first step is just the learning rate
        (AdamW, {"weight_decay": 0.5}, [0.95 - 0.1, 0.9]),
        (SGD, {}, [0.8, 0.8]),
        (SGD, {"weight_decay": 0.5}, [0.75, 0.8]),
        (SGD, {"nesterov": True}, [1 - 0.1 * (2 + 0.9 * 2)] * 2),
        (SGD, {"nesterov": True, "weight_decay": 0.5}, [1 - 0.1 * 1.9 * 2.5, 1 - 0.1 * 1.9 * 2]),
    ],
)
def test_a_first_step_computed_by_hand(make, options, expected):
    flat, layer = make_flat()
    flat.data[...], flat.grad[...] = 1.0, 2.0
    make(flat, **options).step(0.1)
    np.testing.assert_allclose(layer.weight.data, expected[0], rtol=1e-7)
    np.testing.assert_allclose(layer.bias.data, expected[1], rtol=1e-7)


@every_optimizer
def test_only_parameters_with_at_least_two_axes_decay(make, options):
    flat, layer = make_flat()
    before = layer.weight.data.copy(), layer.bias.data.copy()
    make(flat, **options).step(0.01)  # no gradient, so any change comes from decay
    assert (np.abs(layer.weight.data) < np.abs(before[0])).all() == ("weight_decay" in options)
    np.testing.assert_array_equal(layer.bias.data, before[1])


@pytest.mark.parametrize("block", [1, 2, 5, 12, 16])
@every_optimizer
def test_the_block_size_does_not_matter(make, options, block, monkeypatch):
    """12 of 17 numbers decay; the blocks end before, at and after that boundary."""
    whole = run(make, options)
    monkeypatch.setattr(importlib.import_module("minivit.backend.blocks"), "BLOCK", block)
    np.testing.assert_array_equal(run(make, options), whole)


@every_optimizer
def test_no_float64_enters_float32_weights(make, options):
    flat, _ = make_flat("float32")
    optimizer = make(flat, **options)
    optimizer.step(np.float64(0.1))
    found = [flat.data, flat.grad, *optimizer.moments.values()]
    assert {str(array.dtype) for array in found} == {"float32"}
    single, double = (run(make, options, dtype=dtype)[-1] for dtype in ("float32", "float64"))
    np.testing.assert_allclose(single, double, atol=1e-4)


@every_optimizer
def test_a_step_does_not_modify_the_gradient(make, options):
    flat, _ = make_flat()
    flat.grad[...] = draw(1, flat.data.size)
    before = flat.grad.copy()
    make(flat, **options).step(0.1)
    np.testing.assert_array_equal(flat.grad, before)


@pytest.mark.parametrize("make", [Adam, AdamW, SGD])
def test_steps_are_counted_and_moments_survive_zero_grad(make):
    flat, _ = make_flat()
    optimizer = make(flat)
    for step in range(1, 4):
        flat.grad[...] = 1.0
        optimizer.step(0.1)
        saved = {name: moment.copy() for name, moment in optimizer.moments.items()}
        flat.zero_grad()
        assert optimizer.steps == step
        assert saved
        for name, moment in optimizer.moments.items():
            assert moment.all()
            np.testing.assert_array_equal(moment, saved[name])


def test_a_constant_gradient_moves_adam_by_the_learning_rate_each_step():
    """So the bias correction counts steps: with t stuck at 1, the step size would change."""
    flat, _ = make_flat()
    optimizer, start = Adam(flat), flat.data.copy()
    for step in range(1, 6):
        flat.grad[...] = 3.0
        optimizer.step(0.1)
        np.testing.assert_allclose(start - flat.data, 0.1 * step, rtol=1e-6)


# Clipping


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_a_long_gradient_is_clipped_and_a_short_one_is_unchanged(length, max_norm):
    grad = draw(0, 7)
    grad *= length / np.sqrt((grad**2).sum())
    before = grad.copy()
    assert float(global_norm(grad)) == pytest.approx(length)
    assert float(clip_by_global_norm(grad, max_norm)) == pytest.approx(length)
    np.testing.assert_allclose(grad, before * min(1.0, max_norm / length))


def test_clipping_a_zero_gradient_and_a_float32_gradient():
    zero = np.zeros(3)
    assert clip_by_global_norm(zero, 1.0) == 0.0
    assert zero.tolist() == [0.0, 0.0, 0.0]
    grad = np.array([3.0, 4.0], "float32")
    norm = clip_by_global_norm(grad, 1.0)
    assert norm.dtype == grad.dtype == np.float32
    assert grad.tolist() == pytest.approx([0.6, 0.8])


def test_clipping_leaves_a_tiny_gradient_unchanged():
    grad = np.array([3e-14, -4e-14])
    clip_by_global_norm(grad, 1.0)
    assert grad.tolist() == [3e-14, -4e-14]


# Schedule


@pytest.mark.parametrize(
    ("kind", "middle", "end"),
    [("cosine", 0.55, 0.1), ("linear", 0.55, 0.1), ("constant", 1.0, 1.0)],
)
def test_learning_rates_at_known_steps(kind, middle, end):
    schedule = Schedule(kind, peak=1.0, warmup=10, total=110, final=0.1)
    assert [schedule(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert schedule(60) == pytest.approx(middle)
    assert schedule(110) == pytest.approx(end)
    assert schedule(1000) == pytest.approx(end)


def test_decay_may_take_a_single_step():
    schedule = Schedule("linear", peak=1.0, warmup=10, total=11, final=0.1)
    assert [schedule(10), schedule(11)] == pytest.approx([1.0, 0.1])


def test_cosine_and_linear_differ_between_their_common_points():
    cosine, linear = (Schedule(kind, 1.0, 0, 100)(25) for kind in ("cosine", "linear"))
    assert cosine == pytest.approx(0.5 * (1.0 + math.cos(math.pi / 4)))
    assert linear == pytest.approx(0.75)


@given(
    st.sampled_from(["cosine", "linear", "constant"]),
    st.integers(0, 30),
    st.integers(1, 60),
    st.floats(0.0, 0.5),
)
def test_the_learning_rate_rises_to_the_peak_and_then_never_rises(kind, warmup, total, final):
    schedule = Schedule(kind, 0.5, warmup, total, final)
    rates = [schedule(step) for step in range(max(warmup, total) + 5)]
    rise, fall = rates[:warmup], rates[warmup:]
    assert rise == sorted(rise)
    assert all(later <= rate + 1e-15 for rate, later in itertools.pairwise(fall))
    assert fall[0] == pytest.approx(0.5)
    assert min(rates) > 0.0 or final == 0.0


# Average of the weights


def test_the_average_after_three_steps_computed_by_hand():
    ema = ExponentialMovingAverage(np.array([1.0]), decay=0.2)
    expected = 1.0
    for step, weight in enumerate([2.0, 4.0, 8.0], 1):
        ema.update(np.array([weight]), step)
        d = [2 / 11, 0.2, 0.2][step - 1]  # (1 + t)/(10 + t) while that is below the decay
        expected = d * expected + (1.0 - d) * weight
    assert ema.average[0] == pytest.approx(expected)


def test_the_average_owns_its_array_and_does_not_depend_on_blocks(monkeypatch):
    monkeypatch.setattr(importlib.import_module("minivit.backend.blocks"), "BLOCK", 3)
    data = draw(0, 8).astype("float32")
    ema = ExponentialMovingAverage(data, 0.9)
    before, target = data.copy(), draw(1, 8).astype("float32")
    ema.update(target, step=10_000)
    np.testing.assert_allclose(ema.average, 0.9 * before + 0.1 * target, rtol=1e-5)
    np.testing.assert_array_equal(data, before)
    assert ema.average.dtype == np.float32
