"""Augmentation: known answers, the distributions of the draws, and purity."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivit.data import Statistics, denormalize, normalize, scale_and_offset
from minivit.data import augment as au
from minivit.data import mix as mx
from minivit.errors import UserError
from minivit.ranges import numeric_fields

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
STATISTICS = Statistics(MEAN, STD)
ALL_ON = au.Augmentation(erasing=0.5, mixup=0.8, cutmix=1.0, rand_augment=2)


def sample_images(B=64, C=3, H=32, W=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (B, C, H, W), dtype=np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def close_to_uniform(counts):
    expected = counts.sum() / counts.size
    return (abs(counts - expected) < 5 * np.sqrt(expected)).all()


# Crop


def test_crop_is_slicing_at_every_offset():
    padding, (H, W) = 3, (5, 8)
    side = 2 * padding + 1
    padded = sample_images(side * side, 3, H + 2 * padding, W + 2 * padding)
    dy, dx = np.divmod(np.arange(side * side), side)
    out = au.crop(padded, dy, dx, (H, W))
    for b, (y, x) in enumerate(zip(dy, dx, strict=True)):
        np.testing.assert_array_equal(out[b], padded[b, :, y : y + H, x : x + W])
    assert out.flags.c_contiguous


@pytest.mark.parametrize("fill", [0, 9])
def test_pad_crop_offsets_are_uniform_and_the_rest_is_fill(fill):
    """Each pixel holds its own index, so a crop reveals its offset."""
    B, p, H, W = 5000, 2, 6, 7
    image = np.arange(100, 100 + H * W, dtype=np.uint8).reshape(1, 1, H, W)
    out = au.pad_crop(np.repeat(image, B, 0), p, rng(), fill)
    counts = np.zeros((2 * p + 1, 2 * p + 1))
    padded = np.pad(image[0, 0], p, constant_values=fill)
    for dy in range(2 * p + 1):
        for dx in range(2 * p + 1):
            match = (out[:, 0] == padded[dy : dy + H, dx : dx + W]).all((1, 2))
            counts[dy, dx] = match.sum()
    assert counts.sum() == B
    assert close_to_uniform(counts)


# Flip


def test_flip_mirrors_left_to_right():
    image = np.array([[[[1, 2, 3], [4, 5, 6]]]], np.uint8)
    np.testing.assert_array_equal(au.flip(image, rng(), 1.0), [[[[3, 2, 1], [6, 5, 4]]]])
    np.testing.assert_array_equal(au.flip(image, rng(), 0.0), image)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_flip_is_drawn_for_each_image(p):
    images = sample_images(4000, 1, 2, 4)
    out = au.flip(images, rng(), p)
    flipped = (out == images[..., ::-1]).all((1, 2, 3))
    kept = (out == images).all((1, 2, 3))
    assert (flipped | kept).all()
    assert abs(flipped.mean() - p) < 0.04
    assert abs((flipped[1:] & flipped[:-1]).mean() - p * p) < 0.04


# Random erasing


def bounding_box(mask):
    """(height, width) of the smallest rectangle that holds all True pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def test_erasing_replaces_one_rectangle_of_the_stated_area():
    images = np.zeros((500, 3, 32, 32), np.uint8)
    out = au.random_erasing(images, rng(), p=1.0, area=(0.1, 0.2), aspect=(0.5, 2.0))
    changed = (out != 0).any(1)
    sizes = np.array([bounding_box(mask) for mask in changed])
    fraction = sizes.prod(1) / 32**2
    # Rounding a side of 7 or more changes the area by at most 15%.
    assert fraction.min() > 0.085
    assert fraction.max() < 0.23
    assert 0.14 < fraction.mean() < 0.16
    ratio = np.log(sizes[:, 0] / sizes[:, 1])
    assert abs(ratio.mean()) < 0.1
    assert ratio.max() > 0.5
    assert ratio.min() < -0.5
    # Noise is 0 in all three channels once in 16 million pixels, so the whole rectangle is found.
    np.testing.assert_array_equal(changed.sum((1, 2)), sizes.prod(1))


def test_erased_pixels_are_fresh_uniform_noise():
    out = au.random_erasing(np.zeros((300, 3, 32, 32), np.uint8), rng(), p=1.0)
    noise = out[(out != 0).any(1, keepdims=True).repeat(3, 1)]
    assert abs(noise.mean() - 127.5) < 1
    assert abs(noise.std() - 73.9) < 1
    assert close_to_uniform(np.bincount(noise, minlength=256))


