"""Progressive resizing: small images first (Howard, 2018; Tan & Le, 2021)."""

from dataclasses import dataclass

import numpy as np

from minivit.functional import interpolation_matrix


@dataclass(frozen=True)
class Progressive:
    """Training images grow in stages of equal length.

    The cost of attention and the MLPs depends on the number of tokens: an image of 16 pixels has a
    quarter of the tokens of one of 32, so in the same time the model sees four times as many.

    sizes: side of the images in each stage, in pixels; empty: images are not resized. total: steps
    of the whole run.
    """

    sizes: tuple[int, ...]
    total: int

    def size(self, step: int) -> int | None:
        """Side of a step's images; None: not resized."""
        if not self.sizes:
            return None
        return self.sizes[min(step * len(self.sizes) // self.total, len(self.sizes) - 1)]

    def resized(self, images: np.ndarray, step: int) -> np.ndarray:
        """A step's images, float (B, C, H, H) -> (B, C, S, S), bilinear."""
        size = self.size(step)
        if size in (None, images.shape[-1]):
            return images
        matrix = interpolation_matrix(size, images.shape[-1], "bilinear").astype(images.dtype)
        return matrix @ images @ matrix.T
