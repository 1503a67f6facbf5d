"""RandAugment: each operation against Pillow's, then the random draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from minivit.data import rand_augment as ra
from minivit.errors import UserError

NAMES = list(ra.OPERATIONS)


def sample_images(B=24, C=3, H=32, W=32, seed=0):
    """Noise over various ranges, some images smooth, the last of a single color."""
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, 257, (2, B, 1, 1, 1)), axis=0)
    images = rng.integers(low, np.maximum(high, low + 1), (B, C, H, W)).clip(0, 255)
    images[: B // 3] = np.sort(images[: B // 3], axis=-1)
    images[-1] = 77
    return images.astype(np.uint8)


def by_pillow(images, operation, *parameters):
    """Run `operation(image, *parameter of that image)` on each with Pillow."""
    done = [
        operation(Image.fromarray(image.transpose(1, 2, 0).squeeze()), *values)
        for image, *values in zip(images, *parameters, strict=True)
    ]
    return np.stack([np.asarray(image).reshape(*image.size[::-1], -1) for image in done]).transpose(
        0, 3, 1, 2
    )


def transform(image, *matrix):
    fill = (128,) * len(image.getbands()) if image.mode == "RGB" else 128
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=fill
    )


def rotate(image, degrees):
    fill = (128,) * 3 if image.mode == "RGB" else 128
    return image.rotate(degrees, Image.Resampling.NEAREST, fillcolor=fill)


SHAPES = pytest.mark.parametrize(
    "shape", [(24, 3, 32, 32), (7, 3, 20, 33), (6, 1, 28, 28)], ids=["cifar", "oblong", "gray"]
)


@SHAPES
def test_affine_equals_pillow(shape):
    images = sample_images(*shape)
    rng = np.random.default_rng(1)
    matrix = np.array([1, 0, 0, 0, 1, 0]) + rng.normal(size=(len(images), 6)) * [
        *(0.3, 0.3, 5),
        *(0.3, 0.3, 5),
    ]
    np.testing.assert_array_equal(
        ra.affine(images, matrix), by_pillow(images, transform, *matrix.T)
    )


def matrices(index):
    def operation(image, value):
        matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        matrix[index] = value
        return transform(image, *matrix)

    return operation


GEOMETRIC = {
    "rotate": (rotate, 30),
    "shear-x": (matrices(1), 0.3),
    "shear-y": (matrices(3), 0.3),
    "translate-x": (matrices(2), 0.45),
    "translate-y": (matrices(5), 0.45),
}


@SHAPES
@pytest.mark.parametrize("name", GEOMETRIC)
@pytest.mark.parametrize("magnitude", [0, 3, 9, 10])
def test_geometry_equals_pillow(name, magnitude, shape):
    images = sample_images(*shape)
    level = np.where(np.arange(len(images)) % 2, 1, -1) * magnitude / 10
    operation, scale = GEOMETRIC[name]
    if name.startswith("translate"):
        scale *= images.shape[3 if name.endswith("x") else 2]
    np.testing.assert_array_equal(
        ra.OPERATIONS[name](images, level), by_pillow(images, operation, scale * level)
    )


def enhance(kind):
    return lambda image, factor: kind(image).enhance(factor)


POINTWISE = {
    "color": (enhance(ImageEnhance.Color), lambda level: 1 + 0.9 * level),
    "contrast": (enhance(ImageEnhance.Contrast), lambda level: 1 + 0.9 * level),
    "brightness": (enhance(ImageEnhance.Brightness), lambda level: 1 + 0.9 * level),
    "sharpness": (enhance(ImageEnhance.Sharpness), lambda level: 1 + 0.9 * level),
    "solarize": (ImageOps.solarize, lambda level: 256 - 256 * abs(level)),
    "posterize": (
        lambda image, bits: ImageOps.posterize(image, int(bits)),
        lambda level: 8 - np.rint(4 * abs(level)),
    ),
}
# A blend is truncated, so a last-bit difference in float32 (fused multiply-add) may cost a level.
TOLERANCE = {"color": 1, "contrast": 1, "brightness": 1, "sharpness": 1}


@SHAPES
@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_equals_pillow(name, shape):
    images = sample_images(*shape)
    level = np.random.default_rng(2).uniform(-1, 1, len(images))
    level[:3] = -1, 0, 1
    operation, parameter = POINTWISE[name]
    found = ra.OPERATIONS[name](images, level)
    expected = by_pillow(images, operation, parameter(level))
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= TOLERANCE.get(name, 0)
    assert (difference > 0).mean() < 0.001


@SHAPES
@pytest.mark.parametrize(
    ("name", "operation"),
    [("autocontrast", ImageOps.autocontrast), ("equalize", ImageOps.equalize)],
)
def test_tone_equals_pillow(name, operation, shape):
    images = sample_images(*shape)
    level = np.full(len(images), 0.5)
    np.testing.assert_array_equal(ra.OPERATIONS[name](images, level), by_pillow(images, operation))


def test_gray_agrees_with_pillow_to_the_last_bit():
    """For all reds and greens with some blues, including sums just next to a half."""
    red, green = np.divmod(np.arange(2**16), 256)
    images = np.stack([[red, green, np.full_like(red, blue)] for blue in range(0, 256, 15)])
    images = images.reshape(-1, 3, 256, 256).astype(np.uint8)
    gray = ra.color(images, np.zeros(len(images)))
    expected = by_pillow(images, lambda image: image.convert("L"))
    np.testing.assert_array_equal(gray, expected.repeat(3, 1))


@pytest.mark.parametrize(
    ("name", "operation"),
    [("autocontrast", ImageOps.autocontrast), ("equalize", ImageOps.equalize)],
)
@pytest.mark.parametrize("levels", [1, 2, 3, 256])
def test_tone_of_few_pixels_and_few_levels_equals_pillow(name, operation, levels):
    """Cases where equalize moves by a single pixel and autocontrast spreads two adjacent levels."""
    rng = np.random.default_rng(levels)
    images = 256 - levels - (rng.integers(0, 200) if levels < 4 else 0)
    images = (images + rng.integers(0, levels, (8, 3, 18, 18))).astype(np.uint8)
    with np.errstate(all="raise"):
        found = ra.OPERATIONS[name](images, np.zeros(8))
    np.testing.assert_array_equal(found, by_pillow(images, operation))


def test_sharpness_zero_equals_pillows_smooth():
    images = sample_images()
    np.testing.assert_array_equal(
        ra.sharpness(images, np.zeros(len(images))),
        by_pillow(images, lambda image: image.filter(ImageFilter.SMOOTH)),
    )


def test_rotation_by_right_angles_is_rot90():
    images = sample_images()
    for turns in range(4):
        turned = ra.rotate(images, np.full(len(images), 90.0 * turns))
        np.testing.assert_array_equal(turned, np.rot90(images, turns, axes=(2, 3)))


def test_translation_fills_with_gray():
    images = sample_images(2, 3, 8, 8)
    moved = ra.translate_x(images, np.array([3.0, -2.0]))
    np.testing.assert_array_equal(moved[0, :, :, :5], images[0, :, :, 3:])
    np.testing.assert_array_equal(moved[1, :, :, 2:], images[1, :, :, :6])
    assert (moved[0, :, :, 5:] == 128).all()
    assert (moved[1, :, :, :2] == 128).all()


def test_the_operations_are_the_fourteen_of_the_paper():
    assert set(NAMES) == {
        *("identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize"),
        *("contrast", "brightness", "sharpness", "shear-x", "shear-y", "translate-x"),
        "translate-y",
    }


@pytest.mark.parametrize("name", NAMES)
def test_level_zero_leaves_the_image_unchanged(name):
    images = sample_images()
    out = ra.OPERATIONS[name](images, np.zeros(len(images)))
    assert np.array_equal(out, images) == (name not in ("autocontrast", "equalize"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 5), st.sampled_from([1, 3]), st.integers(3, 9), st.integers(3, 9)
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_images_are_processed_independently(name, shape, seed):
    """An image's result does not depend on the others in the batch; the input is not modified."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    level = rng.uniform(-1, 1, len(images))
    before = images.copy()
    out = ra.OPERATIONS[name](images, level)
    assert out.dtype == np.uint8
    assert out.shape == images.shape
    assert not np.shares_memory(out, images)
    np.testing.assert_array_equal(images, before)
    alone = [ra.OPERATIONS[name](images[b : b + 1], level[b : b + 1]) for b in range(len(images))]
    np.testing.assert_array_equal(out, np.concatenate(alone))


