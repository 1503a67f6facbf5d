"""The plain answers against minivit's own functions, where finite differences do not check them."""

import numpy as np
import pytest

from minivit import ViT, ViTConfig
from minivit import functional as F
from minivit.course import right
from minivit.course import right_further as further
from minivit.course import right_transfer as transfer
from minivit.functional import sincos_2d
from minivit.layers.initialize import low_rank_factors
from minivit.optim import Schedule
from minivit.viz import maps

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape)


PROBS = F.softmax_forward(normal(2, 3, 7, 7))[0]
LAYERS = F.softmax_forward(normal(3, 2, 3, 7, 7))[0]
X, GAMMA, BETA = normal(2, 3, 4), normal(4), normal(4)
QKV = normal(2, 5, 24)
IMAGES = normal(2, 3, 4, 6)
MATRIX = normal(5, 5)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (right.patchify(IMAGES, 2), F.patchify_forward(IMAGES, 2)[0]),
        (right.layernorm(X, GAMMA, BETA, 0.1), F.layernorm_forward(X, GAMMA, BETA, 0.1)[0]),
        (right.gelu(X), F.gelu_forward(X)[0]),
        (right.split_heads(QKV, 4), F.split_heads(QKV, 4)),
        (right.merge_heads(PROBS), F.merge_heads(PROBS)),
        (right.attention(*normal(3, 2, 3, 4, 5))[0].shape, (2, 3, 4, 5)),
        (right.cosine_rate(37, 0.5, 8, 100, 0.05), Schedule("cosine", 0.5, 8, 100, 0.05)(37)),
        (further.rollout(LAYERS), maps.rollout(LAYERS)[-1]),
        (further.relevance(LAYERS, LAYERS - 0.1), maps.relevance(LAYERS, LAYERS - 0.1)[-1]),
        (further.cosines(X), maps.token_similarity(X)),
        (further.entropy(PROBS), maps.entropy(PROBS)),
        (further.distance(PROBS, 2, 3, 4),
         maps.attention_distance(PROBS[None], (2, 3), 4, num_prefix=1)[0]),
    ],
)  # fmt: skip
def test_plain_answers_agree_with_minivit(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_positions_and_parameter_counts_agree_with_minivit():
    y, x = np.divmod(np.arange(12.0), 4)
    omega = 50.0 ** -(np.arange(3) / 2)
    np.testing.assert_allclose(right.sincos(x, y, omega), sincos_2d(3, 4, 12, 50.0), rtol=1e-6)
    config = ViTConfig(image_size=32, patch_size=4, num_classes=10, dim=24, depth=3, num_heads=1,
                       mlp_ratio=2.5)  # fmt: skip
    assert right.count(32, 4, 10, 24, 3, 60) == ViT(config).num_parameters


B, T, D = 2, 5, 4
Q, K, V = normal(3, B, 6, T, D)
BIAS = normal(7)
PAIRS = RNG.integers(0, 7, (T, T))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (transfer.overlapping(IMAGES, 2, 2), F.patchify_forward(IMAGES, 2)[0]),
        (transfer.overlapping(IMAGES, 3, 1) @ np.ones((27, 1)),
         F.conv2d_forward(IMAGES.transpose(0, 2, 3, 1), np.ones((3, 3, 3, 1)))[0]
         .reshape(2, -1, 1)),
        (transfer.with_registers(X, GAMMA[None, None], normal(1, 0, 4), normal(1, 4, 4) * 0 + 1),
         F.class_token_forward(X, GAMMA[None, None])[0] + 1),
        (transfer.rmsnorm(X, GAMMA, 0.1), F.rmsnorm_forward(X, GAMMA, 0.1)[0]),
        (transfer.biased_attention(Q[:, 0], K[:, 0], V[:, 0], BIAS, PAIRS)[0],
         F.attention_forward(Q[:, :1], K[:, :1], V[:, :1], bias=BIAS[PAIRS][None, None])[0][:, 0]),
        (transfer.grouped_attention(Q, K, V), F.attention_forward(Q, K, V)[0]),
        (transfer.grouped_attention(Q, K[:, :2], V[:, :2])[:, 3:],
         F.attention_forward(Q[:, 3:], K[:, 1:2] + 0 * K[:, 3:], V[:, 1:2] + 0 * V[:, 3:])[0]),
        (transfer.low_rank(MATRIX, 2), np.matmul(*low_rank_factors(MATRIX, 2))),
        (transfer.layerscale_backward(X, X + 1, GAMMA, lambda d: 2 * d)[1],
         F.layer_scale_backward(X, F.layer_scale_forward(X + 1, GAMMA)[1])[1]),
    ],
)  # fmt: skip
def test_answers_beyond_the_chapters_agree_with_minivit(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_pooled_statistics_are_those_of_all_images():
    files = [normal(n, 3) + n for n in (4, 9, 2)]
    found = transfer.pooled(
        np.stack([file.mean(0) for file in files]),
        np.stack([file.std(0) for file in files]),
        np.array([4, 9, 2]),
    )
    both = np.concatenate(files)
    np.testing.assert_allclose(found, (both.mean(0), both.std(0)), rtol=1e-12)
