"""Export of a model as an ONNX graph, built node by node with the `onnx` library.

The graph takes any number of uint8 images and normalizes them itself. The class names are in its
metadata, so the file is all that is needed.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minivit.backend import to_host
from minivit.engine import Trained
from minivit.errors import UserError
from minivit.files import make_folder, write_atomically
from minivit.models import ViT, ViTConfig
from minivit.models.config import INFERENCE_FIELDS

OPSET = 20
"""The first opset with Gelu; ONNX Runtime has supported it since 1.17."""

ONNX: Mapping[str, tuple | None] = {
    **INFERENCE_FIELDS,
    "pool": ("cls", "mean", "seq"),
    "pos_embed": ("learned", "sincos2d", "none"),
    "activation": ("gelu", "gelu_tanh"),
    "norm": ("layernorm", "rmsnorm"),
    "layer_scale": None,
    "representation_size": None,
}
"""What the graph supports; see `ViTConfig.unsupported`."""


def require_no_own_layers(model: ViT) -> None:
    """Raises UserError for a model with layers that are not minivit's."""
    if model.own_layers:
        raise UserError(
            f"{', '.join(model.own_layers)}: layers that are not minivit's, which no other library "
            "knows; export a model without them"
        )


def to_onnx(trained: Trained, file: Path, attention: bool = False) -> str:
    """Write the graph.

    Args:
        attention: whether to output the attention maps, too, as "attention.0", … (B, H, T, T).

    Returns:
        the lines that run it, as Python code.

    Raises:
        UserError: `onnx` is not installed, or the model has a part that is not exported.
    """
    try:
        import onnx
    except ImportError:
        raise UserError('onnx is not installed; pip install "minivit[onnx]"') from None
    graph = _Graph(onnx, trained.model.config)
    model = graph.model(trained, attention)
    onnx.checker.check_model(model)
    make_folder(file.parent)
    write_atomically(file, model.SerializeToString())
    return (
        f"session = onnxruntime.InferenceSession({str(file)!r})\n"
        'logits, *_ = session.run(None, {"images": images})  # uint8 (N, channels, H, W)'
    )


