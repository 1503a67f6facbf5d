"""Step through a model: every tensor of a forward and a backward pass, in order.

The model's own code does nothing for this. During a trace, Python reports every function call
(`sys.setprofile`), and the results of functions of `functional/` are recorded. So a trace shows the
code that actually ran, with its line.
"""

import html
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

from minivit import functional as F
from minivit.backend import Array, get_xp, has_twin, to_host
from minivit.errors import UserError
from minivit.layers import Block, Layer
from minivit.layers.block import BRANCH1, BRANCH2
from minivit.models.masked import MaskedViT
from minivit.models.vit import ViT

PACKAGE = Path(__file__).parents[1]


class Step(NamedTuple):
    """One tensor of a pass.

    name: timm's name of the layer, then the tensor's, such as "blocks.0.attn.probs".
    array: a copy from that moment, on the host. backward: whether it is from the backward pass.
    equation: the formula. where: file, line and function that computed it.
    """

    name: str
    array: np.ndarray
    backward: bool
    equation: str
    where: str

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """Mean, standard deviation, minimum and maximum."""
        a = self.array
        return float(a.mean()), float(a.std()), float(a.min()), float(a.max())


class Spec(NamedTuple):
    """What to record of a function. outputs: names of its results, without the cache; "" stands for
    the layer's name. inputs: arguments to record as well.
    """

    outputs: tuple[str, ...]
    equation: str
    inputs: tuple[str, ...] = ()
    input_equation: str = ""


