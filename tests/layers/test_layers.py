"""Layers: their parameters, the gradients that backward accumulates, and dropout in training and
evaluation."""

import math
import re

import numpy as np
import pytest
from helpers import arrays_in, draw
from hypothesis import given
from hypothesis import strategies as st

from minivit.backend import RandomStream
from minivit.functional import (
    gelu_forward,
    gelu_tanh_forward,
    multi_head_attention_forward,
    relative_offsets,
    rotary_axial,
)
from minivit.layers import (
    AttentionPool,
    Block,
    Bottleneck,
    ConvStem,
    Dropout,
    DropPath,
    FixedPositions,
    FlatParameters,
    Gelu,
    GeluTanh,
    LayerNorm,
    LayerScale,
    LearnedPositions,
    Linear,
    Mlp,
    MultiHeadAttention,
    PatchDropout,
    PatchEmbed,
    QuickGelu,
    ResNet,
    RMSNorm,
    Rotary,
    SequencePool,
    StridedStem,
    Swiglu,
)
from minivit.layers.block import BRANCH1, BRANCH2
from minivit.layers.layer import ALIGNMENT, Layer, Parameter

SHAPES = {
    "norm1.weight": (8,),
    "norm1.bias": (8,),
    "attn.qkv.weight": (8, 24),
    "attn.qkv.bias": (24,),
    "attn.proj.weight": (8, 8),
    "attn.proj.bias": (8,),
    "norm2.weight": (8,),
    "norm2.bias": (8,),
    "mlp.fc1.weight": (8, 12),
    "mlp.fc1.bias": (12,),
    "mlp.fc2.weight": (12, 8),
    "mlp.fc2.bias": (8,),
}


ROTARY = Rotary(*rotary_axial(2, 2, 4, 10.0), half=False)


def rng():
    return np.random.default_rng(0)


def make_block(**options):
    return Block(rng(), 8, 2, 12, **options)


def make_layers():
    tokens, images = draw(0, 3, 5, 8), draw(1, 3, 3, 4, 6)
    grid = {"relative_grid": (2, 2)}
    return [
        pytest.param(layer, x, id=type(layer).__name__)
        for layer, x in (
            (Linear(rng(), 8, 6), tokens),
            (LayerNorm(8), tokens),
            (RMSNorm(8), tokens),
            (LayerScale(8, 0.1), tokens),
            (Mlp(rng(), 8, 12), tokens),
            (MultiHeadAttention(rng(), 8, 2), tokens),
            (make_block(), tokens),
            (MultiHeadAttention(rng(), 8, 2, **grid), tokens),
            (make_block(attention=grid), tokens),
            (MultiHeadAttention(rng(), 8, 2, **grid, relative_bias=True), tokens),
            (MultiHeadAttention(rng(), 8, 2, qkv_bias=False, qk_norm=LayerNorm), tokens),
            (MultiHeadAttention(rng(), 8, 2, qk_norm=RMSNorm, rotary=ROTARY), tokens),
            (Mlp(rng(), 8, 6, Swiglu()), tokens),
            (Mlp(rng(), 8, 6, QuickGelu()), tokens),
            (Linear(rng(), 8, 6, bias=False), tokens),
            (AttentionPool(rng(), 8, 2, 12, LayerNorm, Gelu()), tokens),
            (PatchEmbed(rng(), 2, 3, 8), images),
            (ConvStem(rng(), 2, 3, 8), images),
            (ConvStem(rng(), 2, 3, 8, num_residual=2), images),
            (StridedStem(rng(), 2, 3, 8), images),
            (Bottleneck(rng(), 8, 16, 2), draw(1, 2, 4, 6, 8)),
            (ResNet(rng(), (1, 2), 3, 32), images),
            (SequencePool(rng(), 8), tokens),
            (LearnedPositions(rng(), 5, 8), tokens),
        )
    ]


def test_a_blocks_parameters_have_timms_names():
    found = {name: p.data.shape for name, p in make_block().named_parameters()}
    assert found == SHAPES


