"""What is measured: one model, one batch."""

from dataclasses import asdict, dataclass
from typing import Literal

GEMM_REPEATS = 20
GEMM_FLOPS = GEMM_REPEATS * 2 * 1024**3
"""FLOPs of one measurement of the GEMM limit, per core."""


@dataclass(frozen=True)
class Shape:
    """A Vision Transformer with a class token, and the batch that it is measured on."""

    dim: int = 192
    """Width of a token."""
    depth: int = 9
    """Number of encoder blocks."""
    num_heads: int = 3
    """Number of attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP relative to dim."""
    patch_size: int = 4
    """Side of a patch in pixels."""
    image_size: int = 32
    """Side of an image in pixels."""
    num_classes: int = 10
    """Number of classes."""
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    """Exact GELU, or its tanh form; the same for all contenders."""
    batch: int = 128
    """Images per step."""
    threads: int = 2
    """Cores to use."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device to run on."""
    isa: Literal["native", "avx2"] = "native"
    """Instruction set: all that the CPU has, or no more than AVX2."""

    @property
    def tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def flops(self) -> int:
        """FLOPs of the matrix products of one image's forward pass; a multiply-add counts as
        two.
        """
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
