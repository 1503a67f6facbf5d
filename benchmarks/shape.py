"""What is measured: one model, one batch."""

from dataclasses import asdict, dataclass
from typing import Literal

GEMM_REPEATS = 20
GEMM_FLOPS = GEMM_REPEATS * 2 * 1024**3
"""Of one measurement of the GEMM limit, on each core."""


@dataclass(frozen=True)
class Shape:
    """A Vision Transformer with a class token, and the batch it is measured on."""

    dim: int = 192
    """Width."""
    depth: int = 9
    """Blocks."""
    num_heads: int = 3
    """Heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over dim."""
    patch_size: int = 4
    """Side of a patch in pixels."""
    image_size: int = 32
    """Side of an image in pixels."""
    num_classes: int = 10
    """Classes."""
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    """GELU by its definition, or its tanh form; the same for all."""
    batch: int = 128
    """Images per step."""
    threads: int = 2
    """Cores to use."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where."""
    isa: Literal["native", "avx2"] = "native"
    """Instruction set: the CPU's own, or AVX2 alone where it has AVX-512."""

    @property
    def tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def flops(self) -> int:
        """Of one image's forward pass, in matrix products alone; a multiply-add counts as two."""
        T, C, F = self.tokens, self.dim, int(self.dim * self.mlp_ratio)
        block = 2 * T * C * 4 * C + 2 * 2 * T * T * C + 2 * T * C * F * 2
        patches = 2 * (T - 1) * self.patch_size**2 * 3 * C
        return self.depth * block + patches + 2 * C * self.num_classes

    def as_dict(self) -> dict:
        return asdict(self)

    @property
    def vit(self) -> dict:
        """The fields of minivit's `ViTConfig`."""
        run = ("batch", "threads", "device", "isa")
        return {name: value for name, value in asdict(self).items() if name not in run}