def test_the_layers_of_a_block_have_paths_starting_with_the_block_itself():
    block = make_block(scale=lambda dim: LayerScale(dim, 0.1))
    attention = ["attn", "attn.qkv", "attn.proj", "attn.attn_drop"]
    mlp = ["mlp", "mlp.fc1", "mlp.act", "mlp.drop", "mlp.fc2"]
    inside = ["norm1", *attention, "norm2", *mlp, "drop", "ls1", "ls2", "drop_path"]
    assert [path for path, _ in block.named_layers()] == ["", *inside]
    found = dict(block.named_layers("blocks.0"))
    assert list(found) == ["blocks.0", *(f"blocks.0.{path}" for path in inside)]
    assert found["blocks.0"] is block
    assert found["blocks.0.mlp.fc2"] is block.mlp.fc2


@pytest.mark.parametrize(("layer", "x"), make_layers())
def test_gradients_of_two_backward_passes_add_up(layer, x):
    out, cache = layer.forward(x)
    dout = draw(2, *out.shape)
    layer.backward(dout, cache)
    once = {name: p.grad.copy() for name, p in layer.named_parameters()}
    assert once
    layer.backward(dout, layer.forward(x)[1])
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(p.grad, 2.0 * once[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("layer", "x"), make_layers())
def test_two_forward_passes_may_be_in_progress_at_once(layer, x):
    out, cache = layer.forward(x)
    dout = draw(2, *out.shape)
    expected = layer.backward(dout, cache)
    _, first = layer.forward(x)
    layer.forward(3.0 * x + 1.0)
    np.testing.assert_array_equal(layer.backward(dout, first), expected)


@pytest.mark.parametrize(("layer", "x"), make_layers())
def test_no_float64_leaks_from_a_float32_layer(layer, x):
    FlatParameters(layer, "float32")
    out, cache = layer.forward(x.astype("float32"))
    cached = [array for array in arrays_in(cache) if array.dtype.kind == "f"]
    found = [out, layer.backward(np.ones_like(out), cache), *cached]
    assert {str(array.dtype) for array in found} == {"float32"}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_weights_start_xavier_uniform_and_biases_zero(fan_in, fan_out, copies):
    layer = Linear(rng(), fan_in, fan_out, copies)
    assert layer.weight.data.shape == (fan_in, copies * fan_out)
    assert layer.bias.data.tolist() == [0.0] * (copies * fan_out)
    assert np.abs(layer.weight.data).max() <= math.sqrt(6.0 / (fan_in + fan_out))


def test_xavier_uniform_covers_its_range():
    weight = Linear(rng(), 300, 300, copies=3).weight.data
    limit = math.sqrt(6.0 / 600)
    assert np.abs(weight).max() > 0.99 * limit
    assert weight.mean() == pytest.approx(0.0, abs=0.01 * limit)
    assert weight.std() == pytest.approx(limit / math.sqrt(3.0), rel=0.01)


@pytest.mark.parametrize(
    ("activation", "function"), [(Gelu(), gelu_forward), (GeluTanh(), gelu_tanh_forward)]
)
def test_the_mlp_uses_the_given_activation(activation, function):
    mlp, x = Mlp(rng(), 4, 6, activation), 3.0 * draw(0, 2, 3, 4)
    hidden = function(x @ mlp.fc1.weight.data)[0]
    np.testing.assert_allclose(mlp.forward(x)[0], hidden @ mlp.fc2.weight.data, atol=1e-13)


def test_the_mlp_of_attention_pooling_uses_the_given_activation():
    pool, x = AttentionPool(rng(), 4, 2, 6, LayerNorm, GeluTanh()), 3.0 * draw(0, 2, 5, 4)
    fc1, fc2 = pool.mlp.fc1.weight.data, pool.mlp.fc2.weight.data.copy()
    pool.mlp.fc2.weight.data[...] = 0.0
    z, _ = pool.forward(x)
    pool.mlp.fc2.weight.data[...] = fc2
    hidden, _ = gelu_tanh_forward(pool.norm.forward(z)[0] @ fc1)
    np.testing.assert_allclose(pool.forward(x)[0], z + hidden @ fc2, atol=1e-13)


def test_a_block_with_zero_branches_is_the_identity():
    block, x, dy = make_block(), draw(0, 2, 5, 8), draw(1, 2, 5, 8)
    block.attn.proj.weight.data[...] = 0.0
    block.mlp.fc2.weight.data[...] = 0.0
    y, cache = block.forward(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(block.backward(dy, cache), dy)


def test_layer_scale_multiplies_each_branch():
    x = draw(0, 2, 5, 8)

    def scaled(first, second):
        block = make_block(scale=lambda dim: LayerScale(dim, first))
        block.ls2.gamma.data[...] = second
        return block.forward(x)[0]

    plain = make_block()
    np.testing.assert_array_equal(scaled(1.0, 1.0), plain.forward(x)[0])
    np.testing.assert_array_equal(scaled(0.0, 0.0), x)
    attended = plain.attn.forward(plain.norm1.forward(x)[0])[0]
    np.testing.assert_allclose(scaled(0.25, 0.0), x + 0.25 * attended, atol=1e-14)
    added = plain.mlp.forward(plain.norm2.forward(x)[0])[0]
    np.testing.assert_allclose(scaled(0.0, 0.25), x + 0.25 * added, atol=1e-14)


def test_the_equation_of_a_branch_names_the_layers_active_in_evaluation():
    drops = {"dropout": 0.5, "attn_dropout": 0.5, "drop_path": 0.5}
    for scale, first, second in (
        (None, "x + attn(norm1(x))", "r + mlp(norm2(r))"),
        (lambda dim: LayerScale(dim, 0.1), "x + ls1(attn(norm1(x)))", "r + ls2(mlp(norm2(r)))"),
    ):
        block = make_block(scale=scale, **drops)
        assert block.equation(BRANCH1, "x") == first
        assert block.equation(BRANCH2, "r") == second


def test_relative_positions_belong_to_attention():
    attention, x = MultiHeadAttention(rng(), 8, 2, relative_grid=(2, 3)), draw(0, 3, 7, 8)
    p = {name: parameter.data for name, parameter in attention.named_parameters()}
    expected, _ = multi_head_attention_forward(
        x,
        p["qkv.weight"],
        p["qkv.bias"],
        p["proj.weight"],
        p["proj.bias"],
        2,
        relative=(p["relative_table"], relative_offsets(2, 3)),
    )
    np.testing.assert_array_equal(attention.forward(x)[0], expected)
    names = {name for name, _ in make_block(attention={"relative_grid": (2, 3)}).named_parameters()}
    assert names == {*SHAPES, "attn.relative_table"}


@pytest.mark.parametrize("layer", [MultiHeadAttention(rng(), 8, 2), make_block()])
def test_the_gradient_of_the_map_is_returned(layer):
    x = draw(0, 3, 5, 8)
    y, cache = layer.forward(x)
    dprobs = np.full((3, 2, 5, 5), np.nan)
    layer.backward(draw(1, *y.shape), cache, dprobs)
    assert np.isfinite(dprobs).all()
    assert dprobs.any((0, 2, 3)).all()


def test_learned_positions_are_added_and_learn_from_the_whole_batch():
    layer, x, dout = LearnedPositions(rng(), 5, 8), draw(0, 3, 5, 8), draw(1, 3, 5, 8)
    y, cache = layer.forward(x)
    np.testing.assert_array_equal(y, x + layer.pos_embed.data)
    np.testing.assert_array_equal(layer.backward(dout, cache), dout)
    np.testing.assert_allclose(layer.pos_embed.grad[0], dout.sum(0), atol=1e-14)


def test_fewer_tokens_get_the_last_fixed_positions():
    table, x, dout = draw(2, 1, 7, 8), draw(0, 3, 5, 8), draw(1, 3, 5, 8)
    y, cache = FixedPositions(table).forward(x)
    np.testing.assert_array_equal(y, x + table[:, 2:])
    np.testing.assert_array_equal(FixedPositions(table).backward(dout, cache), dout)


# Dropout


@pytest.mark.parametrize("layer", [Dropout(0.5), DropPath(0.5), PatchDropout(0.5, 1)])
def test_without_a_stream_dropout_is_inactive(layer):
    x = draw(0, 4, 5, 8)
    out, cache = layer.forward(x)
    assert out is x
    assert cache is None
    assert layer.backward(x, cache) is x


@pytest.mark.parametrize("layer", [Dropout(0.0), DropPath(0.0), PatchDropout(0.0, 1)])
def test_a_rate_of_zero_draws_nothing(layer):
    stream, x = RandomStream(0), draw(0, 4, 5, 8)
    out, _ = layer.forward(x, stream)
    assert out is x
    assert stream.draws == 0


def test_dropout_drops_elements_and_drop_path_drops_whole_images():
    x = np.ones((64, 5, 8), "float32")
    numbers, _ = Dropout(0.25).forward(x, RandomStream(0))
    images, mask = DropPath(0.25).forward(x, RandomStream(0))
    assert numbers.dtype == images.dtype == np.float32
    assert (numbers == 0).mean() == pytest.approx(0.25, abs=0.05)
    assert len(np.unique(numbers[0])) == 2
    assert mask.shape == (64,)
    assert {tuple(np.unique(image)) for image in images} == {(0.0,), (np.float32(1 / 0.75),)}


def test_patch_dropout_keeps_the_same_number_per_image_and_all_prefix_tokens():
    x = np.tile(np.arange(18.0)[:, None], (64, 1, 2))  # each token holds its position
    out, cache = PatchDropout(0.75, 2).forward(x, RandomStream(0))
    positions = out[..., 0].astype(int)
    assert positions.shape == (64, 2 + 4)
    assert (positions[:, :2] == [0, 1]).all()
    assert (np.diff(positions) > 0).all()
    assert len(np.unique(positions, axis=0)) > 50  # each image draws its own
    counts = np.bincount(positions[:, 2:].ravel(), minlength=18)[2:]
    assert counts.min() > 4  # of 16 expected: every patch is kept sometimes
    assert counts.max() < 32
    dx = PatchDropout(0.75, 2).backward(np.ones_like(out), cache)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dx.any(-1).sum(1), 6)


def test_patch_dropout_keeps_at_least_one_patch():
    assert PatchDropout(0.9, 1).forward(draw(0, 2, 4, 3), RandomStream(0))[0].shape == (2, 2, 3)


def test_every_dropout_of_a_block_draws_its_own_mask():
    block = make_block(dropout=0.5, attn_dropout=0.5, drop_path=0.5)
    stream = RandomStream(0)
    _, cache = block.forward(draw(0, 16, 5, 8), stream)
    assert stream.draws == 6  # attention map, MLP, and two masks per branch
    assert (cache.branch1.drop != cache.branch2.drop).any()
    assert (cache.branch1.drop_path != cache.branch2.drop_path).any()


# Flat parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binding_keeps_the_values_and_puts_decayed_parameters_first(dtype):
    block = make_block()
    before = {name: p.data.copy() for name, p in block.named_parameters()}
    flat = FlatParameters(block, dtype)
    ndims = [len(shape) for shape in flat.shapes.values()]
    assert ndims == sorted(ndims, reverse=True)
    decayed = {name for name, a in before.items() if a.ndim >= 2}
    inside = np.arange(flat.data.size) < flat.num_decayed
    for name, view in flat.views(inside).items():
        assert (view == (name in decayed)).all()
    assert flat.data.dtype == flat.grad.dtype == dtype
    assert flat.num_parameters == sum(a.size for a in before.values())
    for name, p in block.named_parameters():
        np.testing.assert_array_equal(p.data, before[name].astype(dtype))


def test_without_decayed_parameters_no_number_decays():
    flat = FlatParameters(LayerNorm(8))
    assert (flat.num_decayed, flat.num_parameters) == (0, 16)


def test_parameters_and_gradients_are_views_into_the_flat_arrays():
    block = make_block()
    flat = FlatParameters(block)
    flat.data[...] = np.arange(flat.data.size)
    flat.grad[...] = -np.arange(flat.data.size)
    start = 0
    parameters = dict(block.named_parameters())
    for name, shape in flat.shapes.items():
        start += -start % ALIGNMENT
        expected = np.arange(start, start + math.prod(shape)).reshape(shape)
        np.testing.assert_array_equal(parameters[name].data, expected)
        np.testing.assert_array_equal(parameters[name].grad, -expected)
        start += math.prod(shape)
    flat.zero_grad()
    assert all(not p.grad.any() for p in parameters.values())
    parameters["norm1.bias"].grad += 1.0
    assert flat.grad.sum() == 8.0


def test_a_gradient_has_the_dtype_of_its_parameter():
    for dtype in ("float32", "float64"):
        assert Parameter(np.ones((2, 3), dtype)).grad.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replica_has_its_own_gradients_and_a_copy_also_its_own_weights(dtype):
    block = make_block()
    flat = FlatParameters(block, dtype)
    flat.grad += 1.0
    for make, shared in ((flat.replica, True), (flat.copy, False)):
        other = make_block()
        twin = make(other)
        np.testing.assert_array_equal(twin.data, flat.data)
        assert np.shares_memory(twin.data, flat.data) == shared
        assert twin.grad.dtype == dtype
        assert twin.grad.shape == flat.grad.shape
        assert not twin.grad.any()
        for _, parameter in other.named_parameters():
            assert np.shares_memory(parameter.data, twin.data)
            assert np.shares_memory(parameter.grad, twin.grad)


def test_a_part_has_only_the_parameters_of_its_layer():
    block, inside = make_block(), Layer()
    inside.norm1 = block.norm1
    flat = FlatParameters(block)
    part = flat.part(inside)
    assert set(part.shapes) == set(part.slices) == {"norm1.weight", "norm1.bias"}
    part.views(part.data)["norm1.bias"][...] = 3.0
    assert (block.norm1.bias.data == 3.0).all()


def test_host_views_have_the_names_of_the_parameters():
    block = make_block()
    flat = FlatParameters(block)
    views = flat.host_views(flat.data)
    for name, p in block.named_parameters():
        np.testing.assert_array_equal(views[name], p.data)


def test_every_parameter_starts_at_a_cache_line():
    """For float32. A GPU's 16-byte loads depend on it, also in bf16 copies of half the size."""
    layer = Layer()
    for i, size in enumerate((1, 3, 16, 17, 5)):
        setattr(layer, f"p{i}", Parameter(np.ones((size, 1 + i % 2))))
    flat = FlatParameters(layer)
    assert [slice_.start * 4 % 64 for slice_ in flat.slices.values()] == [0] * 5
    assert len(flat.data) * 4 % 64 == 0
    assert flat.data.sum() == flat.num_parameters  # zeros as padding in between


@pytest.mark.parametrize("subset", range(2**5))
def test_spans_are_the_contiguous_runs_of_selected_parameters(subset):
    """For every subset of five parameters: one slice per run, from its first number to its last."""
    layer, sizes = Layer(), (7, 16, 40, 3, 1)
    for i, size in enumerate(sizes):
        setattr(layer, f"p{i}", Parameter(np.ones(size)))
    flat = FlatParameters(layer)
    bits = "".join("01"[subset >> i & 1] for i in range(5))
    runs = [(m.start(), m.end() - 1) for m in re.finditer("1+", bits)]
    starts = [0, 16, 32, 80, 96]
    expected = [slice(starts[a], starts[b] + sizes[b]) for a, b in runs]
    chosen = {f"p{i}" for i in range(5) if bits[i] == "1"}
    assert list(flat.spans(chosen.__contains__)) == expected
    covered = np.zeros(len(flat.data), int)
    for rows in flat.pieces(chosen.__contains__):
        covered[rows] += 1
    flat.frozen = chosen
    flat.grad[...] = 1.0
    flat.zero_frozen_grad()
    np.testing.assert_array_equal(covered, 1 - flat.grad)
    for name, view in flat.views(covered).items():
        assert (view == (name in chosen)).all()
