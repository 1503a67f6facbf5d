"""Chapter 07: the encoder."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import gelu_forward, layernorm_forward, linear_forward, relu_forward

SHAPES = ((2, 3, 4, 7), (3, 5, 6, 4), (1, 4, 8, 5))  # B, T, C, F


# 07.a: the factors of twelve layers of slope 0.1

add(
    Exercise(
        name="07.a",
        answer=(1.1**12, 0.1**12),
        mistakes=(
            Mistake("the slopes were added up; the chain rule multiplies them", (1 + 1.2, 1.2)),
            Mistake("the first factor is a sum, 1 + 12·0.1; each layer multiplies by 1.1",
                    (1 + 1.2, 0.1**12)),
            Mistake("there is one residual around all twelve layers; each has its own",
                    (1 + 0.1**12, 0.1**12)),
            Mistake("the two factors are swapped: the one with residuals comes first",
                    (0.1**12, 1.1**12)),
            Mistake("this is the factor of one layer; there are twelve", (1.1, 0.1)),
        ),
    )
)  # fmt: skip


# 07.b: mlp_half(x, gamma, beta, w1, b1, w2, b2) -> y


def _draw_half(rng: np.random.Generator, size: int) -> tuple:
    B, T, C, F = SHAPES[size]
    shapes = ((B, T, C), (C,), (C,), (C, F), (F,), (F, C), (C,))
    return tuple(rng.standard_normal(shape) for shape in shapes)


def _norm(x, gamma, beta):
    return layernorm_forward(x, gamma, beta)[0]


def _mlp(h, w1, b1, w2, b2, activation=gelu_forward):
    h = linear_forward(h, w1, b1)[0]
    h = h if activation is None else activation(h)[0]
    return linear_forward(h, w2, b2)[0]


def _of_tanh(x, g, b, w1, b1, w2, b2):
    h = _norm(x, g, b) @ w1 + b1
    h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    return x + h @ w2 + b2


add(
    Exercise(
        name="07.b",
        warm_up=True,
        answer=right.mlp_half,
        outputs=("y",),
        inputs=_draw_half,
        mistakes=(
            Mistake("the tanh approximation of GELU was used; this exercise uses the exact GELU, "
                    "with erf", _of_tanh),
            Mistake("the residual is missing: x is added to the output of the MLP",
                    lambda x, g, b, *mlp: _mlp(_norm(x, g, b), *mlp)),
            Mistake("the MLP's output was added to the normalized tokens; LayerNorm is in the "
                    "branch, and the residual stream carries x itself",
                    lambda x, g, b, *mlp: _norm(x, g, b) + _mlp(_norm(x, g, b), *mlp)),
            Mistake("LayerNorm was applied after the sum: that is the original Transformer's order "
                    "(post-LayerNorm); here it comes before the MLP",
                    lambda x, g, b, *mlp: _norm(x + _mlp(x, *mlp), g, b)),
            Mistake("LayerNorm was applied to the output of the MLP; it comes before the MLP",
                    lambda x, g, b, *mlp: x + _norm(_mlp(x, *mlp), g, b)),
            Mistake("LayerNorm is missing", lambda x, g, b, *mlp: x + _mlp(x, *mlp)),
            Mistake("GELU is missing: without it, two linear layers are equivalent to one",
                    lambda x, g, b, *mlp: x + _mlp(_norm(x, g, b), *mlp, activation=None)),
            Mistake("the activation is ReLU; here it is GELU",
                    lambda x, g, b, *mlp: x + _mlp(_norm(x, g, b), *mlp, activation=relu_forward)),
            Mistake("GELU was also applied after the second layer; it belongs between the two",
                    lambda x, g, b, *mlp: x + gelu_forward(_mlp(_norm(x, g, b), *mlp))[0]),
            Mistake("GELU was applied to the sum; it belongs between the two linear layers",
                    lambda x, g, b, *mlp: gelu_forward(x + _mlp(_norm(x, g, b), *mlp))[0]),
        ),
    )
)  # fmt: skip


# 07.c: block_backward(dy, norm1, attn, norm2, mlp) -> dx


class _Piece:
    """A stand-in for a part of a block: linear, so that its derivative is the same everywhere.

    Called with the gradient of its output, it returns the gradient of its input.
    """

    def __init__(self, matrix: np.ndarray):
        self.matrix = matrix

    def __call__(self, dout: np.ndarray) -> np.ndarray:
        return dout @ self.matrix.T.astype(dout.dtype)

    def __repr__(self) -> str:
        return "a function"

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x @ self.matrix


def _draw_pieces(rng: np.random.Generator, size: int) -> tuple:
    B, T, C, _ = SHAPES[size]
    pieces = (_Piece(rng.standard_normal((C, C)) / C**0.5) for _ in range(4))
    return rng.standard_normal((B, T, C)), *pieces


def _forgot_second(dy, norm1, attn, norm2, mlp):
    dx = norm2(mlp(dy))
    return dx + norm1(attn(dx))


def _reads_dy(dy, norm1, attn, norm2, mlp):
    return dy + norm2(mlp(dy)) + norm1(attn(dy))


def _first_half_first(dy, norm1, attn, norm2, mlp):
    dx = dy + norm1(attn(dy))
    return dx + norm2(mlp(dx))


def _norm_first(dy, norm1, attn, norm2, mlp):
    dx = dy + mlp(norm2(dy))
    return dx + attn(norm1(dx))


def _residual_is_dy(dy, norm1, attn, norm2, mlp):
    dx = dy + norm2(mlp(dy))
    return dy + norm1(attn(dx))


def _residual_twice(dy, norm1, attn, norm2, mlp):
    dx = dy + norm2(mlp(dy))
    return dy + dx + norm1(attn(dx))


def _no_norms(dy, norm1, attn, norm2, mlp):
    dx = dy + mlp(dy)
    return dx + attn(dx)


def _norm_on_residual(dy, norm1, attn, norm2, mlp):
    dx = norm2(dy + mlp(dy))
    return norm1(dx + attn(dx))


def _block_loss(dy, norm1, attn, norm2, mlp):
    x = np.random.default_rng(0).standard_normal(dy.shape)

    def objective() -> float:
        middle = x + attn.forward(norm1.forward(x))
        return float((dy * (middle + mlp.forward(norm2.forward(middle)))).sum())

    return objective, {"dx": x}


add(
    Exercise(
        name="07.c",
        answer=right.block_backward,
        outputs=("dx",),
        inputs=_draw_pieces,
        forward=_block_loss,
        mistakes=(
            Mistake("both residuals are missing: the gradient also flows along the residual stream",
                    lambda dy, norm1, attn, norm2, mlp: norm1(attn(norm2(mlp(dy))))),
            Mistake("the residual around the MLP is missing: dy itself flows along the residual "
                    "stream, too",
                    _forgot_second),
            Mistake("the residual around attention is missing: the gradient there also flows along "
                    "the residual stream",
                    lambda dy, norm1, attn, norm2, mlp: norm1(attn(dy + norm2(mlp(dy))))),
            Mistake("attention's branch was given dy; it gets the whole gradient at x', from the "
                    "residual and the MLP's branch together", _reads_dy),
            Mistake("dy was added at attention's residual; the whole gradient at x' should be "
                    "added",
                    _residual_is_dy),
            Mistake("dy was added twice: the gradient at x' already contains it", _residual_twice),
            Mistake("attention came before the MLP; backward begins with the last half",
                    _first_half_first),
            Mistake("LayerNorm came before its MLP or attention; it is first in a branch's "
                    "forward pass, so it is last in its backward pass", _norm_first),
            Mistake("the LayerNorms are missing", _no_norms),
            Mistake("the LayerNorms were put on the residual stream; they belong in the branches",
                    _norm_on_residual),
        ),
    )
)  # fmt: skip


# 07.d: count(image_size, patch_size, num_classes, dim, depth, hidden) -> number

SIZES = ((32, 4, 10, 24, 3, 60), (48, 8, 7, 20, 5, 30), (28, 7, 5, 36, 2, 144))


_count = right.count


def _off(change):
    """A wrong answer: the right one plus change(N, P, K, C, L, F)."""

    def wrong(image_size, patch_size, num_classes, dim, depth, hidden):
        N = (image_size // patch_size) ** 2
        right = _count(image_size, patch_size, num_classes, dim, depth, hidden)
        return right + change(N, patch_size, num_classes, dim, depth, hidden)

    return wrong


add(
    Exercise(
        name="07.d",
        hard=(
            Hard("for other sizes",
                 lambda rng: (40, 5, 3, 12, 4, 31)),
        ),
        answer=right.count,
        outputs=("the count",),
        inputs=lambda rng, size: SIZES[size],
        rtol=1e-9,
        mistakes=(
            Mistake("C parameters are missing: the class token itself, or its position (there are "
                    "N + 1 positions)", _off(lambda N, P, K, C, L, F: -C)),
            Mistake("2C parameters are missing: the last LayerNorm after the blocks, or the class "
                    "token and its position",
                    _off(lambda N, P, K, C, L, F: -2 * C)),
            Mistake("the position embeddings were left out",
                    _off(lambda N, P, K, C, L, F: -(N + 1) * C)),
            Mistake("the bias of qkv was left out in every block; it has 3C numbers",
                    _off(lambda N, P, K, C, L, F: -3 * C * L)),
            Mistake("the bias of attention's output projection was left out, or one of the MLP's "
                    "(C per block)", _off(lambda N, P, K, C, L, F: -C * L)),
            Mistake("attention's output projection was left out, C·C + C per block",
                    _off(lambda N, P, K, C, L, F: -(C * C + C) * L)),
            Mistake("both LayerNorms of the blocks were left out",
                    _off(lambda N, P, K, C, L, F: -4 * C * L)),
            Mistake("each block was given one LayerNorm, or each LayerNorm only one array; a block "
                    "has four arrays of length C", _off(lambda N, P, K, C, L, F: -2 * C * L)),
            Mistake("the MLP's biases were left out, F + C per block",
                    _off(lambda N, P, K, C, L, F: -(F + C) * L)),
            Mistake("the bias of the MLP's first layer was left out, F per block",
                    _off(lambda N, P, K, C, L, F: -F * L)),
            Mistake("the images have three color channels: a patch has 3·P·P numbers",
                    _off(lambda N, P, K, C, L, F: -2 * P * P * C)),
            Mistake("the bias of the head was left out",
                    _off(lambda N, P, K, C, L, F: -K)),
            Mistake("all biases of the blocks were left out",
                    _off(lambda N, P, K, C, L, F: -(3 * C + C + F + C) * L)),
        ),
    )
)  # fmt: skip
