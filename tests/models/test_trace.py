"""`minivit.trace`: complete, correct, and without changing the model."""

import linecache
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import minivit
from minivit import functional
from minivit.errors import UserError
from minivit.functional import cross_entropy_backward, cross_entropy_forward
from minivit.models import MaskedViT, Step, Trace
from minivit.models.tracing import SPECS

ROOT = Path(minivit.__file__).parents[1]

KINDS = {
    "class token": {},
    "mean, sines": {"pool": "mean", "pos_embed": "sincos2d", "activation": "gelu_tanh"},
    "relative, pre-logits": {"pos_embed": "relative", "representation_size": 6},
    "hybrid, sequence": {"stem": "conv", "pool": "seq"},
    "hybrid, residual": {"stem": "conv", "residual_convs": 2},
    "RMSNorm, LayerScale": {"norm": "rmsnorm", "layer_scale": 0.1},
    "ResNet": {"stem": "resnet", "stages": (1, 1, 1), "depth": 0, "dim": 64, "pool": "mean",
               "pos_embed": "none"},
}  # fmt: skip


def make_model(**options) -> minivit.ViT:
    small = {"image_size": (8, 12), "dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    model = minivit.ViT(minivit.ViTConfig(**{**small, **options}), dtype="float64")
    rng = np.random.default_rng(1)
    for _, parameter in model.named_parameters():
        parameter.data[...] = 0.3 * rng.standard_normal(parameter.data.shape)
    return model


IMAGE = np.random.default_rng(2).standard_normal((3, 8, 12))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_steps_match_the_model(options):
    model = make_model(**options)
    found = minivit.trace(model, IMAGE, label=2)
    logits, cache = model.forward(IMAGE[None])
    np.testing.assert_array_equal(found["head"].array, logits)
    for i, block in enumerate(cache.blocks):
        np.testing.assert_array_equal(found[f"blocks.{i}.attn.probs"].array, block.attn.probs)
    loss, loss_cache = cross_entropy_forward(logits, np.array([2]))
    assert found["loss"].array == loss
    model.flat.grad[...] = 0
    dimage = model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    if model.config.stem == "patch":
        np.testing.assert_array_equal(found["patch_embed.dimage"].array, dimage)
    np.testing.assert_array_equal(found["head.dweight"].array, model.head.weight.grad)
    names = [step.name for step in found]
    assert len(set(names)) == len(names), "each name once"
    order = [step.backward for step in found]
    assert order == sorted(order), "first the one pass, then the other"


def test_every_gradient_of_a_parameter_is_a_step():
    model = make_model()
    found = minivit.trace(model, IMAGE, label=0)
    logits, cache = model.forward(IMAGE[None])
    _, loss_cache = cross_entropy_forward(logits, np.array([0]))
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    linear = {"weight": "dweight", "bias": "dbias"}
    norm = {"weight": "dgamma", "bias": "dbeta"}
    for name, parameter in model.named_parameters():
        layer, _, last = name.rpartition(".")
        if layer.endswith((".qkv", ".proj")) and ".attn." in layer:
            owner, _, kind = layer.rpartition(".")
            step = f"{owner}.d{kind}_{last}"
        elif not layer:
            step = f"d{last}"
        else:
            step = f"{layer}.{(norm if 'norm' in layer else linear)[last]}"
        np.testing.assert_allclose(found[step].array, parameter.grad, atol=1e-15, err_msg=step)


def test_the_residual_sums_are_steps():
    found = minivit.trace(make_model(), IMAGE)
    total = found["with_positions"].array + found["blocks.0.attn"].array
    np.testing.assert_array_equal(found["blocks.0.residual"].array, total)
    total = found["blocks.0.residual"].array + found["blocks.0.mlp.fc2"].array
    np.testing.assert_array_equal(found["blocks.0"].array, total)
    total = found["blocks.0.dresidual"].array + found["blocks.0.norm1.dx"].array
    np.testing.assert_allclose(found["blocks.0.dx"].array, total, rtol=1e-12)
    total = found["blocks.1.dx"].array + found["blocks.0.norm2.dx"].array
    np.testing.assert_allclose(found["blocks.0.dresidual"].array, total, rtol=1e-12)


def test_each_result_has_its_own_part_of_the_equation():
    found = minivit.trace(make_model(), IMAGE)
    equations = {
        "head.dx": "dy Wᵀ",
        "head.dweight": "xᵀ dy",
        "head.dbias": "Σ dy",
        "norm.dbeta": "Σ dy",
        "blocks.1.attn.dk": "dscoresᵀ q / √D",
        "blocks.1.attn.dproj_weight": "xᵀ dy",
        "blocks.1.attn.k": "a third of qkv each, cut into heads",  # one for all three
        "dcls_token": "the first",
    }
    assert {name: found[name].equation for name in equations} == equations


def test_where_gives_the_line_of_the_function():
    for step in minivit.trace(make_model(), IMAGE):
        if step.name == "image":
            continue
        location, function = step.where.split(" ")
        file, line = location.split(":")
        text = linecache.getline(str(ROOT / file), int(line))
        assert text.strip().startswith(f"def {function.split('.')[-1]}("), step


def test_no_function_of_a_model_is_missing():
    """A new pair needs a line in SPECS, unless no model calls it in a trace."""
    exceptions = {
        "interpolate", "unpatchify",  # not of a model
        "dropout", "drop_path",  # in evaluation
        "resize_positions",  # at another size than the model's
        "multi_head_attention",  # its parts are steps
        "softmax", "patchify",
    }  # fmt: skip
    listed = {function.__name__ for function in SPECS}
    for name in functional.__all__:
        pair_name, _, direction = name.rpartition("_")
        if direction in ("forward", "backward") and pair_name not in exceptions:
            assert name in listed


def test_the_model_and_the_interpreter_are_restored():
    model = make_model()
    model.flat.grad[...] = 7
    before = model.flat.data.copy()
    minivit.trace(model, IMAGE)
    assert (model.flat.grad == 7).all()
    np.testing.assert_array_equal(model.flat.data, before)
    assert sys.getprofile() is None
    with pytest.raises(UserError):
        minivit.trace(model, IMAGE[:, :4])
    assert sys.getprofile() is None


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_error_in_the_model_is_not_hidden_by_the_trace(where, monkeypatch):
    model = make_model()

    def fail(*args):
        raise FloatingPointError("of the layer")

    monkeypatch.setattr(model.blocks[1].mlp.fc2, where, fail)
    with pytest.raises(FloatingPointError, match="of the layer"):
        minivit.trace(model, IMAGE)
    assert sys.getprofile() is None


def test_tables():
    found = minivit.trace(make_model(), IMAGE)
    printed, page = repr(found), found._repr_html_()
    assert len(printed.splitlines()) == len(found) + 1
    for step in found:
        assert step.name in printed
        assert step.name in page
    assert "exp(s) / Σ exp(s)" in printed
    assert page.count("<tr>") == len(found) + 3, "a head, and a title for each pass"
    digits = len(str(len(found) - 1))
    assert printed.splitlines()[1].startswith(f"{'0':>{digits}}  image")
    attention = [step.name for step in found if "blocks.0.attn" in step.name]
    assert [step.name for step in found.only("blocks.0.attn")] == attention
    assert len(repr(found.only("nothing")).splitlines()) == 1


BY_HAND = Trace(
    [
        Step("a", np.array([[1.0, 2.0], [3.0, 6.0]]), False, "x < y", "f.py:1 g"),
        Step("longer.name", np.array(0.5), True, "b", "in/a/f.py:20 h"),
    ]
)


def test_a_table_by_hand():
    assert repr(BY_HAND).splitlines() == [
        "   name         shape     mean   std  min  max  equation  where",
        "0  a            2 × 2        3  1.87    1    6  x < y     f.py:1 g",
        "1  longer.name  a number   0.5     0  0.5  0.5  b         in/a/f.py:20 h",
    ]


def test_a_page_by_hand():
    rows = list(ElementTree.fromstring(BY_HAND._repr_html_()).iter("tr"))
    assert [[cell.text for cell in row] for row in rows] == [
        ["name", "shape", "mean", "std", "min", "max", "equation", "where"],
        ["forward"],
        ["a", "2 × 2", "3", "1.87", "1", "6", "x < y", "f.py:1 g"],
        ["backward"],
        ["longer.name", "a number", "0.5", "0", "0.5", "0.5", "b", "f.py:20 h"],
    ]
    assert {len(row) for row in rows} == {1, 8}
    assert BY_HAND.only("a")._repr_html_().count(">forward<") == 1
    assert rows[-1][-1].get("title") == "in/a/f.py:20 h", "the folders are seen on pointing at it"
    assert {cell.get("colspan") for row in rows if len(row) == 1 for cell in row} == {"8"}


def test_without_a_label_the_loss_is_the_smallest_over_all_classes():
    model = make_model()
    losses = [minivit.trace(model, IMAGE, label)["loss"].array for label in range(3)]
    assert minivit.trace(model, IMAGE[None])["loss"].array == min(losses) < max(losses)


def test_the_loss_of_a_masked_model_is_the_mean_square_of_its_predictions():
    model = MaskedViT(make_model().config, 5, dtype="float64")
    model.flat.data[...] = 0.3 * np.random.default_rng(1).standard_normal(model.flat.data.shape)
    found = minivit.trace(model, IMAGE)
    predicted = found["decoder"].array
    assert found["loss"].array == pytest.approx((predicted**2).mean(), rel=1e-12)
    np.testing.assert_allclose(found["dpredicted"].array, 2 * predicted / predicted.size)


def test_unknown_steps_are_reported():
    model = make_model(depth=8)
    found = minivit.trace(model, IMAGE)
    with pytest.raises(UserError, match=r"there are blocks\.0\.attn\.probs") as raised:
        found["blocks.9.attn.probs"]
    assert str(raised.value).count(".attn.probs, ") == 6
    with pytest.raises(UserError, match="no step is called nothing; print the trace to see"):
        found["nothing"]
    with pytest.raises(UserError, match="2 images"):
        minivit.trace(model, np.stack([IMAGE, IMAGE]))
