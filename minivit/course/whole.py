"""The capstone: the backward pass of attention, of a block and of a whole ViT, tensor by tensor.

An answer returns a dict of gradients: those of weights by the weights' names, and any intermediate
tensors by their names in `minivit.trace`. They are compared in the order of the trace, so that the
first wrong one shows where the mistake is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minivit.course import right
from minivit.course.diagnosis import diagnose
from minivit.course.exercise import EXERCISES
from minivit.course.trial import Trial, WrongAnswerError, as_array, call, same

RTOL = 1e-6
EPS = 1e-6

Arrays = dict[str, np.ndarray]


def vit_forward(images: np.ndarray, w: Arrays, patch_size: int, num_heads: int) -> Arrays:
    """Every tensor of a forward pass, by its name in `minivit.trace`; the last is "head", the
    logits. images: (B, channels, H, W), normalized. w: the weights of a ViT by their names."""
    s = {"image": images, "patch_embed.patches": right.patchify(images, patch_size)}
    x = s["patch_embed.patches"] @ w["patch_embed.proj.weight"] + w["patch_embed.proj.bias"]
    s["patch_embed.proj"] = x
    first = np.repeat(w["cls_token"], len(x), axis=0)
    s["with_cls_token"] = np.concatenate([first, x], 1)
    s["with_positions"] = x = s["with_cls_token"] + w["pos_embed"]
    i = 0
    while f"blocks.{i}.norm1.weight" in w:
        block = block_forward(x, inside(w, f"blocks.{i}."), num_heads)
        s |= {f"blocks.{i}{name and '.' + name}": array for name, array in block.items()}
        x = s[f"blocks.{i}"]
        i += 1
    s["norm"] = right.layernorm(x, w["norm.weight"], w["norm.bias"], EPS)
    s["head"] = s["norm"][:, 0] @ w["head.weight"] + w["head.bias"]
    return s


def block_forward(x: np.ndarray, w: Arrays, num_heads: int) -> Arrays:
    """Every tensor of a block, by its name inside the block; "" is the output."""
    s = {"x": x, "norm1": right.layernorm(x, w["norm1.weight"], w["norm1.bias"], EPS)}
    s["attn.qkv"] = s["norm1"] @ w["attn.qkv.weight"] + w["attn.qkv.bias"]
    q, k, v = right.split_heads(s["attn.qkv"], num_heads)
    s |= {"attn.q": q, "attn.k": k, "attn.v": v}
    s["attn.heads"], s["attn.probs"] = right.attention(q, k, v)
    s["attn.merged"] = right.merge_heads(s["attn.heads"])
    s["attn"] = s["attn.merged"] @ w["attn.proj.weight"] + w["attn.proj.bias"]
    s["residual"] = x + s["attn"]
    s["norm2"] = right.layernorm(s["residual"], w["norm2.weight"], w["norm2.bias"], EPS)
    s["mlp.fc1"] = s["norm2"] @ w["mlp.fc1.weight"] + w["mlp.fc1.bias"]
    s["mlp.act.gelu"] = right.gelu(s["mlp.fc1"])
    s["mlp.fc2"] = s["mlp.act.gelu"] @ w["mlp.fc2.weight"] + w["mlp.fc2.bias"]
    s[""] = s["residual"] + s["mlp.fc2"]
    return s


def inside(arrays: Arrays, prefix: str) -> Arrays:
    """The items whose names begin with the prefix, keyed by the rest of their names."""
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


class Steps(dict):
    """Gradients in order. origin: for some of them, the exercise that asks for exactly this step:
    (name, arguments, index of the result).
    """

    def __init__(self) -> None:
        super().__init__()
        self.origin: dict[str, tuple[str, tuple, int]] = {}

    def take(self, names: tuple[str, ...], exercise: str, *arguments: Any) -> Any:
        """Record the results of a step that an exercise asks for, and return the first."""
        results = EXERCISES[exercise].answer(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        for i, (name, array) in enumerate(zip(names, results, strict=False)):
            self[name], self.origin[name] = array, (exercise, arguments, i)
        return results[0]

    def linear(self, name: str, dy: np.ndarray, x: np.ndarray, w: Arrays, dx: str = "") -> Any:
        """The backward pass of a linear layer."""
        names = (dx or f"{name}.dx", f"{name}.weight", f"{name}.bias")
        return self.take(names, "03.c", dy, x, w[f"{name}.weight"])

    def norm(self, name: str, dy: np.ndarray, x: np.ndarray, w: Arrays) -> Any:
        """The backward pass of a LayerNorm."""
        rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + EPS)
        xhat = (x - x.mean(-1, keepdims=True)) * rstd
        names = (f"{name}.dx", f"{name}.weight", f"{name}.bias")
        return self.take(names, "04.b", dy, xhat, rstd, w[f"{name}.weight"])

    def add_inside(self, prefix: str, others: "Steps") -> None:
        """Add the steps of another record, with a prefix before their names."""
        for name, array in others.items():
            self[prefix + name] = array
        for name, origin in others.origin.items():
            self.origin[prefix + name] = origin


def attention_backward(dy: np.ndarray, s: Arrays, w: Arrays) -> Steps:
    """Backward of attention, from its output to its input."""
    g = Steps()
    dmerged = g.linear("attn.proj", dy, s["attn.merged"], w, dx="attn.dmerged")
    B, H, T, D = s["attn.q"].shape
    dheads = dmerged.reshape(B, T, H, D).transpose(0, 2, 1, 3)
    q, k, v, probs = (s[f"attn.{name}"] for name in ("q", "k", "v", "probs"))
    dprobs = g.take(("attn.dprobs",), "10.d", dheads, probs, v)
    g.take(("attn.dscores",), "05.c", dprobs, probs)
    names = ("attn.dq", "attn.dk", "attn.dv")
    g.take(names, "05.d", dheads, q, k, v, probs)
    gradients = (g[name] for name in names)
    names = ("attn.dx", "attn.qkv.weight", "attn.qkv.bias")
    g.take(names, "06.d", *gradients, s["norm1"], w["attn.qkv.weight"])
    return g


def block_backward(dy: np.ndarray, s: Arrays, w: Arrays) -> Steps:
    """Backward of a block, with the gradients of all its weights."""
    g = Steps()
    dact = g.linear("mlp.fc2", dy, s["mlp.act.gelu"], w)
    dfc1 = g.take(("mlp.act.dgelu",), "04.c", dact, s["mlp.fc1"])
    dnorm2 = g.linear("mlp.fc1", dfc1, s["norm2"], w)
    g["dresidual"] = dy + g.norm("norm2", dnorm2, s["residual"], w)
    g.add_inside("", attention_backward(g["dresidual"], s, w))
    g["dx"] = g["dresidual"] + g.norm("norm1", g["attn.dx"], s["x"], w)
    return g


def vit_backward(dlogits: np.ndarray, s: Arrays, w: Arrays) -> Steps:
    """Backward of a whole ViT, from the logits to the image."""
    g = Steps()
    depth = sum(name.endswith(".norm1") for name in s)
    last = s[f"blocks.{depth - 1}"]
    dclass = g.linear("head", dlogits[:, None], s["norm"][:, :1], w)
    g["head.dx"] = dclass[:, 0]
    dtokens = np.zeros_like(last)
    dtokens[:, 0] = g["head.dx"]
    dx = g.norm("norm", dtokens, last, w)
    for i in reversed(range(depth)):
        block = inside(s, f"blocks.{i}.")
        g.add_inside(f"blocks.{i}.", block_backward(dx, block, inside(w, f"blocks.{i}.")))
        dx = g[f"blocks.{i}.dx"]
    g.take(("dpatches", "cls_token", "pos_embed"), "02.b", dx)
    g.linear("patch_embed.proj", g["dpatches"], s["patch_embed.patches"], w)
    shape, patch = s["image"].shape, s["patch_embed.patches"].shape
    P = round((patch[2] / shape[1]) ** 0.5)
    name = "patch_embed.dimage"
    g.take((name,), "01.b", g["patch_embed.proj.dx"], shape, P)
    return g


SIZES = ((2, 3, 4, 8, 2, 5), (3, 1, 2, 6, 3, 4), (1, 2, 2, 4, 1, 3))
"""Batch, channels, patch size, width, heads, classes; images of 2 × 3 patches, two blocks."""


def draw_vit(rng: np.random.Generator, size: int) -> tuple:
    """(dlogits, s, w) of a random ViT."""
    B, channels, P, C, H, K = SIZES[size]
    shapes = {"patch_embed.proj.weight": (channels * P * P, C), "patch_embed.proj.bias": (C,)}
    shapes |= {"cls_token": (1, 1, C), "pos_embed": (1, 7, C)}
    for i in range(2):
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in _block_shapes(C).items()}
    shapes |= {"norm.weight": (C,), "norm.bias": (C,), "head.weight": (C, K), "head.bias": (K,)}
    w = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    s = vit_forward(rng.standard_normal((B, channels, 2 * P, 3 * P)), w, P, H)
    return rng.standard_normal((B, K)), s, w


def draw_block(rng: np.random.Generator, size: int) -> tuple:
    """(dy, s, w) of a random block."""
    B, _, _, C, H, _ = SIZES[size]
    w = {name: 0.5 * rng.standard_normal(shape) for name, shape in _block_shapes(C).items()}
    s = block_forward(rng.standard_normal((B, 5, C)), w, H)
    return rng.standard_normal((B, 5, C)), s, w


def _block_shapes(C: int) -> dict[str, tuple[int, ...]]:
    F = 2 * C + 1
    shapes: dict[str, tuple[int, ...]] = {}
    for norm in ("norm1", "norm2"):
        shapes |= {f"{norm}.weight": (C,), f"{norm}.bias": (C,)}
    for name, i, o in (("attn.qkv", C, 3 * C), ("attn.proj", C, C), ("mlp.fc1", C, F),
                       ("mlp.fc2", F, C)):  # fmt: skip
        shapes |= {f"{name}.weight": (i, o), f"{name}.bias": (o,)}
    return shapes


def grade(reference: Callable, draw: Callable) -> Callable:
    """`Exercise.grade` for a whole backward pass."""

    def graded(answer: Callable, remember: Callable) -> str:
        cases = []
        for size in range(len(SIZES)):
            arguments = draw(np.random.default_rng(100 + size), size)
            (found,) = call(answer, arguments, 1)
            _require_names(found, arguments[2])
            cases.append((arguments, reference(*arguments), found))
        order = list(cases[0][1])
        for n, name in enumerate(order):
            wrong = [c for c in cases if name in c[2] and not same(c[2][name], c[1][name], RTOL)]
            if wrong:
                arguments, expected, found = wrong[0]
                names = ("dout", "s", "w")
                remember(dict(zip(names, arguments, strict=True)), dict(expected), dict(found))
                raise WrongAnswerError(_words(cases, order[:n], name))
        compared = sum(name in cases[0][2] for name in order)
        return f"right, on {len(SIZES)} models, for all {compared} tensors that were returned"

    return graded


def _require_names(found: Any, w: Arrays) -> None:
    if not isinstance(found, dict):
        raise WrongAnswerError(f"expected a dict of gradients, found {type(found).__name__}")
    missing = [name for name in w if name not in found and not _is_outside_attention(name, found)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise WrongAnswerError(f"these gradients are missing: {', '.join(missing[:3])}{more}")


def _is_outside_attention(name: str, found: dict) -> bool:
    """Whether a weight belongs to the rest of the block, when only attention was asked for."""
    return "attn.dx" in found and "dx" not in found and not name.startswith(("attn", "blocks"))


def _words(cases: list, before: list[str], name: str) -> str:
    returned = [other for other in before if other in cases[0][2]]
    until = f"right down to {returned[-1]}; the first wrong one is {name}" if returned else (
        f"the first one, {name}, is already wrong"
    )  # fmt: skip
    skipped = len(before) - len(returned)
    hint = ""
    if skipped and before[-1] not in returned:
        hint = f". Return {before[-1]}, too, to narrow down the mistake"
    return f"{until}: {_cause(cases, name)}{hint}"


def _cause(cases: list, name: str) -> str:
    """The diagnosis of a wrong step, from the exercise that asks for it."""
    origin = cases[0][1].origin.get(name)
    if origin is None or any(
        as_array(c[2][name]).shape != c[1][name].shape or name not in c[1].origin for c in cases
    ):
        found, expected = cases[0][2][name], cases[0][1][name]
        if np.shape(found) != expected.shape:
            return f"its shape is {np.shape(found)}; expected {expected.shape}"
        return "its shape is right, but its numbers are not"
    exercise, _, i = origin
    trials = []
    for _, expected, found in cases:
        arguments = expected.origin[name][1]
        results = EXERCISES[exercise].answer(*arguments)
        results = list(results if isinstance(results, tuple) else (results,))
        returned = [*results[:i], found[name].reshape(results[i].shape), *results[i + 1 :]]
        trials.append(Trial(arguments, tuple(returned), tuple(results), RTOL))
    return diagnose(EXERCISES[exercise], trials, [i]).split(" is wrong. ", 1)[-1]
