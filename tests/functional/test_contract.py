"""The contract of every pair: arguments are not modified, no state is kept, and dtypes are
preserved."""

from unittest.mock import patch

import numpy as np
import pytest

from minivit import functional
from minivit.gradcheck import cases


def collect_pairs() -> dict[str, tuple]:
    """name -> (forward, backward, inputs, options) of every pair in the table of checks."""
    collected = {}
    for name, case in cases.pairs():
        with patch.object(cases, "check_pair", lambda *args, **budget: args):
            forward, backward, inputs, *options = case()
        collected[name] = (forward, backward, inputs, options)
    return collected


PAIRS = collect_pairs()


def arrays_in(value) -> list:
    """All arrays in nested tuples."""
    if isinstance(value, tuple | list):
        return [array for member in value for array in arrays_in(member)]
    return [value] if hasattr(value, "dtype") else []


def as_tuple(value) -> tuple:
    return value if type(value) is tuple else (value,)


def prepare(name, xp, dtype):
    """The pair and its arguments, with dtype `dtype`, on the device of `xp`."""

    def move(value):
        if not isinstance(value, np.ndarray):
            return value
        return xp.asarray(value, dtype if value.dtype.kind == "f" else value.dtype)

    forward, backward, inputs, options = PAIRS[name]
    return forward, backward, [*map(move, inputs.values()), *map(move, options)]


def random_like(xp, out):
    numbers = np.random.default_rng(1).standard_normal(out.shape)
    return xp.asarray(numbers, out.dtype) if out.ndim else 1.5


def test_every_pair_of_functional_is_in_the_table():
    public = {n.removesuffix("_forward") for n in functional.__all__ if n.endswith("_forward")}
    assert public
    assert public <= set(PAIRS)
    assert {f"{name}_backward" for name in public} <= set(functional.__all__)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_the_dtype_is_preserved(name, dtype, xp):
    forward, backward, args = prepare(name, xp, dtype)
    out, cache = forward(*args)
    gradients = as_tuple(backward(random_like(xp, out), cache))
    found = [out, *gradients, *arrays_in(cache)]
    assert {str(a.dtype) for a in found if a.dtype.kind == "f"} == {dtype}
    assert {type(a).__module__.split(".")[0] for a in (out, *gradients)} == {xp.__name__}


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_have_the_shapes_of_their_inputs(name, xp):
    forward, backward, args = prepare(name, xp, "float64")
    out, cache = forward(*args)
    gradients = as_tuple(backward(random_like(xp, out), cache))
    shapes = [array.shape for array in args[: len(PAIRS[name][2])]]
    assert [gradient.shape for gradient in gradients] == shapes


@pytest.mark.parametrize("name", PAIRS)
def test_arguments_are_not_modified(name, xp):
    forward, backward, args = prepare(name, xp, "float64")
    before = [array.copy() for array in arrays_in(args)]
    out, cache = forward(*args)
    results = [array.copy() for array in (out, *arrays_in(cache))]
    dout = random_like(xp, out)
    dout_copy = xp.array(dout)
    backward(dout, cache)
    assert all(bool((a == b).all()) for a, b in zip(arrays_in(args), before, strict=True))
    assert bool((xp.asarray(dout) == dout_copy).all())
    results_after = (out, *arrays_in(cache))
    assert all(bool((a == b).all()) for a, b in zip(results_after, results, strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_no_state_is_kept_between_calls(name, xp):
    forward, backward, args = prepare(name, xp, "float64")
    out, cache = forward(*args)
    dout = random_like(xp, out)
    first = as_tuple(backward(dout, cache))
    forward(*[2 * a if a.dtype.kind == "f" else a for a in args[:1]], *args[1:])
    again, _ = forward(*args)
    second = as_tuple(backward(dout, cache))
    assert bool((out == again).all())
    assert all(bool((a == b).all()) for a, b in zip(first, second, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("name", PAIRS)
def test_cupy_agrees_with_numpy(name, cupy):
    results = []
    for xp in (np, cupy):
        forward, backward, args = prepare(name, xp, "float64")
        out, cache = forward(*args)
        gradients = as_tuple(backward(random_like(xp, out), cache))
        results.append([xp.asarray(a) for a in (out, *gradients)])
    for host, device in zip(*results, strict=True):
        np.testing.assert_allclose(device.get(), host, rtol=1e-9, atol=1e-11)
