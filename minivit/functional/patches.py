"""Images to patches and back (Dosovitskiy et al., 2021, section 3.1).

Cutting an image into patches only moves numbers. So backward is the inverse move: the gradient of a
pixel is the gradient at the one place where that pixel went.
"""

from minivit.backend import Array
from minivit.errors import UserError


def patchify_forward(images: Array, patch_size: int) -> tuple[Array, tuple]:
    r"""Cut images into squares and flatten each to a vector.

    .. math:: x \in \mathbb{R}^{H \times W \times C}
              \;\to\; x_p \in \mathbb{R}^{N \times (P^2 C)}, \quad N = HW / P^2

    Patches are in reading order (row by row), a patch's numbers in (row, column, channel) order.

    Args:
        images: (B, C, H, W), any C.
        patch_size: P; must divide H and W.

    Returns:
        patches (B, N, P·P·C), cache.

    Raises:
        UserError: the image's sides are not multiples of P.
    """
    B, C, H, W = images.shape
    P = patch_size
    if P < 1 or H % P or W % P:
        raise UserError(
            f"patch_size {P} does not divide the image of {H}×{W} pixels; "
            "choose one that divides both sides"
        )
    grid = images.reshape(B, C, H // P, P, W // P, P)
    patches = grid.transpose(0, 2, 4, 3, 5, 1)  # (B, H/P, W/P, P, P, C)
    return patches.reshape(B, (H // P) * (W // P), P * P * C), (images.shape, P)


def patchify_backward(dpatches: Array, cache: tuple) -> Array:
    """dpatches (B, N, P·P·C) -> dimages (B, C, H, W): every number returns to its pixel."""
    (B, C, H, W), P = cache
    grid = dpatches.reshape(B, H // P, W // P, P, P, C)
    return grid.transpose(0, 5, 1, 3, 2, 4).reshape(B, C, H, W)


def unpatchify_forward(
    patches: Array, patch_size: int, image_size: tuple[int, int]
) -> tuple[Array, tuple]:
    """The inverse of `patchify_forward`: patches (B, N, P·P·C) -> images (B, C, H, W), cache.

    Raises:
        UserError: the patches do not fill an image of `image_size` (height, width).
    """
    B, N, numbers = patches.shape
    P, (H, W) = patch_size, image_size
    if H % P or W % P or N != (H // P) * (W // P) or numbers % (P * P):
        raise UserError(
            f"patches of shape {patches.shape} with patch_size {P} do not fill {H}×{W} pixels; "
            f"expected (B, {H // P * (W // P)}, {P * P}·channels)"
        )
    cache = ((B, numbers // (P * P), H, W), P)
    return patchify_backward(patches, cache), cache


def unpatchify_backward(dimages: Array, cache: tuple) -> Array:
    """dimages (B, C, H, W) -> dpatches (B, N, P·P·C)."""
    _, P = cache
    return patchify_forward(dimages, P)[0]