SPECS: dict[Callable, Spec] = {
    F.patchify_forward: Spec(("patches",), "each P×P square as a row of P·P·3 numbers"),
    F.linear_forward: Spec(("",), "y = x W + b"),
    F.conv2d_forward: Spec(("",), "y = windows(x) W"),
    F.standardize_forward: Spec(("weight",), "(w - mean) / std"),
    F.groupnorm_forward: Spec(("norm",), "y = γ (x - mean) / std + β, per group of channels"),
    F.relu_forward: Spec(("relu",), "y = max(x, 0)"),
    F.max_pool_forward: Spec(("pool",), "the largest of each window"),
    F.class_token_forward: Spec(("with_cls_token",), "[class token; patches]"),
    F.registers_forward: Spec(("with_registers",), "[registers; patches]"),
    F.position_forward: Spec(("with_positions",), "x + position"),
    F.layernorm_forward: Spec(("",), "y = γ (x - mean) / std + β"),
    F.rmsnorm_forward: Spec(("",), "y = γ x / rms"),
    F.layer_scale_forward: Spec(("",), "y = γ x"),
    F.split_heads: Spec(("q", "k", "v"), "a third of qkv each, cut into heads"),
    F.rotary_forward: Spec(("rotated",), "x cos + turn(x) sin"),
    F.relative_forward: Spec(("relative",), "q · table[offset]"),
    F.relative_bias_forward: Spec(("relative_bias",), "table[offset]"),
    F.softmax_forward: Spec(("probs",), "exp(s) / Σ exp(s)", ("scores",), "q kᵀ / √D"),
    F.attention_forward: Spec(("heads",), "probs v"),
    F.flash_attention_forward: Spec(("heads",), "softmax(q kᵀ / √D) v, a block at a time"),
    F.merge_heads: Spec(("merged",), "the heads of a token side by side"),
    F.gelu_forward: Spec(("gelu",), "x Φ(x)"),
    F.gelu_tanh_forward: Spec(("gelu",), "x (1 + tanh(√(2/π) (x + 0.0447 x³))) / 2"),
    F.quick_gelu_forward: Spec(("gelu",), "x σ(1.702 x)"),
    F.swiglu_forward: Spec(("gated",), "a σ(a) b"),
    F.tanh_forward: Spec(("tanh",), "tanh(x)"),
    F.mean_pool_forward: Spec(("pooled",), "mean of the tokens"),
    F.sequence_pool_forward: Spec(("pooled",), "mean of the tokens, with their weights"),
    F.corrupt_forward: Spec(("corrupted",), "S x + m mask_token"),
    F.take_tokens_forward: Spec(("taken",), "the rows of selected tokens"),
    F.cross_entropy_forward: Spec(("loss",), "-log p[label]"),
    F.squared_error_forward: Spec(("loss",), "mean of (predicted - target)²"),
    F.squared_error_backward: Spec(("dpredicted",), "2 (predicted - target) / n"),
    F.cross_entropy_backward: Spec(("dlogits",), "p - target"),
    F.take_tokens_backward: Spec(("dtokens",), "each row back to its place, zero elsewhere"),
    F.corrupt_backward: Spec(("dx", "dmask_token"), "Sᵀ dy; Σ m dy"),
    F.sequence_pool_backward: Spec(("dx", "dweight"), "p dy + dscores wᵀ; xᵀ dscores"),
    F.mean_pool_backward: Spec(("dtokens",), "dout / T for each token"),
    F.tanh_backward: Spec(("dx",), "dy (1 - tanh²)"),
    F.gelu_backward: Spec(("dgelu",), "dy (Φ(x) + x φ(x))"),
    F.gelu_tanh_backward: Spec(("dgelu",), "dy times the derivative"),
    F.quick_gelu_backward: Spec(("dgelu",), "dy c (1 + 1.702 x (1 - c))"),
    F.swiglu_backward: Spec(("dgated",), "da = dy b σ (1 + a (1 - σ)), db = dy a σ"),
    F.softmax_backward: Spec(
        ("dscores",), "probs (dprobs - Σ dprobs probs)", ("dprobs",), "dheads vᵀ"
    ),
    F.attention_backward: Spec(
        ("dq", "dk", "dv"), "dscores k / √D; dscoresᵀ q / √D; probsᵀ dheads"
    ),
    F.flash_attention_backward: Spec(
        ("dq", "dk", "dv"), "dscores k / √D; dscoresᵀ q / √D; softmax(q kᵀ / √D)ᵀ dheads"
    ),
    F.rotary_backward: Spec(("drotated",), "rotated back"),
    F.relative_bias_backward: Spec(("dtable",), "Σ dbias over each offset"),
    F.relative_backward: Spec(("dq_relative", "dtable"), "Σ dbias table / √D; Σ dbias q / √D"),
    F.layernorm_backward: Spec(
        ("dx", "dgamma", "dbeta"), "(dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / std; Σ dy x̂; Σ dy"
    ),
    F.rmsnorm_backward: Spec(("dx", "dgamma"), "(dx̂ - x̂ mean(dx̂ x̂)) / rms; Σ dy x̂"),
    F.layer_scale_backward: Spec(("dx", "dgamma"), "γ dy; Σ dy x"),
    F.position_backward: Spec(("dx", "dpos_embed"), "dy; Σ dy over the batch"),
    F.class_token_backward: Spec(("dpatches", "dcls_token"), "all rows but the first; the first"),
    F.registers_backward: Spec(
        ("dpatches", "dregisters"), "all rows but the registers'; the registers', summed"
    ),
    F.max_pool_backward: Spec(("dpool",), "to the largest of each window"),
    F.relu_backward: Spec(("drelu",), "dy where x > 0"),
    F.groupnorm_backward: Spec(("dx", "dgamma", "dbeta"), "as LayerNorm, per group of channels"),
    F.standardize_backward: Spec(
        ("dweight",), "without its mean and its component along the weight"
    ),
    F.conv2d_backward: Spec(("dx", "dweight"), "dy Wᵀ put back; windowsᵀ dy"),
    F.linear_backward: Spec(("dx", "dweight", "dbias"), "dy Wᵀ; xᵀ dy; Σ dy"),
    F.patchify_backward: Spec(("dimage",), "each number back to its pixel"),
}
"""All functions that a model calls; a test checks that none is missing."""

WITHIN: dict[Callable, dict[Callable, list[tuple[str, ...]]]] = {
    F.multi_head_attention_forward: {F.linear_forward: [("qkv",), ("",)]},
    F.multi_head_attention_backward: {
        F.linear_backward: [
            ("dmerged", "dproj_weight", "dproj_bias"),
            ("dx", "dqkv_weight", "dqkv_bias"),
        ]
    },
}
"""Names of the first, second … call of a function inside another."""


CELL = "text-align:left;white-space:nowrap"
WRAPPED = "text-align:left"
"""Style of a cell of the HTML table; only equations and file names may wrap."""


