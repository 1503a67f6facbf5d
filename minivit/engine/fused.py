"""A whole training step of a ViT in GPU kernels, planned once: what `Trainer` otherwise does with
the forward/backward pairs of `functional/`.

All arrays are allocated when the step is built; a step only launches kernels, so it can be captured
as one graph and replayed. The pairs are the reference: tests run this code on a CPU, with the
kernels built by g++, and compare it with the model in float64.

bf16: activations and inputs of matrix products. float32: accumulation, LayerNorm's statistics, the
softmax, the loss, the gradient along the residual stream, weights, moments.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from minivit.data import Field
from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.models.config import SIZES
from minivit.optim import AdamW

BF16 = "uint16"
"""NumPy has no bfloat16; its bits are stored as uint16."""

THREADS = 256
TILE = 64  # attention.cu: rows of a tile
BLOCKS = 528  # blocks of a sum over all rows: four per multiprocessor of an H200


class Device(Protocol):
    """What a step needs from a device: a GPU, or in tests a CPU as its stand-in.

    max_shared: bytes of shared memory that a block can have.
    """

    max_shared: int

    def zeros(self, shape: Sequence[int], dtype: str) -> Any:
        """A new array of zeros."""

    def array(self, host: np.ndarray) -> Any:
        """A new array, a copy of the host's."""

    def upload(self, array: Any, host: np.ndarray) -> None:
        """Copy to an array of the device; `host` may be changed immediately afterwards."""

    def download(self, array: Any) -> np.ndarray:
        """A copy on the host."""

    def launch(
        self,
        file: str,
        kernel: str,
        grid: Any,
        block: Any,
        *arguments: Any,
        shared: int = 0,
        **sizes: Any,
    ) -> None:
        """Start a kernel of `backend/cuda`; sizes: the macros that it is compiled with."""

    def matmul(
        self,
        a: Any,
        b: Any,
        out: Any,
        *,
        bias: Any = None,
        bias_gradient: Any = None,
        gelu: Any = None,
        dgelu: Any = None,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> bool:
        """out = op(a) op(b) + bias, for matrices: bf16 in, bf16 or float32 out, float32 sums.

        transpose_a, transpose_b: transpose the matrix first. bias: of out's dtype, one per column.
        One of the extras below may be requested; returns whether it was done, otherwise the caller
        has to do it.

        gelu: an array like out, to be filled with GELU(out) in its tanh form.
        dgelu: out is multiplied by GELU's derivative (tanh form) at this array.
        bias_gradient: float32, filled with the sums of b's columns.
        """

    def replay(self, function: Callable[[], None]) -> Callable[[], None]:
        """The same function, made fast for repeated calls, if possible as one graph; it must only
        launch kernels.
        """


class BranchDropout(NamedTuple):
    """Dropout of a residual branch: its random numbers, and rates."""

    site: int = 0
    path_site: int = 0
    rate: float = 0.0
    path_rate: float = 0.0


# Sites of a block: each use of dropout has its own random numbers (see `kept` in philox.cuh)
MAP, PROJ, PROJ_PATH, HIDDEN, FC2, FC2_PATH = range(6)
EMBEDDING = 0


def site(block: int, use: int) -> int:
    """The number of a use of dropout in a block."""
    return 1 + 6 * block + use


class FusedStep:
    """Loss, gradients and AdamW for batches of one size.

    Args:
        model: float32, on the device; its flat arrays are trained in place.
        batch: number of images in a whole batch. device: where it runs. smoothing: of the labels.
        rows: the B rows of the batch that this rank computes; None for all.

    Attributes:
        patches: (B·N, P·P·channels) bf16, to be filled before forward.
        draws: (fields, batch) int32, `Plan.packed`: labels, and the choices for `augment`; of all
        rows, as an image may be mixed with one of another rank. key: (4,) uint32: low and high half
        of a seed, step, first row; masks and noise are a function of the first three and the index
        in the whole batch. state: (3,) float32: learning rate, 1 - β₁ᵗ, 1 - β₂ᵗ of the step.
        logits: (B, K) bf16. sums: (2,) float32, of the last step: these rows' part of the mean
        loss, correct predictions.

    Raises:
        UserError: the model has a part without a kernel.
    """

    def __init__(
        self,
        model: ViT,
        batch: int,
        device: Device,
        smoothing: float = 0.0,
        rows: range | None = None,
    ):
        require_kernels(model.config)
        if model.own_layers:
            raise _no_kernel(f"layers that are not minivit's ({', '.join(model.own_layers)})")
        needed = _attention_shared_bytes(model.config)
        if needed > device.max_shared:
            raise UserError(
                f"attention over {model.config.num_tokens} tokens needs {needed:,} bytes of "
                f"shared memory in bf16, this GPU has {device.max_shared:,}; choose larger "
                "patches or smaller heads, or train with --precision tf32"
            )
        self.config, self.device, self.smoothing = model.config, device, smoothing
        self.batch, self.rows = batch, range(batch) if rows is None else rows
        self.B = len(self.rows)
        self.T, self.N = model.config.num_tokens, model.config.grid[0] * model.config.grid[1]
        self.flat = flat = model.flat
        self.path_rates = [block.drop_path.rate for block in model.blocks]
        self.weights = device.zeros(flat.data.shape, BF16)  # rounded, for the products
        views = (flat.views(a) for a in (flat.data, self.weights, flat.grad))
        self.params, self.w, self.grads = views
        self.positions = self.params.get("pos_embed", model.fixed_positions)
        self._plan()

    def _plan(self) -> None:
        """Allocate all arrays of a step."""
        config, B, zeros = self.config, self.B, self.device.zeros
        C, F, K, rows = config.dim, config.hidden, config.num_classes, B * self.T
        # one array for everything that changes from step to step, so that a single copy suffices
        self.inputs = zeros((len(Field) * self.batch + 7,), "int32")
        self.draws = self.inputs[:-7].reshape(len(Field), self.batch)
        self.key = self.inputs[-7:-3].view("uint32")
        self.state = self.inputs[-3:].view("float32")
        self.patches = zeros((B * self.N, config.patch_size**2 * config.in_channels), BF16)
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
        # the loss of each image, and whether it was classified correctly
        self.results = zeros((2, B), "float32")
        self.sums = zeros((2,), "float32")
        self.dresidual, self.dbranch = zeros((rows, C), "float32"), zeros((rows, C), BF16)
        self.dhidden, self.dqkv = zeros((rows, F), BF16), zeros((rows, 3 * C), BF16)
        self.dnarrow = zeros((rows, C), BF16)
        self.partial = zeros((max(BLOCKS * max(3 * C, F, K), 8 * self.T * C),), "float32")

    # --- inputs

    def round_weights(self) -> None:
        """Update the bf16 weights after the float32 weights were changed elsewhere."""
        count = self.weights.size
        self._elementwise("bf16.cu", "to_bf16_kernel", count, self.flat.data, self.weights, count)

    def augment(self, images: Any, scale: Any, offset: Any, padding: int) -> None:
        """Fill `patches` from uint8 images (any number, C, H, W) on the device, using `draws`.

        scale, offset: (C,) float32, from `scale_and_offset`. padding: in pixels, for the crop.
        """
        _, channels, H, W = images.shape
        sizes = {"CHANNELS": channels, "HEIGHT": H, "WIDTH_PX": W, "SCALAR": "bf16"}
        sizes |= {"PATCH": self.config.patch_size, "PADDING": padding}
        self._elementwise("augment.cu", "augment", self.patches.size, images, self.draws, scale,
                          offset, self.key, self.patches, self.batch, self.B, **sizes)  # fmt: skip

    # --- forward

    def forward(self, train: bool = False) -> None:
        """Compute `logits` from `patches`; train: whether to apply dropout and drop path."""
        self.train = train
        cls_token = self.params.get("cls_token")
        self._linear(self.patches, "patch_embed.proj", self.embedded)
        x = self.blocks[0]["x"]
        self._tokens("embed_forward", x.size, self.embedded, cls_token, self.positions, x,
                     keep=self._dropout(EMBEDDING))  # fmt: skip
        branch = None
        for i, block in enumerate(self.blocks):
            name = f"blocks.{i}"
            self._norm(x, branch, f"{name}.norm1", block["x"], block["y1"], block["stats1"],
                       self._branch_dropout(i - 1, FC2))  # fmt: skip
            self._linear(block["y1"], f"{name}.attn.qkv", block["qkv"])
            self._attend(i, block)
            self._linear(block["heads"], f"{name}.attn.proj", block["proj"])
            self._norm(block["x"], block["proj"], f"{name}.norm2", block["x2"], block["y2"],
                       block["stats2"], self._branch_dropout(i, PROJ))  # fmt: skip
            self._mlp_hidden(i, block)
            self._linear(block["act"], f"{name}.mlp.fc2", block["fc2"])
            x, branch = block["x2"], block["fc2"]
        self._norm(x, branch, "norm", self.last, self.tokens, self.stats,
                   self._branch_dropout(self.config.depth - 1, FC2))  # fmt: skip
        self._tokens("pool_forward", self.features.size, self.tokens, self.features)
        self._linear(self.features, "head", self.logits)

    def loss(self) -> None:
        """Compute `dlogits` and `sums` for the labels in `draws`."""
        sizes: dict[str, Any] = {"CLASSES": self.config.num_classes, "SCALAR": "bf16"}
        grid = _ceil(self.B, THREADS // 32)
        draws = self.draws[:, self.rows.start : self.rows.stop]
        first, second = draws[Field.FIRST], draws[Field.SECOND]
        lam = draws[Field.KEPT].view("float32")
        self.device.launch("cross_entropy.cu", "cross_entropy", grid, THREADS, self.logits, first,
                           second, lam, self.dlogits, self.results[0], self.results[1], self.B,
                           self.batch, self.smoothing, **sizes)  # fmt: skip
        self.device.launch("sums.cu", "two_sums", 1, 1024, self.results, self.sums, self.B,
                           1 / self.batch)  # fmt: skip

    # --- backward

    def backward(self) -> None:
        """Compute the model's gradients from `dlogits`; call it after forward(train=True)."""
        self.flat.grad[...] = 0
        self.dresidual[...] = 0
        last = self.config.depth - 1
        self._linear_backward("head", self.features, self.dlogits, self.dfeatures)
        self._tokens("pool_backward", self.dnarrow.size, self.dfeatures, self.dnarrow)
        self._norm_backward("norm", self.last, self.stats, self._branch_dropout(last, FC2))
        for i, block in reversed(list(enumerate(self.blocks))):
            name = f"blocks.{i}"
            self._mlp_hidden_backward(i, block)
            self._linear_backward(f"{name}.mlp.fc1", block["y2"], self.dhidden, self.dnarrow)
            self._norm_backward(
                f"{name}.norm2", block["x2"], block["stats2"], self._branch_dropout(i, PROJ)
            )
            self._linear_backward(f"{name}.attn.proj", block["heads"], self.dbranch, self.dnarrow)
            self._attend_backward(i, block)
            self._linear_backward(f"{name}.attn.qkv", block["y1"], self.dqkv, self.dnarrow)
            self._norm_backward(f"{name}.norm1", block["x"], block["stats1"],
                                self._branch_dropout(i - 1, FC2))  # fmt: skip
        self._embed_backward()
        self._linear_backward("patch_embed.proj", self.patches, self.dembedded, None)

    def update(self, optimizer: AdamW, clip_norm: float | None) -> None:
        """Update the weights by AdamW with this step's `state`, including clipping; also round
        them.
        """
        flat, partial, launch = self.flat, self.partial[:BLOCKS], self.device.launch
        count = flat.data.size
        launch("sums.cu", "sum_of_squares", BLOCKS, THREADS, flat.grad, partial, count)
        launch("adamw.cu", "adamw", BLOCKS, THREADS, flat.data, flat.grad, optimizer.m, optimizer.v,
               self.weights, self.state, partial, BLOCKS, count, flat.num_decayed,
               *optimizer.betas, optimizer.eps, optimizer.weight_decay,
               clip_norm or 0.0)  # fmt: skip

    def attention_map(self, block: int, out: Any) -> None:
        """Fill out (B, H, T, T), float32, with a block's attention map in the last forward, before
        dropout.
        """
        arrays = self.blocks[block]["qkv"], self.blocks[block]["lse"], out
        tiles = 2 * _tile_bytes(self.config)
        self._attention("attention_map", _ceil(self.T, TILE), tiles, 0, *arrays)

    # --- the parts

    def _linear(self, x: Any, name: str, out: Any, gelu: Any = None) -> bool:
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return self.device.matmul(x, weight, out, bias=bias, gelu=gelu)

    def _linear_backward(self, name: str, x: Any, dout: Any, dx: Any, dgelu: Any = None) -> bool:
        bias, weight = self.grads[f"{name}.bias"], self.grads[f"{name}.weight"]
        if not self.device.matmul(x, dout, weight, transpose_a=True, bias_gradient=bias):
            self._add_column_sums(dout, bias)
        if dx is None:
            return False
        weight = self.w[f"{name}.weight"]
        return self.device.matmul(dout, weight, dx, transpose_b=True, dgelu=dgelu)

    def _embed_backward(self) -> None:
        """dembedded, and the gradients of positions and class token, from dresidual."""
        self._tokens("embed_backward", self.dresidual.size, self.dresidual, self.dembedded,
                     keep=self._dropout(EMBEDDING))  # fmt: skip
        learned = [self.grads[name] for name in ("pos_embed", "cls_token") if name in self.grads]
        if learned:
            per_image = self.dresidual.reshape(self.B, -1)  # the class token is first
            self._add_column_sums(per_image, *learned, scalar="float")

    def _add_column_sums(self, x: Any, *outs: Any, scalar: str = "bf16") -> None:
        """Add the sums of x's columns to `outs`; each takes one column per element, in order."""
        rows, columns = x.shape
        slabs, grid = min(self.partial.size // columns, BLOCKS, rows), _ceil(columns, THREADS)
        self.device.launch("column_sums.cu", "column_sums", (grid, slabs), THREADS, x, self.partial,
                           rows, columns, SCALAR=scalar)  # fmt: skip
        for out in outs:
            self._add_partial((out,), slabs, columns)

    def _add_partial(self, outs: tuple, rows: int, stride: int) -> None:
        """Sum the blocks' results in `partial`, one row each, `stride` numbers apart; into one
        array, or two of the same size that are adjacent in a row.
        """
        first, second = outs if len(outs) == 2 else (*outs, None)
        grid = _ceil(first.size, 32), len(outs)
        self.device.launch("column_sums.cu", "add_column_sums", grid, THREADS, self.partial, first,
                           second, rows, first.size, stride, SCALAR="bf16")  # fmt: skip

    def _mlp_hidden(self, i: int, block: dict) -> None:
        """fc1, GELU, dropout."""
        arrays, name = (block["fc1"], block["act"]), f"blocks.{i}.mlp.fc1"
        gelu_out = block["act"] if self._gelu_can_be_fused else None
        if not self._linear(block["y2"], name, block["fc1"], gelu=gelu_out):
            self._gelu("gelu_forward", i, *arrays)

    def _mlp_hidden_backward(self, i: int, block: dict) -> None:
        """dhidden, the gradient of fc1's output, from dbranch."""
        gelu_in = block["fc1"] if self._gelu_can_be_fused else None
        arrays = block["act"], self.dbranch, self.dhidden
        if not self._linear_backward(f"blocks.{i}.mlp.fc2", *arrays, dgelu=gelu_in):
            self._gelu("gelu_backward", i, block["fc1"], self.dhidden)

    @property
    def _gelu_can_be_fused(self) -> bool:
        """Whether a product's epilogue can do GELU: its tanh form only, and no dropout after it."""
        return self.config.activation == "gelu_tanh" and not (self.train and self.config.dropout)

    def _gelu(self, kernel: str, i: int, x: Any, y: Any) -> None:
        grid, (where, rate) = _ceil(x.size, THREADS * 8), self._dropout(site(i, HIDDEN))
        tanh = int(self.config.activation == "gelu_tanh")
        self.device.launch("gelu.cu", kernel, grid, THREADS, x, y, x.size, self.key, where,
                           x.size // self.B, rate,
                           TANH=tanh, SCALAR="bf16", **_drop(rate))  # fmt: skip

    def _norm(
        self, x: Any, branch: Any, name: str, total: Any, y: Any, stats: Any, keep: BranchDropout
    ) -> None:
        """total = x + keep·branch, y = LayerNorm(total); without a branch, total is x already."""
        weight, bias = self.params[f"{name}.weight"], self.params[f"{name}.bias"]
        grid = _ceil(len(x), THREADS // 32)
        self.device.launch("layernorm.cu", "residual_layernorm_forward", grid, THREADS, x, branch,
                           weight, bias, total, y, stats, len(x), 1e-6, self.key, *keep, self.T,
                           **self._norm_sizes(keep))  # fmt: skip

    def _norm_backward(self, name: str, total: Any, stats: Any, keep: BranchDropout) -> None:
        """Backward of `_norm`, from dnarrow: adds to dresidual; dbranch is the sum times keep."""
        C, rows = self.config.dim, len(total)
        grid = min(BLOCKS, _ceil(rows, THREADS // 32))
        self.device.launch("layernorm.cu", "layernorm_backward", grid, THREADS, self.dnarrow, total,
                           stats, self.params[f"{name}.weight"], self.dresidual, self.dbranch,
                           self.partial, rows, self.key, *keep, self.T, shared=8 * C,
                           **self._norm_sizes(keep))  # fmt: skip
        gradients = self.grads[f"{name}.weight"], self.grads[f"{name}.bias"]
        self._add_partial(gradients, grid, 2 * C)

    def _norm_sizes(self, keep: BranchDropout) -> dict:
        return {"WIDTH": self.config.dim, "SCALAR": "bf16", **_drop(keep.rate or keep.path_rate)}

    def _attend(self, i: int, block: dict) -> None:
        dropout = self._dropout(site(i, MAP), self.config.attn_dropout)
        tiles = 3 * _tile_bytes(self.config)
        self._attention("attention_forward", _ceil(self.T, TILE), tiles, dropout[1],
                        block["qkv"], block["heads"], block["lse"], last=(self.key, *dropout)
                        )  # fmt: skip

    def _attend_backward(self, i: int, block: dict) -> None:
        """dqkv, from dnarrow."""
        shared = _attention_shared_bytes(self.config)
        dropout = self._dropout(site(i, MAP), self.config.attn_dropout)
        self._attention("attention_backward", 1, shared, dropout[1], block["qkv"], block["heads"],
                        self.dnarrow, block["lse"], self.dqkv, last=(self.key, *dropout)
                        )  # fmt: skip

    def _attention(
        self, kernel: str, columns: int, shared: int, rate: float, *arrays: Any, last: tuple = ()
    ) -> None:
        """Launch a kernel of attention.cu, for each head of each image."""
        H = self.config.num_heads
        self.device.launch("attention.cu", kernel, (columns, H, self.B), 128, *arrays, self.T, H,
                           *last, shared=shared, HEAD=self.config.dim // H,
                           **_drop(rate))  # fmt: skip

    def _tokens(self, kernel: str, threads: int, *arrays: Any, keep: tuple | None = None) -> None:
        last = () if keep is None else (self.key, *keep)
        sizes = {"CLS": int(self.config.pool == "cls"), "SCALAR": "bf16"}
        sizes |= _drop(keep[1] if keep else 0.0)
        shape = self.B, self.T, self.config.dim
        self._elementwise("tokens.cu", kernel, threads, *arrays, *shape, *last, **sizes)

    def _elementwise(
        self, file: str, kernel: str, threads: int, *arguments: Any, **sizes: Any
    ) -> None:
        """Launch a kernel with one thread per number."""
        self.device.launch(file, kernel, _ceil(threads, THREADS), THREADS, *arguments, **sizes)

    # --- dropout

    def _dropout(self, where: int, rate: float | None = None) -> tuple[int, float]:
        """Site and rate; the rate is 0 outside training."""
        rate = self.config.dropout if rate is None else rate
        return where, rate if self.train else 0.0

    def _branch_dropout(self, i: int, use: int) -> BranchDropout:
        """That of the branch that ends in `use` (PROJ or FC2) of block i; block -1 has none."""
        if not self.train or i < 0:
            return BranchDropout()
        return BranchDropout(
            site(i, use), site(i, use + 1), self.config.dropout, self.path_rates[i]
        )


def _drop(rate: float) -> dict:
    """The macro for dropout; without it, a kernel is compiled without dropout's code."""
    return {"DROP": 1} if rate else {}


def _tile_bytes(config: ViTConfig) -> int:
    """Bytes of a tile of attention.cu in shared memory."""
    return TILE * (config.dim // config.num_heads + 8) * 2


def _attention_shared_bytes(config: ViTConfig) -> int:
    """Bytes of shared memory that attention's backward needs: it keeps dq of all tokens there."""
    tokens = _ceil(config.num_tokens, TILE) * TILE
    head = config.dim // config.num_heads
    return 4 * _tile_bytes(config) + TILE * (TILE + 8) * 2 + tokens * (head + 2) * 4


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


KERNELS: dict[str, tuple | None] = {
    **SIZES,
    "pool": ("cls", "mean"),
    "pos_embed": ("learned", "sincos2d", "none"),
    "activation": ("gelu", "gelu_tanh"),
}
"""What the kernels support; see `ViTConfig.unsupported`."""


def require_kernels(config: ViTConfig) -> None:
    """Raises UserError for what only the pairs support."""
    unknown = config.unsupported(KERNELS)
    if unknown is not None:
        raise _no_kernel("{} {}".format(*unknown))
    D = config.dim // config.num_heads
    if D % 16:
        raise _no_kernel(f"heads of {D} numbers (must be a multiple of 16)")


def _no_kernel(what: str) -> UserError:
    return UserError(f"bf16 is not supported for {what}; train with --precision fp32 or tf32")
