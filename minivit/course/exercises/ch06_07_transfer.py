"""Chapters 06 and 07, beyond the text: grouped keys, other kinds of blocks."""

import numpy as np

from minivit.course import right, right_transfer
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.course.exercises.ch07_encoder import _Piece

# 06.f: grouped_attention(q, k, v) -> heads; 06.g: group_backward(dk, G) -> dk of the groups

GROUPED = ((2, 4, 2, 3, 5), (3, 6, 2, 4, 3), (1, 6, 3, 5, 2))  # B, H, G, T, D


def _draw_grouped(rng: np.random.Generator, size: int) -> tuple:
    return _grouped(rng, *GROUPED[size])


def _grouped(rng, B, H, G, T, D):
    q = rng.standard_normal((B, H, T, D))
    return q, *rng.standard_normal((2, B, G, T, D))


def _with_heads(spread):
    """A wrong answer: spread(groups (B, G, T, D), H) -> (B, H, T, D), for keys and values."""
    return lambda q, k, v: right.attention(q, spread(k, q.shape[1]), spread(v, q.shape[1]))[0]


def _in_turns(groups, H):
    return np.tile(groups, (1, H // groups.shape[1], 1, 1))


def _first_group(groups, H):
    return np.repeat(groups[:, :1], H, 1)


def _mean_group(groups, H):
    return np.repeat(groups.mean(1, keepdims=True), H, 1)


def _repeated(groups, H):
    return groups.repeat(H // groups.shape[1], 1)


def _values_in_turns(q, k, v):
    H = q.shape[1]
    return right.attention(q, _repeated(k, H), _in_turns(v, H))[0]


def _keys_in_turns(q, k, v):
    H = q.shape[1]
    return right.attention(q, _in_turns(k, H), _repeated(v, H))[0]


def _draw_dk(rng: np.random.Generator, size: int) -> tuple:
    B, H, G, T, D = GROUPED[size]
    return rng.standard_normal((B, H, T, D)), G


def _group_loss(dk, G):
    B, H, T, D = dk.shape
    k = np.zeros((B, G, T, D))
    return lambda: float((dk * k.repeat(H // G, 1)).sum()), {"dk of the groups": k}


def _taken_in_turns(dk, G):
    B, H, T, D = dk.shape
    return dk.reshape(B, H // G, G, T, D).sum(1)


add(
    Exercise(
        name="06.f",
        answer=right_transfer.grouped_attention,
        outputs=("heads",),
        inputs=_draw_grouped,
        hard=(
            Hard("where all heads share one key and value (G = 1)",
                 lambda rng: _grouped(rng, 2, 3, 1, 4, 2)),
            Hard("where every head has its own key (G = H)",
                 lambda rng: _grouped(rng, 1, 3, 3, 2, 4)),
        ),
        mistakes=(
            Mistake("the heads were assigned to the groups alternately, 0 1 0 1: neighboring heads "
                    "share a group, 0 0 1 1 (np.repeat, not np.tile)", _with_heads(_in_turns)),
            Mistake("the values were assigned alternately, 0 1 0 1; neighboring heads share a "
                    "group, 0 0 1 1", _values_in_turns),
            Mistake("the keys were assigned alternately, 0 1 0 1; neighboring heads share a group, "
                    "0 0 1 1", _keys_in_turns),
            Mistake("all heads use the first group", _with_heads(_first_group)),
            Mistake("the groups were averaged; each group serves only its own heads",
                    _with_heads(_mean_group)),
        ),
    ),
    Exercise(
        name="06.g",
        answer=right_transfer.group_backward,
        outputs=("dk of the groups",),
        inputs=_draw_dk,
        forward=_group_loss,
        hard=(
            Hard("where all heads share one key (G = 1)",
                 lambda rng: (rng.standard_normal((2, 3, 2, 4)), 1)),
            Hard("where every head has its own key (G = H)",
                 lambda rng: (rng.standard_normal((1, 3, 2, 4)), 3)),
        ),
        mistakes=(
            Mistake("the heads of a group were averaged; a key that is used several times gets the "
                    "sum of its gradients",
                    lambda dk, G: right_transfer.group_backward(dk, G) * G / dk.shape[1]),
            Mistake("the heads were summed alternately, 0 1 0 1; neighboring heads share a group",
                    _taken_in_turns),
            Mistake("only the first head of each group was counted",
                    lambda dk, G: dk[:, :: dk.shape[1] // G]),
            Mistake("all heads were summed for every group",
                    lambda dk, G: np.repeat(dk.sum(1, keepdims=True), G, 1)),
        ),
    ),
)  # fmt: skip


# 06.h: low_rank(matrix, D) -> the matrix of rank D that is nearest to it


def _draw_matrix(rng: np.random.Generator, size: int) -> tuple:
    C, D = ((6, 2), (8, 5), (5, 3))[size]
    return 0.7 * rng.standard_normal((C, C)) / C**0.5 + 0.7 * np.eye(C), D


def _from_parts(combine):
    """A wrong answer: combine(left, values, right, D), from the singular value decomposition."""
    return lambda matrix, D: combine(*np.linalg.svd(matrix), D)


add(
    Exercise(
        name="06.h",
        answer=right_transfer.low_rank,
        outputs=("the product",),
        inputs=_draw_matrix,
        hard=(
            Hard("where the whole rank is kept (D = C)",
                 lambda rng: (_draw_matrix(rng, 0)[0], 6)),
        ),
        mistakes=(
            Mistake("the smallest singular values were kept; np.linalg.svd returns the largest "
                    "first",
                    _from_parts(lambda u, s, v, D: u[:, -D:] * s[-D:] @ v[-D:])),
            Mistake("the singular values are missing",
                    _from_parts(lambda u, s, v, D: u[:, :D] @ v[:D])),
            Mistake("only one of the two factors was multiplied by the roots of the singular "
                    "values",
                    _from_parts(lambda u, s, v, D: u[:, :D] * np.sqrt(s[:D]) @ v[:D])),
            Mistake("both factors were multiplied by the singular values, not by their roots",
                    _from_parts(lambda u, s, v, D: u[:, :D] * s[:D] ** 2 @ v[:D])),
            Mistake("the right singular vectors were transposed; np.linalg.svd returns them as "
                    "rows already",
                    _from_parts(lambda u, s, v, D: u[:, :D] * s[:D] @ v[:, :D].T)),
            Mistake("the singular values were applied to the rows of the left singular vectors, "
                    "which are columns",
                    _from_parts(lambda u, s, v, D: (s[:, None] * u)[:, :D] @ v[:D])),
            Mistake("the matrix still has its whole rank", lambda matrix, D: matrix),
        ),
    )
)  # fmt: skip


# 07.h: post_block_backward(dy, norm1, attn, norm2, mlp) -> dx: LayerNorm is on the residual stream

SHAPES = ((2, 3, 4), (3, 5, 6), (1, 4, 8))  # B, T, C


def _draw_pieces(rng: np.random.Generator, size: int) -> tuple:
    B, T, C = SHAPES[size]
    pieces = (_Piece(rng.standard_normal((C, C)) / C**0.5) for _ in range(4))
    return rng.standard_normal((B, T, C)), *pieces


def _post_loss(dy, norm1, attn, norm2, mlp):
    x = np.random.default_rng(0).standard_normal(dy.shape)

    def objective() -> float:
        middle = norm1.forward(x + attn.forward(x))
        return float((dy * norm2.forward(middle + mlp.forward(middle))).sum())

    return objective, {"dx": x}


def _halves(**changed):
    """A wrong answer: the second half backward, then the first, each with the same changes."""

    def wrong(dy, norm1, attn, norm2, mlp):
        return _half(_half(dy, norm2, mlp, **changed), norm1, attn, **changed)

    return wrong


def _half(dy, norm, branch, *, skip=1.0, weight=1.0, norm_is="first"):
    """Backward of half a block, possibly modified."""
    dsum = norm(dy) if norm_is == "first" else dy
    shortcut = dy if norm_is == "in the branch" else dsum
    branch_input = norm(dy) if norm_is == "in the branch" else dsum
    dx = skip * shortcut + weight * branch(branch_input)
    return norm(dx) if norm_is == "last" else dx


def _skips(second, first):
    """A wrong answer that counts the residual of each half this many times."""

    def wrong(dy, norm1, attn, norm2, mlp):
        return _half(_half(dy, norm2, mlp, skip=second), norm1, attn, skip=first)

    return wrong


def _first_half_first(dy, norm1, attn, norm2, mlp):
    return _half(_half(dy, norm1, attn), norm2, mlp)


add(
    Exercise(
        name="07.h",
        answer=right_transfer.post_block_backward,
        outputs=("dx",),
        inputs=_draw_pieces,
        forward=_post_loss,
        mistakes=(
            Mistake("that is the backward pass of this chapter's block, with LayerNorm in the "
                    "branches; here it is after each sum", right.block_backward),
            Mistake("the residual bypassed LayerNorm: here the gradient reaches a sum through the "
                    "LayerNorm after it", _halves(norm_is="in the branch")),
            Mistake("LayerNorm came last in each half; it is last in forward, so it comes first in "
                    "backward", _halves(norm_is="last")),
            Mistake("both residuals are missing", _halves(skip=0.0)),
            Mistake("the residual around the MLP is missing", _skips(0.0, 1.0)),
            Mistake("the residual around attention is missing", _skips(1.0, 0.0)),
            Mistake("the branches are missing", _halves(weight=0.0)),
            Mistake("the LayerNorms are missing", _halves(norm_is="missing")),
            Mistake("attention came before the MLP; backward begins with the last half",
                    _first_half_first),
        ),
    )
)  # fmt: skip


# 07.i: layerscale_backward(dy, h, scale, branch) -> dx, dscale, of y = x + scale·h, h = f(x)


def _draw_scaled(rng: np.random.Generator, size: int) -> tuple:
    B, T, C = SHAPES[size]
    dy, h = rng.standard_normal((2, B, T, C))
    return dy, h, 0.3 * rng.standard_normal(C), _Piece(rng.standard_normal((C, C)) / C**0.5)


def _scale_loss(dy, h, scale, branch):
    x, scale = np.linalg.solve(branch.matrix.T, h.reshape(-1, h.shape[-1]).T).T, scale.copy()
    x = x.reshape(h.shape)

    def objective() -> float:
        return float((dy * (x + scale * branch.forward(x))).sum())

    return objective, {"dx": x, "dscale": scale}


def _scaled_with(dx=None, dscale=None):
    """A wrong answer with another dx(dy, h, scale, branch) or dscale(dy, h, scale, branch)."""

    def wrong(*arguments):
        results = right_transfer.layerscale_backward(*arguments)
        return tuple(
            change(*arguments) if change else result
            for change, result in zip((dx, dscale), results, strict=True)
        )

    return wrong


add(
    Exercise(
        name="07.i",
        answer=right_transfer.layerscale_backward,
        outputs=("dx", "dscale"),
        inputs=_draw_scaled,
        forward=_scale_loss,
        mistakes=(
            Mistake("the residual is missing: dy also flows along the residual stream",
                    _scaled_with(dx=lambda dy, h, scale, branch: branch(scale * dy))),
            Mistake("the branch was given dy; the gradient at h is scale·dy",
                    _scaled_with(dx=lambda dy, h, scale, branch: dy + branch(dy))),
            Mistake("scale was applied after the branch; it comes after h in forward, so it comes "
                    "first in backward",
                    _scaled_with(dx=lambda dy, h, scale, branch: dy + scale * branch(dy))),
            Mistake("the residual was scaled, too; scale is only in the branch",
                    _scaled_with(dx=lambda dy, h, scale, branch: scale * dy + branch(scale * dy))),
            Mistake("dscale contains scale; in a product each factor's gradient contains the other "
                    "one, h",
                    _scaled_with(dscale=lambda dy, h, scale, branch: (
                        (dy * h * scale).sum((0, 1))))),
            Mistake("h was left out of dscale: in a product each factor's gradient contains the "
                    "other one",
                    _scaled_with(dscale=lambda dy, h, scale, branch: dy.sum((0, 1)))),
            Mistake("the tokens were averaged in dscale; a number that is used several times gets "
                    "the sum of its gradients",
                    _scaled_with(dscale=lambda dy, h, scale, branch: (dy * h).mean((0, 1)))),
        ),
    )
)  # fmt: skip