class Trace:
    """The steps of a forward and a backward pass. Displayed and printed as a table.

    `trace["blocks.0.attn.probs"]` and `trace[3]` are each a `Step`.
    """

    def __init__(self, steps: list[Step]):
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, key: str | int) -> Step:
        """A step by name or number. Raises UserError if there is no such step."""
        if isinstance(key, int):
            return self.steps[key]
        for step in self.steps:
            if step.name == key:
                return step
        close = [step.name for step in self.steps if key.split(".")[-1] in step.name][:6]
        hint = f"there are {', '.join(close)}, …" if close else "print the trace to see the names"
        raise UserError(f"no step is called {key}; {hint}")

    def only(self, part: str) -> "Trace":
        """The steps with `part` in their names."""
        return Trace([step for step in self.steps if part in step.name])

    def __repr__(self) -> str:
        rows = [["", "name", "shape", "mean", "std", "min", "max", "equation", "where"]]
        rows += [[str(i), *_cells(step)] for i, step in enumerate(self.steps)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        right = {0, 3, 4, 5, 6}
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        names = ("name", "shape", "mean", "std", "min", "max", "equation", "where")
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
        rows = []
        for i, step in enumerate(self.steps):
            if i == 0 or step.backward != self.steps[i - 1].backward:
                title = "backward" if step.backward else "forward"
                rows.append(f'<tr><th colspan="8" style="text-align:left">{title}</th></tr>')
            *narrow, equation, where = (html.escape(cell) for cell in _cells(step))
            cells = [f'<td style="{CELL}">{cell}</td>' for cell in narrow]
            cells.append(f'<td style="{WRAPPED}">{equation}</td>')
            short = where.rsplit("/", 1)[-1]  # full paths would make the table wider than a page
            cells.append(f'<td style="{WRAPPED}" title="{where}">{short}</td>')
            rows.append("<tr>" + "".join(cells) + "</tr>")
        body = "".join(rows)
        return (
            '<div style="max-height:32em;overflow:auto"><table style="font-size:smaller">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def _cells(step: Step) -> tuple[str, ...]:
    shape = " × ".join(map(str, step.array.shape)) or "a number"
    numbers = (f"{number:.3g}" for number in step.numbers)
    return step.name, shape, *numbers, step.equation, step.where


def trace(model: ViT | MaskedViT, image: Array, label: int | None = None) -> Trace:
    """Every tensor of a forward pass of one image, of its loss, and of the backward pass.

    Args:
        model: its gradients are left as they were. image: (channels, H, W) or (1, channels, H, W),
            normalized, of the model's dtype. label: the true class, for the loss; None for the
            predicted class. A `MaskedViT` has no classes: its loss is the mean square of its
            predictions.

    Raises:
        UserError: more than one image, or as `ViT.forward`.
    """
    images = image[None] if image.ndim == 3 else image
    if len(images) != 1:
        raise UserError(f"{len(images)} images; a trace steps through one")
    saved_grad = model.flat.grad.copy()
    recorder = _Recorder(model)
    cache: Any
    with recorder:
        out, cache = model.forward(images)
        backward = _loss(model, out, label)
        recorder.backward = True
        model.backward(backward(), cache)
    model.flat.grad[...] = saved_grad
    return Trace(
        [Step("image", to_host(images).copy(), False, "normalized pixels", ""), *recorder.steps]
    )


def _loss(model: ViT | MaskedViT, out: Array, label: int | None) -> Callable[[], Array]:
    """Compute a loss of the model's output; returns a function for its gradient."""
    xp = get_xp(out)
    if isinstance(model, MaskedViT):
        _, squared = F.squared_error_forward(out, xp.zeros_like(out))
        return lambda: F.squared_error_backward(1.0, squared)
    label = int(out.argmax()) if label is None else label
    _, entropy = F.cross_entropy_forward(out, xp.asarray([label]))
    return lambda: F.cross_entropy_backward(1.0, entropy)


class _Recorder:
    """Context manager that records steps. backward: whether the backward pass is running."""

    def __init__(self, model: ViT | MaskedViT):
        self.layers = dict(model.named_layers())
        self.paths = {id(layer): path for path, layer in self.layers.items()}
        self.specs: dict[CodeType, tuple[Callable, Spec]] = {
            _code(function): (function, spec) for function, spec in SPECS.items()
        }
        self.outer = {_code(function): function for function in WITHIN}
        self.steps: list[Step] = []
        self.calls: dict[str, int] = {}  # how often each name was recorded
        self.stack: list[str] = []  # paths of the layers being executed
        self.outer_calls: list[
            tuple[Callable, dict[Callable, int]]
        ] = []  # calls inside an outer one
        self.backward = False

    def __enter__(self) -> None:
        self.before = sys.getprofile()
        sys.setprofile(self._on_event)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)

    def _on_event(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code in self.specs:
            self._on_function(frame, event, value)
        elif code in self.outer:
            self.outer_calls.append(
                (self.outer[code], {})
            ) if event == "call" else self.outer_calls.pop()
        elif code.co_name in ("forward", "backward"):
            layer: Any = frame.f_locals.get("self")
            if id(layer) in self.paths:
                self._on_layer(frame, event, value, layer)

    def _on_function(self, frame: FrameType, event: str, value: Any) -> None:
        function, spec = self.specs[frame.f_code]
        if event == "call":
            arrays = tuple(frame.f_locals[name] for name in spec.inputs)
            self._write(spec.inputs, arrays, spec.input_equation, _caller(frame))
            return
        if value is None:
            return  # an exception passes through
        if self.backward and function is F.split_heads:
            return  # in backward it returns views that attention's backward will fill
        results = value if isinstance(value, tuple) else (value,)
        self._write(self._outputs(function, spec), results, spec.equation, _location(function))

    def _outputs(self, function: Callable, spec: Spec) -> tuple[str, ...]:
        """Names of the results: from the spec, or for this call inside another function."""
        if self.outer_calls:
            outer, counts = self.outer_calls[-1]
            if function in WITHIN[outer]:
                call_index = counts.get(function, 0)
                counts[function] = call_index + 1
                return WITHIN[outer][function][call_index]
        return spec.outputs

    def _on_layer(self, frame: FrameType, event: str, value: Any, layer: Layer) -> None:
        """Track the path, and record the residual sums, which are not functions themselves."""
        path, names = self.paths[id(layer)], frame.f_locals
        parent, _, name = path.rpartition(".")
        block = self.layers.get(parent)
        if event == "call":
            if isinstance(block, Block) and name == "norm2" and not self.backward:
                equation = block.equation(BRANCH1, "x")
                self._sum(f"{parent}.residual", names["x"], equation, Block.forward)
            if isinstance(block, Block) and name == "ls1" and self.backward:
                self._sum(f"{parent}.dresidual", names["dout"], "dy + dnorm2", Block.backward)
            self.stack.append(path)
            return
        self.stack.pop()
        if value is None:
            return  # an exception passes through
        if isinstance(layer, Block) and not self.backward:
            self._sum(path, value[0], layer.equation(BRANCH2, "residual"), Block.forward)
        elif isinstance(layer, Block):
            self._sum(f"{path}.dx", value, "dresidual + dnorm1", Block.backward)

    def _sum(self, name: str, array: Array, equation: str, function: Callable) -> None:
        self._append(name, array, equation, _location(function))

    def _write(self, names: tuple[str, ...], arrays: tuple, equation: str, where: str) -> None:
        """Record the results of one call; an equation may have a part for each, separated by
        semicolons.
        """
        parts = equation.split("; ")
        path = self.stack[-1] if self.stack else ""
        for i, (name, array) in enumerate(zip(names, arrays, strict=False)):
            full = ".".join(part for part in (path, name) if part)
            self._append(full, array, parts[i] if len(parts) == len(names) else equation, where)

    def _append(self, name: str, array: Array, equation: str, where: str) -> None:
        self.calls[name] = count = self.calls.get(name, 0) + 1
        name = (
            name if count == 1 else f"{name}.{count}"
        )  # a stem has several layers of the same kind
        copy = np.array(to_host(array))  # recorded arrays must not change
        self.steps.append(Step(name, copy, self.backward, equation, where))


def _code(function: Callable) -> CodeType:
    """The code of a function, without its decorators."""
    return inspect.unwrap(function).__code__


def _location(function: Callable) -> str:
    """minivit/functional/softmax.py:8, softmax_forward."""
    return _line(_code(function))


def _caller(frame: FrameType) -> str:
    """Where an argument was computed: in the function that passes it."""
    caller: Any = frame.f_back
    if caller.f_globals["__name__"] == has_twin.__module__:
        caller = caller.f_back
    return _line(caller.f_code)


def _line(code: CodeType) -> str:
    """The file and the line of a function's name, below its decorators."""
    first = code.co_firstlineno
    while linecache.getline(code.co_filename, first).startswith("@"):
        first += 1
    return f"{_relative(code.co_filename)}:{first} {code.co_qualname}"


def _relative(filename: str) -> str:
    return f"minivit/{Path(filename).relative_to(PACKAGE).as_posix()}"
