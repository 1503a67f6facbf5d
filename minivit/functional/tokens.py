"""Class token, positions and pooling."""

from minivit.backend import Array, get_xp


def class_token_forward(x: Array, cls_token: Array) -> tuple[Array, None]:
    """Prepend a learned token to every image's patches (paper, eq. 1).

    x (B, N, C), cls_token (1, 1, C) -> (B, N + 1, C), cache.
    """
    xp = get_xp(x)
    B, _, C = x.shape
    return xp.concatenate([xp.broadcast_to(cls_token, (B, 1, C)), x], 1), None


def class_token_backward(dout: Array, cache: None) -> tuple[Array, Array]:
    """dout (B, N + 1, C) -> dx (B, N, C), dcls_token (1, 1, C): one token is used by the whole
    batch, so its gradient is the sum over the batch.
    """
    return dout[:, 1:], dout[:, :1].sum(0, keepdims=True)


def registers_forward(x: Array, registers: Array) -> tuple[Array, int]:
    """Prepend R learned tokens as scratch memory for the model (registers; Darcet et al., 2024).

    x (B, N, C), registers (1, R, C) -> (B, R + N, C), cache.
    """
    xp = get_xp(x)
    B, _, C = x.shape
    R = registers.shape[1]
    return xp.concatenate([xp.broadcast_to(registers, (B, R, C)), x], 1), R


def registers_backward(dout: Array, cache: int) -> tuple[Array, Array]:
    """dout (B, R + N, C) -> dx (B, N, C), dregisters (1, R, C), summed over the batch."""
    return dout[:, cache:], dout[:, :cache].sum(0, keepdims=True)


def position_forward(x: Array, pos_embed: Array) -> tuple[Array, None]:
    """Add to each token the embedding of its position: x (B, T, C), pos_embed (1, T, C)."""
    return x + pos_embed, None


def position_backward(dout: Array, cache: None) -> tuple[Array, Array]:
    """dout (B, T, C) -> dx, dpos_embed (1, T, C), summed over the batch, as every image used it."""
    return dout, dout.sum(0, keepdims=True)


def mean_pool_forward(x: Array) -> tuple[Array, tuple]:
    """The mean of an image's tokens: x (B, T, C) -> (B, C), cache."""
    return x.mean(1), x.shape


def mean_pool_backward(dout: Array, cache: tuple) -> Array:
    """dout (B, C) -> dx (B, T, C): each token had the weight 1/T."""
    xp = get_xp(dout)
    B, T, C = cache
    return xp.broadcast_to((dout / T)[:, None], (B, T, C))
