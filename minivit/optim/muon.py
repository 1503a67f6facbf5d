"""Muon: orthogonalized momentum (Jordan et al., 2024; Liu et al., 2025)."""

import math
from collections.abc import Callable, Iterator

from minivit.backend import Array, get_xp
from minivit.layers import FlatParameters
from minivit.optim.adam import AdamW

# Jordan et al.'s quintic: it raises small singular values fast and leaves all of them near 1
QUINTIC = (3.4445, -4.7750, 2.0315)
# Liu et al.: the RMS of AdamW's steps, so that its learning rates and weight decays carry over
RMS = 0.2


class Muon(AdamW):
    r"""Steps that move a matrix equally in all directions.

    The gradient of a weight matrix is dominated by a few directions; the rest hardly learn. Muon
    uses the matrix with singular values of 1 that is closest to the momentum:

    .. math:: M \leftarrow \mu M + G, \qquad
              O = \mathrm{orthogonalize}(G + \mu M) \approx U V^\top
    .. math:: W \leftarrow (1 - \eta\lambda)\,W - 0.2\,\eta\,\sqrt{\max(m, n)}\;O

    for a matrix W of m rows and n columns. Muon updates the matrices inside the encoder's blocks
    (q, k and v separately) and convolutions (a row for each weight of the window, a column for each
    output channel). As in Jordan et al. (2024), AdamW updates everything else (embeddings, head,
    LayerNorms, biases).

    Args:
        flat, betas, eps, weight_decay: as in `AdamW`. momentum: μ.

    map: applies the orthogonalization to the matrices, like the built-in `map`. The
    orthogonalization is most of the work and has no side effects, so several processes may each do
    a part of it and exchange the results.
    """

    def __init__(
        self,
        flat: FlatParameters,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ):
        super().__init__(flat, betas, eps, weight_decay)
        self.momentum = momentum
        self.map: Callable = map

    def step(self, lr: float, run: Callable = map) -> None:
        """Update the weights with the gradients in `flat.grad`; lr, run: see `Adam.step`."""
        super().step(lr, run)
        weights, grads, momenta = (
            list(self._matrices(array)) for array in (self.flat.data, self.flat.grad, self.m)
        )

        def nesterov_update(matrix: tuple[Array, Array]) -> Array:
            grad, momentum = matrix
            momentum *= self.momentum
            momentum += grad
            return grad + self.momentum * momentum

        def apply_update(matrix: tuple[Array, Array]) -> None:
            weight, direction = matrix
            weight *= 1.0 - lr * self.weight_decay
            weight -= RMS * lr * math.sqrt(max(weight.shape)) * direction

        updates = run(nesterov_update, zip(grads, momenta, strict=True))
        directions = self.map(orthogonalize, updates)
        list(run(apply_update, zip(weights, directions, strict=True)))

    def _is_updated(self, name: str) -> bool:
        """Whether AdamW updates this parameter."""
        return super()._is_updated(name) and not is_matrix(name, self.flat.shapes[name])

    def _matrices(self, flat: Array) -> Iterator[Array]:
        """The matrices of a flat array that Muon updates, as views; qkv as three."""
        for name, view in self.flat.views(flat).items():
            if is_matrix(name, view.shape) and name not in self.flat.frozen:
                matrix = view.reshape(-1, view.shape[-1])
                parts = 3 if name.endswith("qkv.weight") else 1
                width = matrix.shape[1] // parts
                yield from (matrix[:, i * width : (i + 1) * width] for i in range(parts))


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether Muon updates a parameter: a weight matrix inside a block, or a convolution."""
    return name.endswith(".weight") and (
        len(shape) == 4 or (name.startswith("blocks.") and len(shape) == 2)
    )


def orthogonalize(matrix: Array, steps: int = 5) -> Array:
    r"""The matrix with its singular values moved to about 1 and its singular vectors kept.

    .. math:: X \leftarrow a X + b\,(X X^\top) X + c\,(X X^\top)^2 X

    An odd polynomial of a matrix acts only on its singular values. This one (Newton–Schulz with
    Jordan et al.'s coefficients) needs no decomposition, only products; after five iterations the
    singular values are between 0.7 and 1.2, which works as well as 1.

    Args:
        matrix: (I, O). Returns a new array of the same shape and dtype.
    """
    a, b, c = QUINTIC
    xp = get_xp(matrix)
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (xp.sqrt((x * x).sum()) + 1e-7)  # no singular value above 1
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x
