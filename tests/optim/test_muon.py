"""Muon: what it orthogonalizes, what it leaves to AdamW, and the same steps in PyTorch."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from helpers import draw
from hypothesis import given
from hypothesis import strategies as st

from minivit.models import ViT, ViTConfig
from minivit.optim import AdamW, Muon
from minivit.optim.muon import is_matrix, orthogonalize

SMALL = ViTConfig(image_size=8, patch_size=4, dim=8, depth=2, num_heads=2, num_classes=3)
HYBRID = replace(SMALL, stem="conv")


def trained(make, steps=3, config=SMALL, **options):
    """A small model after several steps with given gradients."""
    model = ViT(config, dtype="float64")
    optimizer = make(model.flat, weight_decay=0.1, **options)
    for t in range(steps):
        model.flat.grad[...] = draw(t, model.flat.data.size)
        optimizer.step(0.01)
    return model


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_singular_vectors_are_kept_and_singular_values_come_near_one(rows, columns, seed):
    matrix = draw(seed, rows, columns)
    u, lengths, vt = np.linalg.svd(matrix, full_matrices=False)
    found = u.T @ orthogonalize(matrix) @ vt.T
    np.testing.assert_allclose(found, np.diag(np.diag(found)), atol=1e-9)
    # five iterations are too few for tiny singular values
    strong = lengths > 0.05 * np.linalg.norm(lengths)
    assert np.all((np.diag(found)[strong] > 0.6) & (np.diag(found)[strong] < 1.3))


def test_a_zero_matrix_stays_zero_and_the_argument_is_not_modified():
    zeros = np.zeros((3, 4), np.float32)
    assert not orthogonalize(zeros).any()
    matrix = draw(0, 3, 4)
    before = matrix.copy()
    assert orthogonalize(matrix).dtype == np.float64
    np.testing.assert_array_equal(matrix, before)


def test_a_tiny_matrix_keeps_its_singular_vectors():
    matrix = 1e-8 * np.diag([3.0, 2.0, 1.0])
    assert (np.diag(orthogonalize(matrix)) > 0.0).all()


def test_matrices_in_blocks_and_convolutions_use_muon_the_rest_adamw():
    muon, adamw = trained(Muon, config=HYBRID), trained(AdamW, config=HYBRID)
    pairs = zip(muon.named_parameters(), adamw.named_parameters(), strict=True)
    by_muon = {name for (name, a), (_, b) in pairs if not np.array_equal(a.data, b.data)}
    in_block = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    expected = {f"blocks.{i}.{name}.weight" for i in range(2) for name in in_block}
    assert by_muon == expected | {f"patch_embed.convs.{i}.weight" for i in range(2)}


def test_the_block_size_does_not_matter(monkeypatch):
    expected = trained(Muon).flat.data
    monkeypatch.setattr(importlib.import_module("minivit.backend.blocks"), "BLOCK", 7)
    np.testing.assert_array_equal(trained(Muon).flat.data, expected)


def test_a_step_has_the_length_of_an_adamw_step():
    model = ViT(ViTConfig(dim=64, depth=1, num_heads=4), dtype="float64")
    before = dict(model.flat.views(model.flat.data.copy()))
    model.flat.grad[...] = draw(0, model.flat.data.size)
    Muon(model.flat).step(0.01)
    for name, after in model.flat.views(model.flat.data).items():
        if is_matrix(name, after.shape):
            rms = np.sqrt(np.mean((after - before[name]) ** 2))
            assert 0.001 < rms < 0.003, name


def test_queries_keys_and_values_are_orthogonalized_separately():
    model = ViT(SMALL, dtype="float64")
    before = model.blocks[0].attn.qkv.weight.data.copy()
    model.flat.grad[...] = draw(0, model.flat.data.size)
    gradient = model.blocks[0].attn.qkv.weight.grad.copy()
    Muon(model.flat, momentum=0.0).step(1.0)
    change = before - model.blocks[0].attn.qkv.weight.data
    for part in (slice(0, 8), slice(8, 16), slice(16, 24)):
        expected = 0.2 * np.sqrt(8) * orthogonalize(gradient[:, part])
        np.testing.assert_allclose(change[:, part], expected, atol=1e-12)


def test_a_convolution_is_a_matrix_of_windows_by_outputs():
    model = ViT(HYBRID, dtype="float64")
    weight = model.patch_embed.convs[1].weight
    before = weight.data.copy()
    model.flat.grad[...] = draw(0, model.flat.data.size)
    expected = 0.2 * np.sqrt(9 * 4) * orthogonalize(weight.grad.reshape(9 * 4, 8))
    Muon(model.flat, momentum=0.0).step(1.0)
    np.testing.assert_allclose(before - weight.data, expected.reshape(3, 3, 4, 8), atol=1e-12)


def test_pytorchs_muon_takes_the_same_steps():
    torch = pytest.importorskip("torch")
    model = ViT(SMALL, dtype="float64")
    name = "blocks.1.mlp.fc1.weight"
    weight = dict(model.named_parameters())[name]
    twin = torch.nn.Parameter(torch.tensor(weight.data.copy()))
    options = {"momentum": 0.95, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    torch_optimizer = torch.optim.Muon([twin], lr=0.01, **options)
    optimizer = Muon(model.flat, weight_decay=0.1, momentum=0.95)
    start = weight.data.copy()
    for t in range(4):
        model.flat.grad[...] = draw(t, model.flat.data.size)
        twin.grad = torch.tensor(weight.grad.copy())
        optimizer.step(0.01)
        torch_optimizer.step()
    moved = np.linalg.norm(weight.data - start)
    # PyTorch's iteration runs in bfloat16, which has about three digits
    assert np.linalg.norm(weight.data - twin.detach().numpy()) < 0.03 * moved


def test_the_momentum_is_0_95_by_default():
    expected = trained(Muon, momentum=0.95).flat.data
    np.testing.assert_array_equal(trained(Muon).flat.data, expected)


def test_the_given_map_function_performs_every_update():
    model = ViT(SMALL, dtype="float64")
    model.flat.grad[...] = draw(0, model.flat.data.size)
    before = model.flat.data.copy()
    Muon(model.flat, weight_decay=0.1).step(0.01, run=lambda function, parts: [])
    np.testing.assert_array_equal(model.flat.data, before)
