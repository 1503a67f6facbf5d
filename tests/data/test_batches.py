"""Batches depend only on the seed and the step, and contain each image at most once per epoch."""

import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from minivit.backend.random import Purpose, generator
from minivit.data import Augmentation, Batches, Field, Split, Statistics
from minivit.data import batches as module
from minivit.data.rand_augment import rand_augment
from minivit.errors import UserError

PLAIN = Augmentation(crop=0, flip=0.0)
RICH = Augmentation(erasing=0.5, mixup=0.8, cutmix=1.0, rand_augment=1)
NUM, B, PER_EPOCH = 23, 5, 4
ASIS = Statistics((0.0, 0.0, 0.0), (1 / 255,) * 3)  # images keep their values


def numbered():
    """Every pixel of image i is i, and so is its label."""
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


def epoch_labels(loader, epoch):
    """The labels of an epoch's batches, one row per batch."""
    steps = range(epoch * loader.per_epoch, (epoch + 1) * loader.per_epoch)
    return np.array([loader.batch(step)[1] for step in steps])


def test_a_batch_depends_only_on_seed_and_step():
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
        labels = epoch_labels(loader, epoch).ravel()
        assert len(labels) == PER_EPOCH * B
        assert len(set(labels)) == len(labels)


def test_all_batches_of_a_run_differ():
    loader = batches()
    found = [tuple(loader.batch(step)[1]) for step in range(5 * PER_EPOCH)]
    assert len(set(found)) == len(found)


def test_each_epoch_has_its_own_order_and_leaves_out_different_images():
    loader = batches()
    orders = [epoch_labels(loader, epoch).ravel() for epoch in range(6)]
    for one, other in itertools.combinations(orders, 2):
        assert not np.array_equal(one, other)
    assert len({frozenset(range(NUM)) - set(order) for order in orders}) > 1


def test_images_stay_with_their_labels_and_are_normalized():
    images, labels = batches().batch(2)
    assert images.dtype == np.float32
    assert images.shape == (B, 3, 8, 8)
    np.testing.assert_allclose(images, np.broadcast_to(labels[:, None, None, None], images.shape))


def test_an_image_is_augmented_differently_in_each_epoch():
    loader = Batches(numbered(), NUM, NUM, Augmentation(crop=3, flip=0.0), ASIS, 0)
    first, second = (
        images[np.argsort(labels)] for images, labels in (loader.batch(0), loader.batch(1))
    )
    assert (first != second).any((1, 2, 3)).mean() > 0.5


def test_each_step_draws_different_numbers():
    loader = batches()
    loader.augmentation = SimpleNamespace(apply=lambda *arguments: arguments[3].random())
    drawn = [loader.batch(step) for step in range(5 * PER_EPOCH)]
    assert len(set(drawn)) == len(drawn)


def test_the_generator_of_a_step_depends_only_on_seed_and_step():
    loader = batches(seed=5)
    for step in (0, 3, 11):
        assert loader.rng(step).random() == generator(5, Purpose.AUGMENT, step).random()


def test_mixed_targets_sum_to_one():
    _, targets = batches(Augmentation(crop=0, flip=0, mixup=1.0)).batch(0)
    assert targets.dtype == np.float32
    assert targets.shape == (B, NUM)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)


# Plans


MIXES = [{}, {"mixup": 1.0}, {"cutmix": 1.0}]


def carried_out(loader, plan, images):
    statistics, drawn = loader.statistics, plan.drawn
    return (
        drawn.images(images, statistics),
        drawn.targets(plan.labels, loader.num_classes),
    )


@pytest.mark.parametrize("mix", MIXES)
def test_a_plan_gives_the_batch_when_carried_out(mix):
    loader = batches(Augmentation(erasing=0.5, **mix))
    for step in (0, 3, 4, 11):
        plan = loader.plan(step)
        np.testing.assert_array_equal(plan.labels, loader.split.labels[plan.rows])
        found = carried_out(loader, plan, loader.split.images[plan.rows])
        assert_equal(found, loader.batch(step))


def test_a_plan_continues_after_rand_augment():
    loader, step = batches(RICH), 6
    rng = loader.rng(step)
    images = rand_augment(loader.split.images[loader.rows(step)], rng, RICH.rand_augment, 9)
    assert_equal(carried_out(loader, loader.plan(step, rng), images), loader.batch(step))


