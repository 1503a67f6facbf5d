"""New layers: how their weights are initialized, and their defaults."""

import math

import numpy as np
import pytest
from helpers import draw

from minivit.backend import RandomStream
from minivit.backend.random import Purpose, generator
from minivit.functional import layernorm_forward, rmsnorm_forward
from minivit.layers import (
    AttentionPool,
    Block,
    ConvStem,
    Dropout,
    Gelu,
    LayerNorm,
    LearnedPositions,
    Linear,
    Mlp,
    MultiHeadAttention,
    ResNet,
    RMSNorm,
    SequencePool,
    StridedStem,
)
from minivit.layers.initialize import mimetic_attention, weights_from, xavier_uniform


def rng():
    return np.random.default_rng(0)


def weights(layer):
    return {name: p.data for name, p in layer.named_parameters() if name.endswith("weight")}


def assert_normal(weight, std):
    assert weight.mean() == pytest.approx(0.0, abs=4 * std / math.sqrt(weight.size))
    assert weight.std() == pytest.approx(std, rel=4 / math.sqrt(2 * weight.size))


@pytest.mark.parametrize("stem", [ConvStem(rng(), 8, 3, 64), StridedStem(rng(), 4, 3, 64)])
def test_a_convolutional_stem_starts_he_normal(stem):
    found = weights(stem)
    shapes = [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64)]
    assert [weight.shape for weight in found.values()] == shapes
    for weight in found.values():
        assert_normal(weight, math.sqrt(2.0 / (9 * weight.shape[2])))


def test_resnet_convolutions_start_normal_with_variance_1_over_fan_in():
    found = weights(ResNet(rng(), (1, 2), 3, 64))
    convolutions = {name: weight for name, weight in found.items() if weight.ndim == 4}
    assert {name: weight.shape for name, weight in convolutions.items()} == {
        "root.weight": (3, 3, 3, 8),
        "stages.0.convs.0.weight": (1, 1, 8, 8),
        "stages.0.convs.1.weight": (3, 3, 8, 8),
        "stages.0.convs.2.weight": (1, 1, 8, 32),
        "stages.0.shortcut.weight": (1, 1, 8, 32),
        "stages.1.convs.0.weight": (1, 1, 32, 16),
        "stages.1.convs.1.weight": (3, 3, 16, 16),
        "stages.1.convs.2.weight": (1, 1, 16, 64),
        "stages.1.shortcut.weight": (1, 1, 32, 64),
        "stages.2.convs.0.weight": (1, 1, 64, 16),
        "stages.2.convs.1.weight": (3, 3, 16, 16),
        "stages.2.convs.2.weight": (1, 1, 16, 64),
    }
    for weight in convolutions.values():
        assert_normal(weight, 1.0 / math.sqrt(weight[..., 0].size))


def test_position_embeddings_start_small():
    learned = LearnedPositions(rng(), 50, 16).pos_embed.data
    assert learned.shape == (1, 50, 16)
    assert_normal(learned, 0.02)
    attention = MultiHeadAttention(rng(), 32, 2, relative_grid=(3, 5))
    table = dict(attention.named_parameters())["relative_table"].data
    assert table.shape == (5 * 9, 16)
    assert_normal(table, 0.02)


def mimetic_products(num_heads, C=120):
    """Queries by keys of each head (H, C, C), values by output (C, C), and the factors."""
    qkv, out = mimetic_attention(rng(), C, num_heads)
    q, k, v = (part.reshape(C, num_heads, -1) for part in np.split(qkv, 3, 1))
    return np.einsum("ihd,jhd->hij", q, k), v.reshape(C, C) @ out, (q, k)


def test_mimetic_queries_resemble_keys_and_the_output_is_subtracted():
    """As in Trockman & Kolter (2023): near 0.7 Z + 0.7 I, and 0.4 Z - 0.4 I."""
    C = 120
    (scores,), output, _ = mimetic_products(num_heads=1)
    for found, noise, identity in ((scores, 0.7, 0.7), (output, 0.4, -0.4)):
        assert_normal(found - identity * np.eye(C), noise / math.sqrt(C))
        assert np.diag(found).mean() == pytest.approx(identity, abs=4 * noise / C)


def test_mimetic_heads_are_the_best_approximations_of_their_rank():
    C, D = 120, 40
    scores, _, (q, k) = mimetic_products(num_heads=3)
    drawn = rng().standard_normal((3, C, C))
    for h, head in enumerate(scores):
        target = 0.7 * drawn[h] / math.sqrt(C) + 0.7 * np.eye(C)
        values = np.linalg.svd(target)[1]
        assert np.linalg.norm(target - head, 2) == pytest.approx(values[D])  # Eckart & Young
        for factor in (q[:, h], k[:, h]):  # the singular values are divided equally
            np.testing.assert_allclose(factor.T @ factor, np.diag(values[:D]), atol=1e-12)


