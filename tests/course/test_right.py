"""The plain answers beside minivit's own functions, where finite differences do not check them."""

import numpy as np
import pytest

from minivit import ViT, ViTConfig
from minivit import functional as F
from minivit.course import right
from minivit.course import right_further as further
from minivit.functional import sincos_2d
from minivit.optim import Schedule
from minivit.viz import maps

RNG = np.random.default_rng(0)


def of(*shape):
    return RNG.standard_normal(shape)


PROBS = F.softmax_forward(of(2, 3, 7, 7))[0]
LAYERS = F.softmax_forward(of(3, 2, 3, 7, 7))[0]
X, GAMMA, BETA = of(2, 3, 4), of(4), of(4)
QKV = of(2, 5, 24)
IMAGES = of(2, 3, 4, 6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (right.patchify(IMAGES, 2), F.patchify_forward(IMAGES, 2)[0]),
        (right.layernorm(X, GAMMA, BETA, 0.1), F.layernorm_forward(X, GAMMA, BETA, 0.1)[0]),
        (right.gelu(X), F.gelu_forward(X)[0]),
        (right.split_heads(QKV, 4), F.split_heads(QKV, 4)),
        (right.merge_heads(PROBS), F.merge_heads(PROBS)),
        (right.attention(*of(3, 2, 3, 4, 5))[0].shape, (2, 3, 4, 5)),
        (right.cosine_rate(37, 0.5, 8, 100, 0.05), Schedule("cosine", 0.5, 8, 100, 0.05)(37)),
        (further.rollout(LAYERS), maps.rollout(LAYERS)[-1]),
        (further.relevance(LAYERS, LAYERS - 0.1), maps.relevance(LAYERS, LAYERS - 0.1)[-1]),
        (further.cosines(X), maps.token_similarity(X)),
        (further.entropy(PROBS), maps.entropy(PROBS)),
        (further.distance(PROBS, 2, 3, 4),
         maps.attention_distance(PROBS[None], (2, 3), 4, num_prefix=1)[0]),
    ],
)  # fmt: skip
def test_as_minivits(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_places_and_counts():
    y, x = np.divmod(np.arange(12.0), 4)
    omega = 50.0 ** -(np.arange(3) / 2)
    np.testing.assert_allclose(right.sincos(x, y, omega), sincos_2d(3, 4, 12, 50.0), rtol=1e-6)
    config = ViTConfig(image_size=32, patch_size=4, num_classes=10, dim=24, depth=3, num_heads=1,
                       mlp_ratio=2.5)  # fmt: skip
    assert right.count(32, 4, 10, 24, 3, 60) == ViT(config).num_parameters