@pytest.mark.parametrize("mix", MIXES)
def test_packed_contains_the_plan(mix):
    loader = batches(Augmentation(crop=2, erasing=0.5, **mix))
    plan = loader.plan(2)
    packed, drawn = plan.packed(), plan.drawn
    assert (packed.dtype, packed.shape) == (np.int32, (len(Field), B))
    assert packed.flags.c_contiguous
    of = {field.name: packed[field] for field in Field}
    for name, desired in (("ROW", plan.rows), ("DY", drawn.dy), ("DX", drawn.dx),
                        ("FLIPPED", drawn.flipped), ("FIRST", plan.labels)):  # fmt: skip
        np.testing.assert_array_equal(of[name], desired)
    np.testing.assert_array_equal(packed[Field.ERASED_TOP : Field.PARTNER].T, drawn.erased)
    pasted, partner = packed[Field.PASTED_TOP : Field.BLEND].T, of["PARTNER"]
    np.testing.assert_array_equal(of["SECOND"], plan.labels[partner])
    blend, kept = (of[name].view(np.float32) for name in ("BLEND", "KEPT"))
    desired = drawn.targets(plan.labels, NUM)
    if drawn.mix is None:
        np.testing.assert_array_equal(partner, np.arange(B))
        assert not pasted.any()
        assert (blend == 1).all()
        desired = np.eye(NUM, dtype=np.float32)[plan.labels]
    else:
        np.testing.assert_array_equal(partner, drawn.mix.partner)
        np.testing.assert_array_equal(pasted, drawn.mix.pasted)
        np.testing.assert_array_equal(blend, drawn.mix.blend)
    targets = np.zeros((B, NUM), np.float32)
    np.add.at(targets, (np.arange(B), of["FIRST"]), kept)
    np.add.at(targets, (np.arange(B), of["SECOND"]), 1 - kept)
    np.testing.assert_allclose(targets, desired, atol=1e-6)


@pytest.mark.parametrize("balance", [False, True])
def test_the_order_is_drawn_once_per_epoch(monkeypatch, balance):
    drawn = []

    def recorded(seed, purpose, *key):
        drawn.append((seed, purpose, *key))
        return generator(seed, purpose, *key)

    monkeypatch.setattr(module, "generator", recorded)
    loader, other = (Batches(numbered(), B, NUM, PLAIN, ASIS, seed, balance) for seed in (77, 78))
    first = [loader.rows(step) for step in range(2 * PER_EPOCH)]
    assert drawn == [(77, Purpose.ORDER, 0), (77, Purpose.ORDER, 1)]
    mixed = [(loader.rows(step), other.rows(step)) for step in range(2 * PER_EPOCH)]
    for step, (rows, others) in enumerate(mixed):
        np.testing.assert_array_equal(rows, first[step])
        assert not np.array_equal(rows, others)


@pytest.mark.parametrize("balance", [False, True])
def test_the_order_is_read_only(balance):
    with pytest.raises(ValueError, match="read-only"):
        Batches(numbered(), B, NUM, PLAIN, ASIS, 0, balance).rows(0)[0] = 5


def test_the_order_is_the_same_as_in_earlier_versions():
    desired = generator(3, Purpose.ORDER, 2).permutation(NUM)[B : 2 * B]
    np.testing.assert_array_equal(batches(seed=3).rows(2 * PER_EPOCH + 1), desired)


# Balance

UNEQUAL = np.repeat([0, 1, 3], [3, 1, 19])  # no images of class 2


def balanced(labels=UNEQUAL, seed=0, batch_size=B):
    split = Split(np.zeros((len(labels), 3, 8, 8), np.uint8), labels)
    return Batches(split, batch_size, 4, PLAIN, ASIS, seed, balance=True)


def rows_of_epoch(loader, epoch):
    steps = range(epoch * loader.per_epoch, (epoch + 1) * loader.per_epoch)
    return np.concatenate([loader.rows(step) for step in steps])