class _Graph:
    """Nodes and constants, written in the order of `ViT.forward`. A tensor is its name."""

    def __init__(self, onnx: Any, config: ViTConfig):
        self.onnx, self.helper, self.config = onnx, onnx.helper, config
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}

    def model(self, trained: Trained, attention: bool) -> Any:
        config, onnx = self.config, self.onnx
        require_no_own_layers(trained.model)
        unknown = config.unsupported(ONNX)
        if unknown is not None:
            raise UserError(
                "{} is {}, which is not supported by the ONNX graph: it has the paper's parts, "
                "with absolute positions only".format(*unknown)
            )
        self.weights = {name: to_host(p.data) for name, p in trained.model.named_parameters()}
        logits = self.forward(trained)
        H, W = config.image_hw
        kinds, helper = onnx.TensorProto, self.helper
        images = helper.make_tensor_value_info(
            "images", kinds.UINT8, ["batch", config.in_channels, H, W]
        )
        outputs = [(logits, ["batch", config.num_classes])]
        if attention:
            T = config.num_tokens
            shape = ["batch", config.num_heads, T, T]
            outputs += [(f"attention.{i}", shape) for i in range(config.depth)]
        graph = helper.make_graph(
            self.nodes,
            "minivit",
            [images],
            [helper.make_tensor_value_info(name, kinds.FLOAT, shape) for name, shape in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="minivit")
        model.ir_version = 9  # ONNX Runtime has supported it since 1.17
        helper.set_model_props(model, {"class_names": json.dumps(trained.class_names)})
        return model

    def forward(self, trained: Trained) -> str:
        """images -> logits."""
        config = self.config
        x = self.patches(self.normalized(trained))
        if config.pool == "cls":
            B = self.node("Gather", self.node("Shape", x), self.ints([0]), axis=0)
            shape = self.node("Concat", B, self.ints([1, config.dim]), axis=0)
            token = self.node("Expand", self.weight("cls_token"), shape)
            x = self.node("Concat", token, x, axis=1)
        if config.pos_embed == "learned":
            x = self.node("Add", x, self.weight("pos_embed"))
        elif config.pos_embed == "sincos2d":
            fixed = self.constant(to_host(trained.model.fixed_positions))
            x = self.node("Add", x, fixed)
        for i in range(config.depth):
            x = self.block(x, f"blocks.{i}.")
        x = self.pooled(self.norm(x, "norm."))
        if config.representation_size is not None:
            x = self.node("Tanh", self.linear(x, "pre_logits."))
        return self.node("Identity", self.linear(x, "head."), out="logits")

    def normalized(self, trained: Trained) -> str:
        """(x / 255 - mean) / std, per channel, as one product and one sum."""
        scale, offset = (a.reshape(1, -1, 1, 1) for a in trained.statistics.scale_and_offset())
        x = self.node("Cast", "images", to=self.onnx.TensorProto.FLOAT)
        x = self.node("Mul", x, self.constant(scale))
        return self.node("Sub", x, self.constant(offset))

    def patches(self, x: str) -> str:
        """(B, channels, H, W) -> (B, N, C): patches cut out, flattened and projected."""
        config = self.config
        P, (rows, columns) = config.patch_size, config.grid
        x = self.reshape(x, 0, config.in_channels, rows, P, columns, P)
        x = self.node("Transpose", x, perm=[0, 2, 4, 3, 5, 1])
        x = self.reshape(x, 0, rows * columns, P * P * config.in_channels)
        return self.linear(x, "patch_embed.proj.")

    def block(self, x: str, path: str) -> str:
        """x + ls1(attn(norm1(x))), then the same with the MLP."""
        h = self.attention(self.norm(x, f"{path}norm1."), path)
        x = self.node("Add", x, self.scaled(h, f"{path}ls1.gamma"))
        h = self.linear(self.norm(x, f"{path}norm2."), f"{path}mlp.fc1.")
        tanh = self.config.activation == "gelu_tanh"
        h = self.node("Gelu", h, approximate="tanh" if tanh else "none")
        h = self.linear(h, f"{path}mlp.fc2.")
        return self.node("Add", x, self.scaled(h, f"{path}ls2.gamma"))

    def attention(self, x: str, path: str) -> str:
        """softmax(q kᵀ / √D) v, per head, then the projection."""
        C, H, T = self.config.dim, self.config.num_heads, self.config.num_tokens
        qkv = self.reshape(self.linear(x, f"{path}attn.qkv."), 0, T, 3, H, C // H)
        q, k, v = (
            self.node("Gather", qkv, self.constant(np.array(i, np.int64)), axis=2) for i in range(3)
        )
        q, v = (self.node("Transpose", tensor, perm=[0, 2, 1, 3]) for tensor in (q, v))
        k = self.node("Transpose", k, perm=[0, 2, 3, 1])
        scale = self.constant(np.array(1 / math.sqrt(C // H), np.float32))
        scores = self.node("MatMul", q, self.node("Mul", k, scale))
        block = path.split(".")[1]
        probs = self.node("Softmax", scores, axis=-1, out=f"attention.{block}")
        heads = self.node("Transpose", self.node("MatMul", probs, v), perm=[0, 2, 1, 3])
        return self.linear(self.reshape(heads, 0, T, C), f"{path}attn.proj.")

    def norm(self, x: str, path: str) -> str:
        gamma = self.weight(f"{path}weight")
        if self.config.norm == "layernorm":
            beta = self.weight(f"{path}bias")
            return self.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-6)
        mean = self.node("ReduceMean", self.node("Mul", x, x), self.ints([-1]), keepdims=1)
        rms = self.node("Sqrt", self.node("Add", mean, self.constant(np.array(1e-6, np.float32))))
        return self.node("Mul", self.node("Div", x, rms), gamma)

    def scaled(self, x: str, name: str) -> str:
        return self.node("Mul", x, self.weight(name)) if name in self.weights else x

    def pooled(self, x: str) -> str:
        """(B, T, C) -> (B, C)."""
        if self.config.pool == "cls":
            return self.node("Gather", x, self.constant(np.array(0, np.int64)), axis=1)
        if self.config.pool == "mean":
            return self.node("ReduceMean", x, self.ints([1]), keepdims=0)
        scores = self.node("MatMul", x, self.weight("sequence_pool.weight"))
        probs = self.node("Softmax", scores, axis=1)
        return self.node("ReduceSum", self.node("Mul", probs, x), self.ints([1]), keepdims=0)

    def linear(self, x: str, path: str) -> str:
        y = self.node("MatMul", x, self.weight(f"{path}weight"))
        return self.node("Add", y, self.weight(f"{path}bias"))

    def reshape(self, x: str, *shape: int) -> str:
        """Change the shape; 0 keeps a length."""
        return self.node("Reshape", x, self.ints(shape))

    def node(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        out = out or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def weight(self, name: str) -> str:
        """A parameter of the model, stored only once."""
        if all(constant.name != name for constant in self.constants):
            array = np.ascontiguousarray(self.weights[name], np.float32)
            self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def ints(self, numbers: Any) -> str:
        return self.constant(np.array(numbers, np.int64))

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(array), name))
        return name