def test_only_the_attention_starts_mimetic():
    xavier, mimetic = (
        {n: p.data for n, p in MultiHeadAttention(rng(), 32, 2, mimetic=m).named_parameters()}
        for m in (False, True)
    )
    qkv, out = mimetic_attention(after_xavier(32), 32, 2)
    np.testing.assert_array_equal(mimetic["qkv.weight"], qkv)
    np.testing.assert_array_equal(mimetic["proj.weight"], out)
    assert {name: a.shape for name, a in mimetic.items()} == {
        name: a.shape for name, a in xavier.items()
    }
    assert not mimetic["qkv.bias"].any()


def after_xavier(C):
    """The generator after it drew the Xavier-uniform weights, which these replace."""
    used = rng()
    xavier_uniform(used, C, C, 3)
    xavier_uniform(used, C, C)
    return used


def test_mimetic_weights_that_will_be_loaded_are_not_computed():
    attention = MultiHeadAttention(weights_from(None), 32, 2, mimetic=True)
    for name in ("qkv", "proj"):
        assert getattr(attention, name).weight.data.strides == (0, 0)


def test_the_query_of_attention_pooling_starts_with_unit_length():
    pool = AttentionPool(rng(), 400, 2, 12, LayerNorm, Gelu())
    assert pool.latent.data.shape == (1, 1, 400)
    assert_normal(pool.latent.data, 1 / 20)


def test_a_weight_for_one_output_is_xavier_uniform_too():
    (weight,) = weights(SequencePool(rng(), 500)).values()
    limit = math.sqrt(6.0 / 501)
    assert weight.shape == (500, 1)
    assert 0.98 * limit < np.abs(weight).max() <= limit


def test_a_linear_layer_has_one_matrix_by_default():
    assert weights(Linear(rng(), 4, 3))["weight"].shape == (4, 3)


def test_weights_to_be_loaded_are_zeros_that_take_no_memory():
    zeros = weights_from(None)
    for weight in (xavier_uniform(zeros, 4, 3, 2), zeros.standard_normal((4, 6))):
        assert weight.shape == (4, 6)
        assert weight.strides == (0, 0)
        assert not weight.any()


def test_weights_depend_on_the_seed_and_on_the_purpose():
    drawn = [weights_from(seed).standard_normal(5) for seed in (3, 4)]
    for seed, numbers in zip((3, 4), drawn, strict=True):
        expected = generator(seed, Purpose.INIT).standard_normal(5)
        np.testing.assert_array_equal(numbers, expected)
    assert (drawn[0] != drawn[1]).all()


def test_a_matrix_has_no_copies_by_default():
    assert xavier_uniform(rng(), 4, 3).shape == (4, 3)
    assert xavier_uniform(rng(), 4, 3, 2).shape == (4, 6)


def test_a_bias_can_be_left_out():
    assert Linear(rng(), 4, 3, bias=False).bias is None
    attention = MultiHeadAttention(rng(), 8, 2, qkv_bias=False)
    names = {name for name, _ in attention.named_parameters()}
    assert names == {"qkv.weight", "proj.weight", "proj.bias"}


def test_dropout_scales_in_the_precision_of_the_input():
    kept = Dropout(0.1).forward(np.ones((4, 5)), RandomStream(0))[0]
    assert set(np.unique(kept)) == {0.0, 1 / (1 - 0.1)}


@pytest.mark.parametrize(
    "layer",
    [Block(rng(), 8, 2, 12), Mlp(rng(), 8, 12), MultiHeadAttention(rng(), 8, 2)],
    ids=lambda layer: type(layer).__name__,
)
def test_nothing_is_dropped_by_default(layer):
    x, stream = draw(0, 2, 5, 8), RandomStream(0)
    trained, _ = layer.forward(x, stream)
    assert stream.draws == 0
    np.testing.assert_array_equal(trained, layer.forward(x)[0])


def test_epsilon_is_a_millionth_by_default():
    # with a variance of a millionth, epsilon is half of variance + epsilon
    x = 1e-3 * draw(0, 2, 5, 8)
    one, zero = np.ones(8), np.zeros(8)
    expected, _ = layernorm_forward(x, one, zero, 1e-6)
    np.testing.assert_array_equal(LayerNorm(8).forward(x)[0], expected)
    block = Block(rng(), 8, 2, 12)
    for norm in (block.norm1, block.norm2):
        np.testing.assert_array_equal(norm.forward(x)[0], expected)
    for options in ((), (1e-3,)):
        expected, _ = rmsnorm_forward(x, one, *(options or (1e-6,)))
        np.testing.assert_array_equal(RMSNorm(8, *options).forward(x)[0], expected)
    other, _ = layernorm_forward(x, one, zero, 1e-3)
    block = Block(rng(), 8, 2, 12, norm=lambda dim: LayerNorm(dim, 1e-3))
    for norm in (block.norm1, block.norm2):
        np.testing.assert_array_equal(norm.forward(x)[0], other)