@pytest.mark.parametrize("labels", [UNEQUAL, np.random.default_rng(0).permutation(UNEQUAL)])
@pytest.mark.parametrize("batch_size", [1, 5, 7, 23])
def test_balance_draws_each_class_equally_often(labels, batch_size):
    loader = balanced(labels, batch_size=batch_size)
    assert loader.per_epoch == NUM // batch_size
    for epoch in range(4):
        rows = rows_of_epoch(loader, epoch)
        assert len(rows) == loader.per_epoch * batch_size
        classes = np.bincount(labels[rows], minlength=4)[[0, 1, 3]]
        assert np.ptp(classes) <= 1
        for k in (0, 1, 3):  # and each image within a class
            assert np.ptp(np.bincount(rows, minlength=NUM)[labels == k]) <= 1


def test_balance_draws_other_images_in_each_epoch_and_eventually_all():
    loader = balanced()
    orders = [rows_of_epoch(loader, epoch) for epoch in range(20)]
    for one, other in itertools.combinations(orders, 2):
        assert not np.array_equal(one, other)
    assert set(np.concatenate(orders)) == set(range(NUM))
    first = [UNEQUAL[order[0]] for order in orders]
    assert len(set(first)) == 3, "the classes come in one order"


def test_balanced_rows_depend_only_on_seed_and_step():
    one, same, other = balanced(), balanced(), balanced(seed=1)
    steps = [6, 0, 3, 11]
    first = {step: one.rows(step) for step in steps}
    for step in reversed(steps):
        np.testing.assert_array_equal(first[step], same.rows(step))
        assert not np.array_equal(first[step], other.rows(step))


def test_balance_with_equal_classes_shows_each_image_once():
    labels = np.arange(24) % 3
    rows = rows_of_epoch(balanced(labels, batch_size=6), 0)
    assert sorted(rows) == list(range(24))


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (6, 9), (8, 9), (9, 9)])
def test_ahead_yields_the_same_batches(start, stop):
    loader = batches(RICH)
    found = list(loader.ahead(start, stop))
    assert len(found) == stop - start
    for step, batch in zip(range(start, stop), found, strict=True):
        assert_equal(batch, loader.batch(step))


def test_ahead_prepares_one_extra_batch_and_ends_its_thread():
    loader, requested, ready = batches(), [], threading.Event()
    batch = loader.batch

    def recorded(step):
        requested.append(step)
        if step == 1:
            ready.set()
        return batch(step)

    loader.batch = recorded
    steps = loader.ahead(0, 100)
    next(steps)
    assert ready.wait(5)
    steps.close()
    assert requested == [0, 1]
    assert not any(thread.name.startswith("minivit-batches") for thread in threading.enumerate())


@pytest.mark.parametrize(("start", "stop"), [(2, 6), (2, 3), (2, 2), (3, 2)])
def test_ahead_prepares_no_more_than_requested(start, stop):
    requested = []
    assert list(batches().ahead(start, stop, requested.append)) == [None] * (stop - start)
    assert requested == list(range(start, stop))


def test_ahead_uses_the_given_function():
    loader = batches(RICH)
    names = []

    def prepare(step):
        names.append(threading.current_thread().name)
        return loader.plan(step).packed()

    found = list(loader.ahead(2, 6, prepare))
    assert_equal(found, [loader.plan(step).packed() for step in range(2, 6)])
    assert all(name.startswith("minivit-batches") for name in names)


def test_an_error_in_the_thread_reaches_the_caller():
    loader = batches()
    loader.statistics = Statistics((0.0,), (1.0,))
    with pytest.raises(UserError, match="deviation"):
        list(loader.ahead(0, 2))


def test_a_batch_larger_than_the_data_set_is_refused():
    assert batches(batch_size=NUM).per_epoch == 1
    with pytest.raises(UserError, match=f"batch_size {NUM + 1} .* at most {NUM}") as error:
        batches(batch_size=NUM + 1)
    assert "\n" not in str(error.value)


def test_statistics_agree_with_numpy():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 6, 7), dtype=np.uint8)
    images[:, 1] //= 5
    found = Statistics.of(images)
    scaled = images / 255.0
    np.testing.assert_allclose(found.mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, scaled.std((0, 2, 3)), rtol=1e-10)
    assert all(type(value) is float for value in found.mean + found.std)


def test_a_constant_channel_has_standard_deviation_one():
    images = np.full((4, 2, 3, 3), 200, np.uint8)
    images[:, 1, 0] = 0
    found = Statistics.of(images)
    assert found.std[0] == 1.0
    assert found.std[1] == pytest.approx((images[:, 1] / 255).std())
    assert found.mean[0] == pytest.approx(200 / 255)