def test_apply_operations_applies_the_operation_of_each_image():
    images = sample_images(2 * len(NAMES))
    which = np.random.default_rng(3).permutation(len(images)) % len(NAMES)
    levels = np.linspace(-1, 1, len(images))
    before = images.copy()
    out = ra.apply_operations(images, which, levels)
    np.testing.assert_array_equal(images, before)
    for b, number in enumerate(which):
        operation = ra.OPERATIONS[NAMES[number]]
        np.testing.assert_array_equal(
            out[b : b + 1], operation(images[b : b + 1], levels[b : b + 1])
        )


def recorded(monkeypatch, B, num_ops, magnitude):
    """The (which, levels) of every round."""
    rounds = []
    monkeypatch.setattr(
        ra, "apply_operations", lambda images, *drawn: (rounds.append(drawn), images)[1]
    )
    ra.rand_augment(sample_images(B), np.random.default_rng(0), num_ops, magnitude)
    return np.stack([which for which, _ in rounds]), np.stack([level for _, level in rounds])


def test_draws_are_uniform_over_images_and_rounds(monkeypatch):
    which, levels = recorded(monkeypatch, 2800, 2, 7)
    assert which.shape == (2, 2800)
    for row in which:
        counts = np.bincount(row, minlength=14)
        assert len(counts) == 14
        assert (abs(counts - 200) < 5 * np.sqrt(200)).all()
    assert abs((which[0] == which[1]).mean() - 1 / 14) < 0.03
    np.testing.assert_allclose(abs(levels), 0.7)
    assert (abs((levels > 0).mean(1) - 0.5) < 0.05).all()
    assert abs((levels[0] == levels[1]).mean() - 0.5) < 0.05


