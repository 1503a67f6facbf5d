"""The augmentation kernel against `Augmentation`: the same draws, applied by both."""

import re

import numpy as np
import pytest

from minivit.backend.cuda import from_bf16, source, to_bf16
from minivit.data import Augmentation, Batches, Field, Split, Statistics, scale_and_offset
from minivit.data.mix import rectangles
from minivit.functional import patchify_backward, patchify_forward

OFF = {"crop": 0, "flip": 0.0}
EACH = {
    "nothing": OFF,
    "crop": {**OFF, "crop": 3},
    "flip": {**OFF, "flip": 0.5},
    "mixup": {**OFF, "mixup": 0.8},
    "cutmix": {**OFF, "cutmix": 1.0},
    "all, mixup": {"crop": 2, "flip": 0.5, "mixup": 0.8},
    "all, cutmix": {"crop": 2, "flip": 0.5, "cutmix": 1.0},
}
SHAPES = {  # (B, C, H, W), P
    "color": ((7, 3, 10, 6), 2),
    "gray": ((5, 1, 12, 8), 4),
    "odd": ((3, 3, 5, 7), 1),
}
STATE = np.array([12345, 678, 9, 0], np.uint32)
OTHER = STATE + np.array([1, 0, 0, 0], np.uint32)


def loader(shape, augmentation, seed=0):
    """Batches of B images from a slightly larger set."""
    B, C, H, W = shape
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (B + 4, C, H, W), dtype=np.uint8)
    statistics = Statistics((0.49, 0.4, 0.45)[:C], (0.25, 0.24, 0.3)[:C])
    return Batches(Split(images, rng.integers(0, 10, B + 4)), B, 10, augmentation, statistics, seed)


def on_host(batches, plan):
    """The batch's images, float32 (B, C, H, W)."""
    statistics = batches.statistics
    images = batches.split.images[plan.rows]
    return plan.drawn.images(images, statistics)


