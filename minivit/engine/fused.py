"""A whole training step of a ViT in kernels: what `Trainer` does in pairs, planned once.

All arrays are made when the step is built; a step only launches. So it can be captured as one graph
and replayed. The pairs of `functional/` are the oracle: tests run this very code on a CPU, with the
kernels built by g++, beside the model in float64.

bf16: activations and what goes into matrix products. float32: their sums, LayerNorm's statistics,
the softmax, the loss, the gradient along the residual stream, weights, moments.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from minivit.errors import UserError
from minivit.models import ViT, ViTConfig

BF16 = "uint16"
"""NumPy has no bfloat16; its bits are kept in these."""

THREADS = 256
TILE = 64  # of attention.cu: rows of a tile
BLOCKS = 264  # of a sum over all rows: two for each multiprocessor of an H200


class Device(Protocol):
    """What a step needs of a machine: a GPU, or in tests a CPU that stands in for one."""

    def zeros(self, shape: Sequence[int], dtype: str) -> Any:
        """A new array of zeros."""

    def launch(self, file: str, kernel: str, grid, block, *arguments, shared=0, **sizes) -> None:
        """Start a kernel of `backend/cuda`; sizes: what it is compiled for."""

    def matmul(self, a, b, out, *, bias=None, turn_a=False, turn_b=False) -> None:
        """out = op(a) op(b) + bias, of two axes each: bf16 in, bf16 or float32 out, float32 sums.
        turn: transpose first. bias: float32, one a column."""


class FusedStep:
    """Loss, gradients and AdamW for batches of one size.

    Args:
        model: gives the shape, the first weights and the fixed positions. batch: B. device: where.
        smoothing: of the labels.

    Attributes:
        patches: (B·N, P·P·channels) bf16; first, second: (B,) int32, the classes of an image;
            share: (B,) float32, that of the first. To be filled before a step.
        theta, grad: float32, in the layout of `model.flat`.
        sums: (2,), mean loss and right answers, added up since they were last zeroed.

    Raises:
        UserError: the model has something that there is no kernel for.
    """

    def __init__(self, model: ViT, batch: int, device: Device, smoothing: float = 0.0):
        _require_kernels(model.config)
        self.config, self.device, self.B, self.smoothing = model.config, device, batch, smoothing
        self.T, self.N = model.config.num_tokens, model.config.grid[0] * model.config.grid[1]
        flat = model.flat
        self.theta, self.grad, self.m, self.v = (
            device.zeros(flat.data.shape, "float32") for _ in range(4)
        )
        self.state = device.zeros((3,), "float32")  # learning rate, 1 - β₁ᵗ, 1 - β₂ᵗ
        self.weights = device.zeros(flat.data.shape, BF16)  # theta, rounded by the optimizer
        self.num_decayed = flat.num_decayed
        self.at, self.w, self.d = (flat.views(a) for a in (self.theta, self.weights, self.grad))
        self.positions = self.at.get("pos_embed")
        if model.fixed_positions is not None:
            self.positions = device.zeros(model.fixed_positions.shape, "float32")
            self.positions[...] = model.fixed_positions
        self._plan()
        self.load(flat.data)

    def load(self, data) -> None:
        """Take over the values of a flat array of weights."""
        self.theta[...] = data
        self._each("bf16.cu", "to_bf16_kernel", self.theta.size, self.theta, self.weights,
                   self.theta.size)  # fmt: skip

    def _plan(self) -> None:
        """All arrays of a step."""
        config, B, zeros = self.config, self.B, self.device.zeros
        C, F, K, rows = config.dim, config.hidden, config.num_classes, B * self.T
        self.patches = zeros((B * self.N, config.patch_size**2 * config.in_channels), BF16)
        self.first, self.second = zeros((B,), "int32"), zeros((B,), "int32")
        self.share = zeros((B,), "float32")
        self.embedded, self.dembedded = (zeros((B * self.N, C), BF16) for _ in range(2))
        shapes = dict.fromkeys(("x", "y1", "heads", "proj", "x2", "y2", "fc2"), (rows, C))
        shapes |= {"fc1": (rows, F), "act": (rows, F), "qkv": (rows, 3 * C)}
        self.blocks = [
            {name: zeros(shape, BF16) for name, shape in shapes.items()}
            | {name: zeros((rows, 2), "float32") for name in ("stats1", "stats2")}
            | {"lse": zeros((B, config.num_heads, self.T), "float32")}
            for _ in range(config.depth)
        ]
        self.last, self.tokens = zeros((rows, C), BF16), zeros((rows, C), BF16)
        self.stats = zeros((rows, 2), "float32")
        self.features, self.dfeatures = zeros((B, C), BF16), zeros((B, C), BF16)
        self.logits, self.dlogits = zeros((B, K), BF16), zeros((B, K), BF16)
        self.told = zeros((2, B), "float32")  # loss, and whether it was right, of each image
        self.sums = zeros((2,), "float32")
        self.dresidual, self.dcopy = zeros((rows, C), "float32"), zeros((rows, C), BF16)
        self.dhidden, self.dqkv = zeros((rows, F), BF16), zeros((rows, 3 * C), BF16)
        self.dnarrow = zeros((rows, C), BF16)
        self.partial = zeros((BLOCKS * max(3 * C, F, K),), "float32")

    # --- forward

    def forward(self) -> None:
        """logits of the batch in `patches`."""
        cls_token = self.at.get("cls_token")
        self._linear(self.patches, "patch_embed.proj", self.embedded)
        x = self.blocks[0]["x"]
        self._tokens("embed_forward", x.size, self.embedded, cls_token, self.positions, x)
        branch = None
        for i, block in enumerate(self.blocks):
            name = f"blocks.{i}"
            self._norm(x, branch, f"{name}.norm1", block["x"], block["y1"], block["stats1"])
            self._linear(block["y1"], f"{name}.attn.qkv", block["qkv"])
            self._attend(block)
            self._linear(block["heads"], f"{name}.attn.proj", block["proj"])
            self._norm(block["x"], block["proj"], f"{name}.norm2", block["x2"], block["y2"],
                       block["stats2"])  # fmt: skip
            self._linear(block["y2"], f"{name}.mlp.fc1", block["fc1"])
            self._gelu("gelu_forward", block["fc1"], block["act"])
            self._linear(block["act"], f"{name}.mlp.fc2", block["fc2"])
            x, branch = block["x2"], block["fc2"]
        self._norm(x, branch, "norm", self.last, self.tokens, self.stats)
        self._tokens("pool_forward", self.features.size, self.tokens, self.features)
        self._linear(self.features, "head", self.logits)

    def loss(self) -> None:
        """dlogits; the batch's loss and right answers are added to `sums`."""
        sizes = {"CLASSES": self.config.num_classes, "SCALAR": "bf16"}
        grid = _ceil(self.B, THREADS // 32)
        self.device.launch("cross_entropy.cu", "cross_entropy", grid, THREADS, self.logits,
                           self.first, self.second, self.share, self.dlogits, self.told[0],
                           self.told[1], self.B, self.smoothing, **sizes)  # fmt: skip
        self.device.launch("sums.cu", "add_sums", 1, 1024, self.told, self.sums, self.B, 1 / self.B)

    # --- backward

    def backward(self) -> None:
        """grad, from dlogits."""
        self.grad[...] = 0
        self.dresidual[...] = 0
        self._linear_backward("head", self.features, self.dlogits, self.dfeatures)
        self._tokens("pool_backward", self.dnarrow.size, self.dfeatures, self.dnarrow)
        self._norm_backward("norm", self.last, self.stats)
        for i, block in reversed(list(enumerate(self.blocks))):
            name = f"blocks.{i}"
            self._linear_backward(f"{name}.mlp.fc2", block["act"], self.dcopy, self.dhidden)
            self._gelu("gelu_backward", block["fc1"], self.dhidden)
            self._linear_backward(f"{name}.mlp.fc1", block["y2"], self.dhidden, self.dnarrow)
            self._norm_backward(f"{name}.norm2", block["x2"], block["stats2"])
            self._linear_backward(f"{name}.attn.proj", block["heads"], self.dcopy, self.dnarrow)
            self._attend_backward(block)
            self._linear_backward(f"{name}.attn.qkv", block["y1"], self.dqkv, self.dnarrow)
            self._norm_backward(f"{name}.norm1", block["x"], block["stats1"])
        dpositions = self.d.get("pos_embed")
        self._tokens("embed_backward", self.T * self.config.dim, self.dresidual, self.dembedded,
                     dpositions, self.d.get("cls_token"))  # fmt: skip
        self._linear_backward("patch_embed.proj", self.patches, self.dembedded, None)

    def update(self, betas: tuple[float, float], weight_decay: float, clip_norm: float) -> None:
        """AdamW by what `state` says of this step; clip_norm 0: no clipping."""
        count, partial = self.theta.size, self.partial[:BLOCKS]
        launch, eps = self.device.launch, 1e-8
        launch("sums.cu", "sum_of_squares", BLOCKS, THREADS, self.grad, partial, count)
        launch("adamw.cu", "adamw", BLOCKS, THREADS, self.theta, self.grad, self.m, self.v,
               self.weights, self.state, partial, BLOCKS, count, self.num_decayed, *betas, eps,
               weight_decay, clip_norm)  # fmt: skip

    # --- the parts

    def _linear(self, x, name: str, out) -> None:
        self.device.matmul(x, self.w[f"{name}.weight"], out, bias=self.at[f"{name}.bias"])

    def _linear_backward(self, name: str, x, dout, dx) -> None:
        self.device.matmul(x, dout, self.d[f"{name}.weight"], turn_a=True)
        self._add_column_sums(dout, self.d[f"{name}.bias"])
        if dx is not None:
            self.device.matmul(dout, self.w[f"{name}.weight"], dx, turn_b=True)

    def _add_column_sums(self, x, out) -> None:
        rows, columns = x.shape
        slabs, grid = min(BLOCKS, rows), _ceil(columns, THREADS)
        self.device.launch("column_sums.cu", "column_sums", (grid, slabs), THREADS, x, self.partial,
                           rows, columns, SCALAR="bf16")  # fmt: skip
        self._add_partial(self.partial, out, slabs, columns)

    def _add_partial(self, partial, out, rows: int, stride: int) -> None:
        """Add up what blocks have summed, a row each, `stride` numbers apart."""
        self._each("column_sums.cu", "add_column_sums", out.size, partial, out, rows, out.size,
                   stride, SCALAR="bf16")  # fmt: skip

    def _norm(self, x, branch, name: str, total, y, stats) -> None:
        """total = x + branch, y = LayerNorm(total); without a branch total is x already."""
        weight, bias = self.at[f"{name}.weight"], self.at[f"{name}.bias"]
        grid = _ceil(len(x), THREADS // 32)
        self.device.launch("layernorm.cu", "residual_layernorm_forward", grid, THREADS, x, branch,
                           weight, bias, total, y, stats, len(x), 1e-6, **self._width)  # fmt: skip

    def _norm_backward(self, name: str, total, stats) -> None:
        """From dnarrow; what comes out is added to dresidual, and copied to dcopy."""
        C, rows = self.config.dim, len(total)
        grid = min(BLOCKS, _ceil(rows, THREADS // 32))
        self.device.launch("layernorm.cu", "layernorm_backward", grid, THREADS, self.dnarrow, total,
                           stats, self.at[f"{name}.weight"], self.dresidual, self.dcopy,
                           self.partial, rows, shared=8 * C, **self._width)  # fmt: skip
        for i, part in enumerate(("weight", "bias")):
            self._add_partial(self.partial[i * C :], self.d[f"{name}.{part}"], grid, 2 * C)

    def _attend(self, block: dict) -> None:
        T, H = self.T, self.config.num_heads
        D, tile = self.config.dim // H, self._tile
        self.device.launch("attention.cu", "attention_forward", (_ceil(T, TILE), H, self.B), 128,
                           block["qkv"], block["heads"], block["lse"], T, H, shared=3 * tile,
                           HEAD=D)  # fmt: skip

    def _attend_backward(self, block: dict) -> None:
        """dqkv, from dnarrow."""
        T, H = self.T, self.config.num_heads
        D, padded = self.config.dim // H, _ceil(T, TILE) * TILE
        shared = 4 * self._tile + TILE * (TILE + 8) * 2 + padded * (D + 2) * 4
        self.device.launch("attention.cu", "attention_backward", (H, self.B), 128, block["qkv"],
                           block["heads"], self.dnarrow, block["lse"], self.dqkv, T, H,
                           shared=shared, HEAD=D)  # fmt: skip

    @property
    def _tile(self) -> int:
        """Bytes of a tile in shared memory."""
        return TILE * (self.config.dim // self.config.num_heads + 8) * 2

    @property
    def _width(self) -> dict:
        return {"WIDTH": self.config.dim, "SCALAR": "bf16"}

    def _gelu(self, kernel: str, x, y) -> None:
        tanh = int(self.config.activation == "gelu_tanh")
        grid = _ceil(x.size, THREADS * 8)
        self.device.launch("gelu.cu", kernel, grid, THREADS, x, y, x.size, TANH=tanh, SCALAR="bf16")

    def _tokens(self, kernel: str, threads: int, *arrays) -> None:
        sizes = {"CLS": int(self.config.pool == "cls"), "SCALAR": "bf16"}
        self._each("tokens.cu", kernel, threads, *arrays, self.B, self.T, self.config.dim, **sizes)

    def _each(self, file: str, kernel: str, threads: int, *arguments, **sizes) -> None:
        """A kernel with a thread for each of so many numbers."""
        self.device.launch(file, kernel, _ceil(threads, THREADS), THREADS, *arguments, **sizes)


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


def _require_kernels(config: ViTConfig) -> None:
    """Raises UserError for what only the pairs can do."""
    D = config.dim // config.num_heads
    for fault, words in (
        (config.stem != "patch", f"stem {config.stem}"),
        (config.pool == "seq", "sequence pooling"),
        (config.pos_embed == "relative", "relative positions"),
        (config.representation_size is not None, "pre-logits"),
        (config.dropout or config.attn_dropout or config.drop_path, "dropout or drop path"),
        (config.depth < 1, "a model without blocks"),
        (D % 16, f"heads of {D} numbers (16 must divide them)"),
    ):
        if fault:
            raise UserError(f"there is no fused step for {words}; train with --precision fp32")