def test_erasing_leaves_other_images_and_pixels_unchanged():
    images = sample_images(2000, 3, 8, 8)
    out = au.random_erasing(images, rng(), p=0.25)
    touched = (out != images).any((1, 2, 3))
    assert abs(touched.mean() - 0.25) < 0.04
    for before, after in zip(images[touched], out[touched], strict=True):
        assert (before != after).any(0).sum() <= 8 * 8 / 3 * 1.3


def test_erasing_fits_any_image():
    out = au.random_erasing(sample_images(500, 1, 4, 40), rng(), 1.0, (0.9, 1.0), (0.1, 10.0))
    assert out.shape == (500, 1, 4, 40)


def erased_image_by_image(images, r, p, area, aspect):
    """A second implementation of `random_erasing`: the same draws in the same order, then a loop
    over images."""
    B, _, H, W = images.shape
    rows = [b for b, number in enumerate(r.random(B)) if number < p]
    areas = r.uniform(*area, len(rows)) * H * W
    ratios = np.exp(r.uniform(np.log(aspect[0]), np.log(aspect[1]), len(rows)))
    heights = [min(max(round(np.sqrt(a * q)), 1), H) for a, q in zip(areas, ratios, strict=True)]
    widths = [min(max(round(np.sqrt(a / q)), 1), W) for a, q in zip(areas, ratios, strict=True)]
    tops = r.integers([H - height + 1 for height in heights])
    lefts = r.integers([W - width + 1 for width in widths])
    noise = np.random.default_rng(int(r.integers(2**63))).integers(
        256, size=(len(rows), *images.shape[1:]), dtype=np.uint8
    )
    out = images.copy()
    for i, b in enumerate(rows):
        rectangle = (
            slice(None),
            slice(tops[i], tops[i] + heights[i]),
            slice(lefts[i], lefts[i] + widths[i]),
        )
        out[b][rectangle] = noise[i][rectangle]
    return out


@pytest.mark.parametrize("size", [(3, 3), (4, 40), (32, 32)])
def test_a_seed_always_erases_the_same_pixels(size):
    images = sample_images(200, 3, *size)
    for options in ({}, {"p": 0.6}, {"p": 1.0, "area": (0.01, 0.9), "aspect": (0.1, 4.0)}):
        paper = {"p": 0.25, "area": (0.02, 1 / 3), "aspect": (0.3, 3.3)}
        expected = erased_image_by_image(images, rng(), **paper | options)
        np.testing.assert_array_equal(au.random_erasing(images, rng(), **options), expected)


class Half(np.random.Generator):
    """A generator that always draws 0.5."""

    def random(self, size=None):
        return 0.5 if size is None else np.full(size, 0.5)


def test_a_draw_below_the_probability_applies_the_augmentation():
    """So 0 means never and 1 means always, as draws lie in [0, 1)."""
    above = np.nextafter(0.5, 1.0)
    half, images = Half(np.random.PCG64(0)), sample_images(4)
    assert not au.draw_flip(4, half, 0.5).any()
    assert au.draw_flip(4, half, above).all()
    assert not au.draw_erasing(images.shape, half, 0.5)[0].any()
    assert au.draw_erasing(images.shape, half, above)[0].any(1).all()
    mixed = [
        au.Augmentation(crop=0, flip=0, mixup=1.0, mix_prob=p).draw(images.shape, half).mix
        for p in (0.5, above)
    ]
    assert [mix is None for mix in mixed] == [True, False]


# Mixup and cutmix


def batch(B=64, K=5, H=8, W=8, seed=0):
    r = rng(seed)
    x = r.normal(size=(B, 3, H, W)).astype(np.float32)
    return x, au.one_hot(r.integers(K, size=B), K)


def test_interpolate_is_linear():
    x, _ = batch(4)
    out = mx.interpolate(x, np.array([1, 2, 3, 0]), np.array([0, 1, 0.25, 0.5], np.float32))
    expected = [x[1], x[1], 0.25 * x[2] + 0.75 * x[3], 0.5 * x[3] + 0.5 * x[0]]
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-7)