def in_kernel(call, batches, packed, P, state=STATE, kind="float", rows=None):
    """The same from the kernel, as patches: float32 (B·N, P·P·C). rows: how many, starting at the
    row in state."""
    _, C, H, W = batches.split.images.shape
    whole = packed.shape[1]
    B = whole if rows is None else rows
    scale, offset = scale_and_offset(batches.statistics.mean, batches.statistics.std, C)
    zeros = np.zeros((B * (H // P) * (W // P), P * P * C), np.float32)
    patches = zeros if kind == "float" else to_bf16(zeros)
    sizes = {"CHANNELS": C, "HEIGHT": H, "WIDTH_PX": W, "PATCH": P, "SCALAR": kind}
    call("augment.cu", "augment", -(-patches.size // 64), 64, batches.split.images, packed, scale,
         offset, state, patches, whole, B, PADDING=batches.augmentation.crop, **sizes)  # fmt: skip
    return patches if kind == "float" else from_bf16(patches)


def as_images(patches, shape, P):
    """(B·N, P·P·C) -> (B, C, H, W)."""
    return patchify_backward(patches.reshape(shape[0], -1, patches.shape[1]), (shape, P))


def without_noise(batches, plan, sample_images):
    """The images, with 0 wherever noise may contribute to a pixel; and a bool mask (B, H, W) of
    those pixels."""
    drawn, size = plan.drawn, sample_images.shape[2:]
    noise = rectangles(*drawn.erased.T, size)
    if drawn.mix:
        noise |= noise[drawn.mix.partner]
    return np.where(noise[:, None], 0, sample_images), noise


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("which", EACH)
def test_the_kernel_agrees_with_the_host(call, which, size):
    shape, P = SHAPES[size]
    batches = loader(shape, Augmentation(**EACH[which]))
    for step in range(3):
        plan = batches.plan(step)
        expected = on_host(batches, plan)
        np.testing.assert_array_equal(expected, batches.batch(step)[0])
        patches = patchify_forward(expected, P)[0].reshape(-1, P * P * shape[1])
        np.testing.assert_allclose(
            in_kernel(call, batches, plan.packed(), P), patches, rtol=0, atol=1e-6
        )


def test_bf16_is_rounded_to_nearest(call):
    batches = loader((7, 3, 10, 6), Augmentation(crop=2, mixup=0.8))
    plan = batches.plan(0)
    expected = patchify_forward(on_host(batches, plan), 2)[0].reshape(-1, 12)
    found = in_kernel(call, batches, plan.packed(), 2, kind="bf16")
    np.testing.assert_array_equal(found, from_bf16(to_bf16(expected)))


@pytest.mark.parametrize("mix", [{}, {"mixup": 0.8}, {"cutmix": 1.0}])
@pytest.mark.parametrize("size", SHAPES)
def test_erasing_changes_only_its_rectangle(call, size, mix):
    shape, P = SHAPES[size]
    batches = loader(shape, Augmentation(crop=2, erasing=0.6, **mix))
    plan = batches.plan(1)
    found = as_images(in_kernel(call, batches, plan.packed(), P), shape, P)
    other = as_images(in_kernel(call, batches, plan.packed(), P, OTHER), shape, P)
    expected, noise = without_noise(batches, plan, on_host(batches, plan))
    assert 0.02 < noise.mean() < 0.7
    np.testing.assert_allclose(without_noise(batches, plan, found)[0], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(
        without_noise(batches, plan, other)[0], without_noise(batches, plan, found)[0]
    )


def test_mixed_noise_comes_from_the_partner(call):
    """The noise blended in is the noise in the partner's own image."""
    shape, P = (6, 3, 8, 8), 2
    batches = loader(shape, Augmentation(crop=0, flip=0, erasing=1.0, mixup=0.8))
    plan = batches.plan(0)
    unmixed = plan._replace(drawn=plan.drawn._replace(mix=None)).packed()
    alone = as_images(in_kernel(call, batches, unmixed, P), shape, P)
    found = as_images(in_kernel(call, batches, plan.packed(), P), shape, P)
    np.testing.assert_allclose(found, plan.drawn.mix.images(alone), rtol=0, atol=1e-6)


def noise_bytes(call, state, shape=(24, 3, 16, 16)):
    """uint8 (B, C, H, W) of images that consist of noise only."""
    batches = loader(shape, Augmentation(**OFF))
    _, C, H, W = shape
    batches.statistics = Statistics((0.0,) * C, (1 / 255,) * C)  # bytes are unchanged
    packed = batches.plan(0).packed()
    packed[Field.ERASED_BOTTOM], packed[Field.ERASED_RIGHT] = H, W
    found = as_images(in_kernel(call, batches, packed, 4, state), shape, 4)
    np.testing.assert_array_equal(found, np.rint(found))
    assert found.min() >= 0
    assert found.max() <= 255
    return found.astype(np.uint8)


def test_noise_is_uniform_and_differs_between_positions(call):
    noise = noise_bytes(call, STATE)
    counts = np.bincount(noise.ravel(), minlength=256)
    expected = noise.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 5 * np.sqrt(2 * 255)
    assert abs(noise.mean() - 127.5) < 5 * 73.9 / np.sqrt(noise.size)
    for axis in range(4):  # image, channel, row, column: neighbors agree once in 256
        same = (noise == np.roll(noise, 1, axis)).mean()
        assert same < 2 / 256, f"along axis {axis}"


@pytest.mark.parametrize("word", [0, 1, 2])
def test_noise_depends_only_on_seed_and_step(call, word):
    """state: both halves of the seed, and the step."""
    changed = STATE.copy()
    changed[word] += 1
    one, again, other = (noise_bytes(call, state) for state in (STATE, STATE, changed))
    np.testing.assert_array_equal(one, again)
    assert (one == other).mean() < 2 / 256


def test_ranks_produce_the_rows_of_the_whole_batch(call):
    """Including noise, and partners in the rows of other ranks."""
    batches = loader((7, 3, 10, 6), Augmentation(crop=2, erasing=1.0, mixup=0.8))
    packed = batches.plan(0).packed()
    parts = [
        in_kernel(call, batches, packed, 2, STATE + np.array([0, 0, 0, first], np.uint32), rows=n)
        for first, n in ((0, 3), (3, 4))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), in_kernel(call, batches, packed, 2, STATE))


@pytest.mark.parametrize("field", [f for f in Field if f < Field.FIRST])
def test_every_field_has_an_effect(call, field):
    """Changing any field changes the output, so no field is ignored."""
    mix = "cutmix" if "PASTED" in field.name else "mixup"
    erasing = 1.0 if "ERASED" in field.name else 0.0
    batches = loader((7, 3, 10, 6), Augmentation(crop=2, erasing=erasing, **{mix: 1.0}))
    packed = batches.plan(0).packed()
    if field is Field.BLEND:
        changed = (packed[field].view(np.float32) / 2).view(np.int32)
    elif field in (Field.ROW, Field.PARTNER):
        changed = np.roll(packed[field], 1)
    else:
        changed = packed[field] ^ 1
    other = packed.copy()
    other[field] = changed
    assert (in_kernel(call, batches, packed, 2) != in_kernel(call, batches, other, 2)).any()


def test_targets_are_left_to_the_host(call):
    batches = loader((7, 3, 10, 6), Augmentation(mixup=0.8))
    packed = batches.plan(0).packed()
    other = packed.copy()
    other[Field.FIRST :] = 0
    np.testing.assert_array_equal(
        in_kernel(call, batches, packed, 2), in_kernel(call, batches, other, 2)
    )


def test_python_and_the_kernel_number_the_fields_alike():
    inside = re.search(r"enum Field \{(.*?)\};", source("augment.cu"), re.DOTALL)[1]
    names = re.findall(r"\w+", re.sub(r"//.*", "", inside))
    assert names == [field.name for field in Field]
    assert [int(field) for field in Field] == list(range(len(names)))
