"""Batches: a function of the seed and the step, each image at most once an epoch."""

import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from minivit.data import Augmentation, Batches, Split, Statistics
from minivit.errors import UserError

PLAIN = Augmentation(crop=0, flip=0.0)
RICH = Augmentation(erasing=0.5, mixup=0.8, cutmix=1.0, rand_augment=1)
NUM, B, PER_EPOCH = 23, 5, 4
ASIS = Statistics((0.0, 0.0, 0.0), (1 / 255,) * 3)  # a picture keeps its numbers


def numbered():
    """Every pixel of picture i is i, and so is its label."""
    labels = np.arange(NUM)
    return Split(
        np.broadcast_to(labels[:, None, None, None], (NUM, 3, 8, 8)).astype(np.uint8), labels
    )


def batches(augmentation=PLAIN, seed=0, batch_size=B):
    return Batches(numbered(), batch_size, NUM, augmentation, ASIS, seed)


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def seen(loader, epoch):
    """The labels of an epoch's batches, a row a batch."""
    steps = range(epoch * loader.per_epoch, (epoch + 1) * loader.per_epoch)
    return np.array([loader.batch(step)[1] for step in steps])


def test_a_batch_is_a_function_of_seed_and_step():
    one, same, other = batches(RICH), batches(RICH), batches(RICH, seed=1)
    steps = [6, 0, 3, 11]
    first = {step: one.batch(step) for step in steps}
    for step in reversed(steps):
        assert_equal(first[step], same.batch(step))
        assert not np.array_equal(first[step][0], other.batch(step)[0])


def test_an_epoch_shows_each_image_at_most_once():
    loader = batches()
    assert loader.per_epoch == PER_EPOCH
    for epoch in range(3):
        labels = seen(loader, epoch).ravel()
        assert len(labels) == PER_EPOCH * B
        assert len(set(labels)) == len(labels)


def test_all_batches_of_a_training_differ():
    loader = batches()
    found = [tuple(loader.batch(step)[1]) for step in range(5 * PER_EPOCH)]
    assert len(set(found)) == len(found)


def test_each_epoch_has_its_own_order_and_leaves_out_other_images():
    loader = batches()
    orders = [seen(loader, epoch).ravel() for epoch in range(6)]
    for one, other in itertools.combinations(orders, 2):
        assert not np.array_equal(one, other)
    assert len({frozenset(range(NUM)) - set(order) for order in orders}) > 1


def test_images_stay_with_their_labels_and_are_normalized():
    images, labels = batches().batch(2)
    assert images.dtype == np.float32
    assert images.shape == (B, 3, 8, 8)
    np.testing.assert_allclose(images, np.broadcast_to(labels[:, None, None, None], images.shape))


def test_an_image_is_augmented_anew_in_each_epoch():
    loader = Batches(numbered(), NUM, NUM, Augmentation(crop=3, flip=0.0), ASIS, 0)
    first, second = (
        images[np.argsort(labels)] for images, labels in (loader.batch(0), loader.batch(1))
    )
    assert (first != second).any((1, 2, 3)).mean() > 0.5


def test_each_step_of_a_training_draws_numbers_of_its_own():
    loader = batches()
    loader.augmentation = SimpleNamespace(apply=lambda *arguments: arguments[3].random())
    drawn = [loader.batch(step) for step in range(5 * PER_EPOCH)]
    assert len(set(drawn)) == len(drawn)


def test_mixed_targets_are_shares():
    _, targets = batches(Augmentation(crop=0, flip=0, mixup=1.0)).batch(0)
    assert targets.dtype == np.float32
    assert targets.shape == (B, NUM)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (6, 9), (8, 9), (9, 9)])
def test_ahead_yields_what_batch_gives(start, stop):
    loader = batches(RICH)
    found = list(loader.ahead(start, stop))
    assert len(found) == stop - start
    for step, batch in zip(range(start, stop), found, strict=True):
        assert_equal(batch, loader.batch(step))


def test_ahead_prepares_one_batch_more_than_is_used_and_ends_its_thread():
    loader, asked, ready = batches(), [], threading.Event()
    batch = loader.batch

    def watched(step):
        asked.append(step)
        if step == 1:
            ready.set()
        return batch(step)

    loader.batch = watched
    steps = loader.ahead(0, 100)
    next(steps)
    assert ready.wait(5)
    steps.close()
    assert asked == [0, 1]
    assert not any(thread.name.startswith("minivit-batches") for thread in threading.enumerate())


def test_an_error_in_the_thread_reaches_the_caller():
    loader = batches()
    loader.statistics = Statistics((0.0,), (1.0,))
    with pytest.raises(UserError, match="deviation"):
        list(loader.ahead(0, 2))


def test_a_batch_larger_than_the_set_is_refused():
    assert batches(batch_size=NUM).per_epoch == 1
    with pytest.raises(UserError, match=f"batch_size {NUM + 1} .* at most {NUM}") as error:
        batches(batch_size=NUM + 1)
    assert "\n" not in str(error.value)


def test_statistics_are_numpys():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 6, 7), dtype=np.uint8)
    images[:, 1] //= 5
    found = Statistics.of(images)
    scaled = images / 255.0
    np.testing.assert_allclose(found.mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, scaled.std((0, 2, 3)), rtol=1e-10)
    assert all(type(value) is float for value in found.mean + found.std)


def test_a_colour_that_never_varies_has_deviation_one():
    images = np.full((4, 2, 3, 3), 200, np.uint8)
    images[:, 1, 0] = 0
    found = Statistics.of(images)
    assert found.std[0] == 1.0
    assert found.std[1] == pytest.approx((images[:, 1] / 255).std())
    assert found.mean[0] == pytest.approx(200 / 255)