def test_mixup_blends_images_and_targets_alike():
    """With one class per image (K = B), the targets say how each image was mixed."""
    x, _ = batch(64)
    mixed, weights = mx.mixup(x, np.eye(64, dtype=np.float32), rng(), 1.0)
    np.testing.assert_allclose(mixed, np.tensordot(weights, x, 1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert ((weights > 0).sum(1) <= 2).all()
    lam = weights.diagonal()
    assert len(np.unique(lam)) > 55, "one draw of lambda for each image"
    assert mixed.dtype == weights.dtype == np.float32


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mixup_lambda_is_beta(alpha):
    B = 4000
    targets = np.arange(B, dtype=np.float32)[:, None]
    x = np.zeros((B, 1, 1, 1), np.float32)
    r = rng()
    lam = r.beta(alpha, alpha, B)
    order = r.permutation(B)
    out = mx.mixup(x, targets, rng(), alpha)[1][:, 0]
    np.testing.assert_allclose(out, lam * np.arange(B) + (1 - lam) * order, rtol=1e-4)
    assert abs(lam.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (32, 32)])
def test_cutmix_targets_are_the_fractions_of_pixels(size):
    """Image b is filled with the number b, so the pixels can be counted."""
    B = 200
    numbers = np.arange(B, dtype=np.float32)
    x = np.broadcast_to(numbers[:, None, None, None], (B, 3, *size)).copy()
    mixed, targets = mx.cutmix(x, np.eye(B, dtype=np.float32), rng(), 1.0)
    counted = (mixed[:, 0, None] == numbers[:, None, None]).mean((2, 3))
    np.testing.assert_allclose(targets, counted, atol=1e-7)
    assert (mixed == mixed[:, :1]).all()
    fractions = targets.diagonal()
    assert len(np.unique(fractions)) > 20
    assert fractions.min() < 0.3
    assert fractions.max() > 0.8
    for b in range(B):
        pasted = mixed[b, 0] != b
        if pasted.any():
            assert pasted.sum() == np.prod(bounding_box(pasted)), "one full rectangle"


def test_cutmix_keeps_pixels_in_their_places():
    x, targets = batch(64)
    mixed, _ = mx.cutmix(x, targets, rng(1), 1.0)
    from_some = (mixed[:, None] == x[None]).all(2).any(1)
    assert from_some.all()
    assert not np.array_equal(mixed, x)


def test_cutmix_rectangle_has_the_area_drawn():
    """A huge alpha pins lambda at 1/2: uncut, a rectangle has sides of 32 · sqrt(1/2) = 22.6."""
    x = np.arange(200, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 32, 32), np.float32)
    mixed, _ = mx.cutmix(x, np.zeros((200, 1), np.float32), rng(), 1e8)
    boxes = [bounding_box(pasted) for pasted in (mixed != x)[:, 0] if pasted.any()]
    assert np.max(boxes, axis=0).tolist() == [23, 23]


def test_cutmix_with_lambda_1_changes_nothing():
    """Even if the rectangle's center is in the corner."""

    class Corner(np.random.Generator):
        def beta(self, a, b, size):
            return np.ones(size)

        def uniform(self, low, high, size):
            return np.full(size, low, float)

    mix = mx.draw_cutmix((4, 3, 8, 6), Corner(np.random.PCG64(0)), 1.0)
    assert (mix.kept == 1).all()
    np.testing.assert_array_equal(mix.pasted[:, 0], mix.pasted[:, 1])
    np.testing.assert_array_equal(mix.pasted[:, 2], mix.pasted[:, 3])


def test_cutmix_reaches_every_pixel():
    x = np.arange(2000, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 6, 6), np.float32)
    mixed, _ = mx.cutmix(x, np.zeros((2000, 1), np.float32), rng(), 1.0)
    pasted = (mixed != x)[:, 0].mean(0)
    assert pasted.min() > 0.1
    np.testing.assert_allclose(pasted, pasted[::-1, ::-1], atol=0.05)
    np.testing.assert_allclose(pasted, pasted.T, atol=0.05)


# Normalizing and one-hot


def test_normalize_is_exact_for_every_gray_level():
    images = np.broadcast_to(np.arange(256, dtype=np.uint8), (2, 3, 1, 256))
    out = normalize(images, MEAN, STD)
    expected = (images / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    assert out.dtype == np.float32
    assert normalize(images, MEAN, STD, np.float64).dtype == np.float64
    np.testing.assert_array_equal(denormalize(out, MEAN, STD), images)


def test_statistics_of_any_dtype_are_used_in_float64():
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    expected = scale_and_offset(mean.tolist(), std.tolist(), 3, np.float64)
    for found, desired in zip(scale_and_offset(mean, std, 3, np.float64), expected, strict=True):
        np.testing.assert_array_equal(found, desired)


def test_denormalize_clips():
    x = np.array([-1e3, 1e3], np.float32).reshape(1, 1, 1, 2)
    np.testing.assert_array_equal(denormalize(x, (0.5,), (0.5,)).ravel(), [0, 255])


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.5,)), (MEAN, (0.2, 0.2)), (0.5, STD), (MEAN, (0.2, 0, 0.2))]
)
def test_normalize_refuses_statistics_that_do_not_fit(mean, std):
    with pytest.raises(UserError, match="3 channels"):
        normalize(sample_images(2), mean, std)