def test_rounds_are_applied_one_after_another():
    """N = 2 applies operation 2 to operation 1's result, not to the image."""
    images = sample_images(64)
    out = ra.rand_augment(images, np.random.default_rng(5), 2, 6)
    rng = np.random.default_rng(5)
    which = rng.integers(14, size=(2, 64))
    levels = 0.6 * rng.choice((-1.0, 1.0), size=(2, 64))
    first = ra.apply_operations(images, which[0], levels[0])
    np.testing.assert_array_equal(out, ra.apply_operations(first, which[1], levels[1]))


def test_the_default_is_two_operations_of_magnitude_nine():
    images = sample_images(40)
    expected = ra.rand_augment(images, np.random.default_rng(0), 2, 9)
    np.testing.assert_array_equal(ra.rand_augment(images, np.random.default_rng(0)), expected)


def test_the_same_seed_gives_the_same_images_and_inputs_are_unchanged():
    images = sample_images(40)
    before = images.copy()
    one, again, other = (ra.rand_augment(images, np.random.default_rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(ra.rand_augment(images, np.random.default_rng(0), 0), images)


def test_equal_images_are_augmented_differently():
    image = np.sort(np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), np.uint8))
    out = ra.rand_augment(image.repeat(32, 0), np.random.default_rng(0), 2, 9)
    assert len({image.tobytes() for image in out}) > 25


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(UserError, match="4 channels"):
        ra.rand_augment(np.zeros((64, 4, 8, 8), np.uint8), np.random.default_rng(0))


def test_an_empty_batch_stays_empty():
    empty = np.zeros((0, 3, 8, 8), np.uint8)
    assert ra.rand_augment(empty, np.random.default_rng(0)).shape == empty.shape
