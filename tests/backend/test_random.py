"""Random numbers that do not depend on which worker draws them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.backend import RandomStream
from minivit.backend.random import Purpose, generator

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4)


@given(shapes, st.data())
def test_a_row_does_not_depend_on_how_the_batch_is_split(shape, data):
    split = data.draw(st.integers(0, shape[0]))
    whole, start, remaining = RandomStream(3, 5), RandomStream(3, 5), RandomStream(3, 5, split)
    for _ in range(3):
        expected = whole.uniform((shape[0], *shape[1:]))
        pieces = [
            start.uniform((split, *shape[1:])),
            remaining.uniform((shape[0] - split, *shape[1:])),
        ]
        np.testing.assert_array_equal(np.concatenate(pieces), expected)
        assert expected.shape == tuple(shape)


def test_numbers_repeat_for_the_same_place():
    a, b = RandomStream(1, 2, 3), RandomStream(1, 2, 3)
    for shape in ((4, 5), (2,)):
        np.testing.assert_array_equal(a.uniform(shape), b.uniform(shape))


def test_numbers_differ_between_rows_draws_steps_and_seeds():
    """No number appears twice: with 2^24 possible values, a chance match among these 192 is
    unlikely."""
    drawn = []
    for seed, step in ((0, 0), (0, 1), (1, 0)):
        stream = RandomStream(seed, step)
        drawn += [stream.uniform((4, 8)), stream.uniform((4, 8))]
    numbers = np.concatenate(drawn).ravel()
    assert len(np.unique(numbers)) == numbers.size


@pytest.mark.parametrize("shape", [(100_000,), (1000, 100), (100, 7, 143)])
def test_numbers_are_uniform(shape):
    numbers = RandomStream(0).uniform(shape)
    assert numbers.dtype == np.float32
    assert numbers.shape == shape
    assert 0.0 <= numbers.min() < 1e-3
    assert 1.0 - 1e-3 < numbers.max() < 1.0
    assert numbers.mean() == pytest.approx(0.5, abs=0.005)
    assert numbers.var() == pytest.approx(1 / 12, abs=0.002)
    flat = numbers.ravel() - 0.5
    adjacent = (flat[1:] * flat[:-1]).mean() * 12
    assert abs(adjacent) < 0.02


def test_each_purpose_and_place_has_its_own_generator():
    keys = [(seed, purpose, index) for seed in (0, 1) for purpose in Purpose for index in (0, 1)]
    firsts = [generator(seed, purpose, index).random() for seed, purpose, index in keys]
    assert len(set(firsts)) == len(keys)
    assert generator(0, Purpose.INIT).random() == generator(0, Purpose.INIT).random()