def test_normalize_refuses_normalized_images():
    with pytest.raises(UserError, match=r"float32.*uint8"):
        normalize(normalize(sample_images(2), MEAN, STD), MEAN, STD)


def test_one_hot():
    out = au.one_hot(np.array([2, 0, 2]), 3)
    np.testing.assert_array_equal(out, [[0, 0, 1], [1, 0, 0], [0, 0, 1]])
    assert out.dtype == np.float32
    assert au.one_hot(np.array([], np.int64), 3).shape == (0, 3)


@pytest.mark.parametrize("label", [-1, 3])
def test_one_hot_refuses_labels_out_of_range(label):
    with pytest.raises(UserError, match=r"expected 0 to 2"):
        au.one_hot(np.array([0, label]), 3)


# Properties of all augmentations


PIXEL = {
    "pad_crop": lambda images, r: au.pad_crop(images, 2, r),
    "flip": au.flip,
    "random_erasing": lambda images, r: au.random_erasing(images, r, 0.5),
}


@pytest.mark.parametrize("name", PIXEL)
@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(low, 6) for low in (0, 1, 1, 1)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixel_augmentations_are_pure(name, shape, seed):
    images = sample_images(*shape, seed)
    before = images.copy()
    out = PIXEL[name](images, rng(seed))
    assert out.shape == shape
    assert out.dtype == np.uint8
    assert not np.shares_memory(out, images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(out, PIXEL[name](images, rng(seed)))


@pytest.mark.parametrize("name", PIXEL)
def test_equal_images_are_augmented_differently_and_do_not_leak(name):
    images = np.repeat(sample_images(1), 32, 0)
    assert len({image.tobytes() for image in PIXEL[name](images, rng())}) > 1
    images = sample_images(32)
    changed = images.copy()
    changed[7] = 255 - changed[7]
    one, other = PIXEL[name](images, rng()), PIXEL[name](changed, rng())
    np.testing.assert_array_equal(np.delete(one, 7, 0), np.delete(other, 7, 0))
    assert (one[7] != other[7]).any()


@pytest.mark.parametrize("mix", [mx.mixup, mx.cutmix])
@settings(max_examples=25, deadline=None)
@given(
    B=st.integers(0, 5),
    H=st.integers(1, 6),
    W=st.integers(1, 6),
    alpha=st.floats(0.05, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_mixes_are_pure(mix, B, H, W, alpha, seed):
    x, targets = batch(B, 5, H, W, seed)
    before = x.copy(), targets.copy()
    mixed, soft = mix(x, targets, rng(seed), alpha)
    assert (mixed.shape, mixed.dtype) == (x.shape, np.float32)
    assert (soft.shape, soft.dtype) == (targets.shape, np.float32)
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(targets, before[1])
    np.testing.assert_array_equal(mixed, mix(x, targets, rng(seed), alpha)[0])


# The whole pipeline


def apply(augmentation, images, labels, seed=0):
    return augmentation.apply(images, labels, 10, rng(seed), STATISTICS)


def test_with_everything_off_only_normalization_remains():
    images, labels = sample_images(8), np.arange(8)
    x, targets = apply(au.Augmentation(crop=0, flip=0), images, labels)
    np.testing.assert_array_equal(x, normalize(images, MEAN, STD))
    np.testing.assert_array_equal(targets, labels)
    assert targets.dtype == np.int64


def test_defaults_crop_then_flip_and_keep_labels():
    images, labels = sample_images(32), np.arange(32) % 10
    x, targets = apply(au.Augmentation(), images, labels)
    r = rng()
    expected = normalize(au.flip(au.pad_crop(images, 4, r), r), MEAN, STD)
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(targets, labels)


def test_everything_on_runs_in_the_stated_order():
    images, labels = sample_images(16), np.arange(16) % 10
    x, targets = apply(ALL_ON, images, labels)
    r = rng()
    pixels = au.flip(au.pad_crop(au.rand_augment(images, r, 2, 9), 4, r), r)
    plain = normalize(au.random_erasing(pixels, r, 0.5), MEAN, STD)
    r.random()
    mix, alpha = ((mx.mixup, 0.8), (mx.cutmix, 1.0))[r.integers(2)]
    expected = mix(plain, au.one_hot(labels, 10), r, alpha)
    np.testing.assert_array_equal(x, expected[0])
    np.testing.assert_array_equal(targets, expected[1])


@pytest.mark.parametrize("magnitude", [2, 10])
def test_rand_augment_has_the_requested_magnitude(magnitude):
    images, labels = sample_images(16), np.arange(16) % 10
    augmentation = au.Augmentation(crop=0, flip=0, rand_augment=3, magnitude=magnitude)
    expected = normalize(au.rand_augment(images, rng(), 3, magnitude), MEAN, STD)
    np.testing.assert_array_equal(apply(augmentation, images, labels)[0], expected)


def image_by_image(augmentation, images, labels, r):
    """A second implementation of `Augmentation.apply`, without erasing and RandAugment: draws in
    the same order, then a loop over images. A seed must give the same run in every version of this
    package."""
    B, _, H, W = images.shape
    padding = augmentation.crop
    dy, dx = r.integers(2 * padding + 1, size=(2, B)) if padding else np.zeros((2, B), int)
    flipped = r.random(B) < augmentation.flip if augmentation.flip else np.zeros(B, bool)
    out = []
    for b, image in enumerate(images):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        cut = padded[:, dy[b] : dy[b] + H, dx[b] : dx[b] + W]
        out.append(cut[:, :, ::-1] if flipped[b] else cut)
    x = normalize(np.array(out), MEAN, STD)
    alphas = {"mixup": augmentation.mixup, "cutmix": augmentation.cutmix}
    choices = [name for name, alpha in alphas.items() if alpha]
    if not choices or r.random() >= augmentation.mix_prob:
        return x, labels
    name = choices[r.integers(len(choices))]
    lams, targets = r.beta(alphas[name], alphas[name], B), np.zeros((B, 10), np.float32)
    partner, mixed = r.permutation(B), x.copy()
    sizes = [np.rint(np.sqrt(1 - lams) * side).astype(int) for side in (H, W)]
    if name == "cutmix":
        centers = [r.uniform(0, side, B) for side in (H, W)]
        starts = [np.rint(c - s / 2).astype(int) for c, s in zip(centers, sizes, strict=True)]
    for b in range(B):
        lam = np.float32(lams[b])
        if name == "mixup":
            mixed[b] = x[partner[b]] * (1 - lam) + lam * x[b]
        else:
            rows, columns = (
                slice(max(start[b], 0), max(start[b] + size[b], 0))
                for start, size in zip(starts, sizes, strict=True)
            )
            mixed[b, :, rows, columns] = x[partner[b], :, rows, columns]
            lam = np.float32(1 - mixed[b, 0, rows, columns].size / (H * W))
        targets[b, labels[partner[b]]] = 1 - lam
        targets[b, labels[b]] += lam
    return mixed, targets


@pytest.mark.parametrize("mix", [{}, {"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.3, "cutmix": 2}])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (7, 3, 5, 9), (33, 3, 32, 32)])
@pytest.mark.parametrize("crop", [0, 1, 4])
@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_a_seed_always_gives_the_same_batch(shape, crop, flip, mix):
    images, labels = sample_images(*shape), np.arange(shape[0]) % 10
    for mix_prob, seed in ((1.0, 0), (0.5, 1), (0.5, 2)):
        augmentation = au.Augmentation(crop=crop, flip=flip, mix_prob=mix_prob, **mix)
        expected = image_by_image(augmentation, images, labels, rng(seed))
        for found, desired in zip(apply(augmentation, images, labels, seed), expected, strict=True):
            np.testing.assert_array_equal(found, desired)
            assert found.dtype == desired.dtype


@pytest.mark.parametrize("mix", [{}, {"mixup": 0.8}, {"cutmix": 1.0}])
def test_the_drawn_plan_is_what_is_applied(mix):
    """Drawing reads no pixels, leaves `rng` in the same state as `apply`, and the plan can be
    applied twice."""
    augmentation = au.Augmentation(erasing=0.5, **mix)
    images, labels = sample_images(16), np.arange(16) % 10
    one, other = rng(), rng()
    expected = augmentation.apply(images, labels, 10, one, STATISTICS)
    drawn = augmentation.draw(images.shape, other)
    assert one.random() == other.random()
    for _ in range(2):
        np.testing.assert_array_equal(drawn.images(images, STATISTICS), expected[0])
        np.testing.assert_array_equal(drawn.targets(labels, 10), expected[1])


def test_with_everything_off_the_plan_is_zero():
    drawn = au.Augmentation(crop=0, flip=0).draw((4, 3, 8, 8), rng())
    assert drawn.mix is None
    assert not any(np.any(drawn[i]) for i in range(6))


def test_fields_that_are_not_drawn_keep_their_dtypes():
    nothing = au.Augmentation(crop=0, flip=0).draw((4, 3, 8, 8), rng())
    drawn = au.Augmentation(erasing=1.0).draw((4, 3, 8, 8), rng())
    for name in ("dy", "dx", "flipped", "erased"):
        assert getattr(nothing, name).dtype == getattr(drawn, name).dtype
    assert mx.Mix.identity(4).pasted.dtype == mx.draw_cutmix((4, 3, 8, 8), rng(), 1.0).pasted.dtype


def test_an_empty_mix_changes_nothing():
    x, targets = batch(6)
    mix = mx.Mix.identity(6)
    np.testing.assert_array_equal(mix.images(x), x)
    np.testing.assert_array_equal(mix.targets(targets), targets)


def test_apply_is_pure_and_seeded():
    images, labels = sample_images(16), np.arange(16) % 10
    before = images.copy()
    one, again, other = (apply(ALL_ON, images, labels, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert (one[0] != other[0]).any()
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(labels, np.arange(16) % 10)
    assert one[0].dtype == one[1].dtype == np.float32
    np.testing.assert_allclose(one[1].sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("mixup", "cutmix", "mix_prob", "expected"),
    [
        (0.8, 1.0, 1.0, (0.0, 0.5, 0.5)),
        (0.8, 0.0, 0.5, (0.5, 0.5, 0.0)),
        (0.0, 1.0, 0.8, (0.2, 0.0, 0.8)),
        (0.8, 1.0, 0.5, (0.5, 0.25, 0.25)),
        (0.0, 0.0, 1.0, (1.0, 0.0, 0.0)),
        (0.8, 1.0, 0.0, (1.0, 0.0, 0.0)),
    ],
)
def test_batches_are_mixed_with_the_given_probability(
    monkeypatch, mixup, cutmix, mix_prob, expected
):
    monkeypatch.setattr(au, "draw_mixup", lambda shape, r, alpha: ("mixup", alpha))
    monkeypatch.setattr(au, "draw_cutmix", lambda shape, r, alpha: ("cutmix", alpha))
    augmentation = au.Augmentation(crop=0, flip=0, mixup=mixup, cutmix=cutmix, mix_prob=mix_prob)
    r = rng()
    mixes = [augmentation.draw((2, 3, 2, 2), r).mix for _ in range(1500)]
    frequencies = [mixes.count(mix) / 1500 for mix in (None, ("mixup", 0.8), ("cutmix", 1.0))]
    np.testing.assert_allclose(frequencies, expected, atol=0.06)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop", -1),
        ("flip", 1.1),
        ("flip", -0.1),
        ("erasing", 2.0),
        ("mixup", -0.1),
        ("mixup", float("nan")),
        ("cutmix", float("inf")),
        ("mix_prob", 1.5),
        ("rand_augment", -1),
        ("magnitude", 11),
        ("magnitude", -1),
    ],
)
def test_fields_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=f"{field} is {value}; expected 0 to ") as error:
        au.Augmentation(**{field: value})
    assert "\n" not in str(error.value)


def test_the_ranges_of_the_fields():
    """Written out here, because other tests compare a range only with its own ends."""
    found = {number.name: number.limits for number in numeric_fields(au.Augmentation)}
    assert {name: (limits.low, limits.high) for name, limits in found.items()} == {
        "crop": (0, 4096),
        "rand_augment": (0, 16),
        "magnitude": (0, 10),
        **dict.fromkeys(("flip", "erasing", "mix_prob"), (0, 1)),
        **dict.fromkeys(("mixup", "cutmix"), (0, 100)),
    }


def test_every_field_is_followed_by_its_help():
    """tyro shows the string under a field as the help of its flag."""
    lines = [line.strip() for line in inspect.getsource(au.Augmentation).splitlines()]
    for field in au.Augmentation.__dataclass_fields__:
        index = next(i for i, line in enumerate(lines) if line.startswith(f"{field}: "))
        assert lines[index + 1].startswith('"""')
