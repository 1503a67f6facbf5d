"""The capstone: the reference tensors against `minivit.trace`, and a reader's backward with one
mistake."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import minivit
from minivit import ViT, ViTConfig, course
from minivit.course import whole
from minivit.functional.gelu import erf

SOLUTION = Path(__file__).parents[2] / "notebooks" / "solutions" / "07_encoder.ipynb"
FIRST = {"dweight": "weight", "dbias": "bias", "dgamma": "weight", "dbeta": "bias"}


def test_the_references_agree_with_the_trace():
    config = ViTConfig(image_size=8, patch_size=4, num_classes=3, dim=6, depth=2, num_heads=2)
    model, rng = ViT(config, seed=0, dtype="float64"), np.random.default_rng(0)
    for _, parameter in model.named_parameters():
        parameter.data[...] = 0.5 * rng.standard_normal(parameter.data.shape)
    w = {name: parameter.data for name, parameter in model.named_parameters()}
    image = rng.standard_normal((3, 8, 8))
    trace = minivit.trace(model, image, 1)
    steps = {step.name: step.array for step in trace}
    s = whole.vit_forward(image[None], w, 4, 2)
    for name in s.keys() & steps.keys():
        np.testing.assert_allclose(s[name], steps[name], rtol=1e-9, atol=1e-12)
    g = whole.vit_backward(steps["dlogits"], s, w)
    backward = {as_weight(name): array for name, array in steps.items()}
    assert set(w) < set(g)
    for name, array in g.items():
        np.testing.assert_allclose(array, backward[name], rtol=1e-9, atol=1e-12, err_msg=name)
    order = [name for name in backward if name in g]
    assert [name for name in g if name in order[:30]] == order[:30]


def as_weight(name: str) -> str:
    """The name of a gradient in the trace -> the name of the weight."""
    for old in ("dproj_weight", "dproj_bias", "dqkv_weight", "dqkv_bias"):
        if name.endswith(old):
            return name.removesuffix(old) + old[1:].replace("_", ".")
    if name in ("dcls_token", "dpos_embed"):
        return name[1:]
    path, _, last = name.rpartition(".")
    return f"{path}.{FIRST[last]}" if last in FIRST else name


def code() -> str:
    """A reader's backward, from the solutions: plain NumPy, in its own style."""
    for cell in json.loads(SOLUTION.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if "def my_vit_backward" in source:
            return source.split("course.check")[0]
    raise AssertionError("no solution of 07.g")


def run(source: str):
    scope = {"np": np, "math": math, "erf": erf}
    exec(compile(source, "<reader>", "exec"), scope)
    return scope["my_vit_backward"]


def test_a_right_backward_in_another_style_passes():
    right = run(code())
    assert course.check("07.g", right)

    def weights_alone(dlogits, s, w):
        g = right(dlogits, s, w)
        return {name: np.asfortranarray(g[name]) for name in w}

    assert course.check("07.g", weights_alone)


MUTANTS = [
    ('dlogits @ w["head.weight"].T', '-dlogits @ w["head.weight"].T', "head.dx"),
    ('s["norm"][:, 0].T @ dlogits', 's["norm"].mean(1).T @ dlogits', "head.weight"),
    ("dlogits.sum(0)", "dlogits.mean(0)", "head.bias"),
    ("dtokens[:, 0] =", "dtokens[:, -1] =", "norm.dx"),
    ("std = np.sqrt(x.var(-1", "std = np.sqrt(x.var(1", "norm.dx"),
    ("along = (dxhat * xhat).mean", "along = (dxhat * xhat).sum", "norm.dx"),
    ("(dy * xhat).sum((0, 1))", "(dxhat * xhat).sum((0, 1))", "norm.weight"),
    ("xhat * along) / std\n    return dx, (dy * xhat).sum((0, 1)), dy.sum",
     "xhat * along) / std\n    return dx, (dy * xhat).sum((0, 1)), dxhat.sum", "norm.bias"),
    ('dy @ w["mlp.fc2.weight"].T', '2 * dy @ w["mlp.fc2.weight"].T', "blocks.1.mlp.fc2.dx"),
    ("x * np.exp(-x * x / 2)", "np.exp(-x * x / 2)", "blocks.1.mlp.act.dgelu"),
    ('s["norm2"], dfc1', 's["norm1"], dfc1', "blocks.1.mlp.fc1.weight"),
    ('g["dresidual"] = dy + dx', 'g["dresidual"] = dx', "blocks.1.dresidual"),
    (".reshape(B, T, H, D).swapaxes(1, 2)", ".reshape(B, H, T, D)", "blocks.1.attn.dprobs"),
    ("(dprobs * probs).sum(-1, ", "(dprobs * probs).mean(-2, ", "blocks.1.attn.dscores"),
    ('g["attn.dq"] = dscores @ k / math.sqrt(D)', 'g["attn.dq"] = dscores @ k / D',
     "blocks.1.attn.dq"),
    ('dscores.swapaxes(-1, -2) @ q', 'dscores @ q', "blocks.1.attn.dk"),
    ("probs.swapaxes(-1, -2) @ dheads", "probs @ dheads", "blocks.1.attn.dv"),
    ('part in "qkv"', 'part in "kqv"', "blocks.1.attn.dx"),
    ('g["dx"] = g["dresidual"] + dx', 'g["dx"] = dy + dx', "blocks.1.dx"),
    ("dx.sum(0, keepdims=True)", "dx.mean(0, keepdims=True)", "pos_embed"),
    ("dx[:, :1].sum(0, keepdims=True)", "dx[:1, :1]", "cls_token"),
    ("dprojected.sum((0, 1))", "dprojected.sum((0, 1)) / len(dx)", "patch_embed.proj.bias"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "first"), MUTANTS, ids=[m[2] for m in MUTANTS])
def test_the_first_wrong_tensor_is_named(old, new, first):
    assert code().count(old) == 1
    verdict = course.check("07.g", run(code().replace(old, new)))
    assert not verdict
    assert f"the first wrong one is {first}:" in verdict.words or (
        f"the first one, {first}, is already wrong" in verdict.words
    )
    case = course.case("07.g")
    assert not np.allclose(case.found[first], case.expected[first])


def test_a_missing_gradient_is_named():
    def forgetful(dlogits, s, w):
        g = run(code())(dlogits, s, w)
        del g["cls_token"]
        return g

    assert "gradients are missing: cls_token" in course.check("07.g", forgetful).words
    assert "expected a dict" in course.check("07.g", lambda *a: a[0]).words
