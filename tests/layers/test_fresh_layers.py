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
from minivit.layers.initialize import weights_from, xavier_uniform


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
