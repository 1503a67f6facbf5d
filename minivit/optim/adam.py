"""Adam (Kingma & Ba, 2015) and AdamW (Loshchilov & Hutter, 2019)."""

import math
from collections.abc import Callable

from minivit.backend import Array, get_xp
from minivit.layers import FlatParameters


class Adam:
    r"""Large steps where the gradient is consistent, small ones where it is noisy.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
              v \leftarrow \beta_2 v + (1 - \beta_2) g^2
    .. math:: \theta \leftarrow \theta - \eta\,
              \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    m and v start at zero; the divisions by :math:`1 - \beta^t` correct that bias.

    Args:
        flat: the model's parameters. betas, eps: β₁, β₂, ε.
        weight_decay: λ, only on tensors with two or more axes. Here λθ is added to the gradient
            (L2), so v sees it too; see `AdamW`.
    """

    def __init__(
        self,
        flat: FlatParameters,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self.flat, self.betas, self.eps, self.weight_decay = flat, betas, eps, weight_decay
        xp = get_xp(flat.data)
        self.m, self.v = xp.zeros_like(flat.data), xp.zeros_like(flat.data)
        self.steps = 0

    @property
    def moments(self) -> dict[str, Array]:
        """The flat arrays that a checkpoint must save, in addition to `steps`."""
        return {"m": self.m, "v": self.v}

    def step(self, lr: float, run: Callable = map) -> None:
        """Update the weights with the gradients in `flat.grad`.

        Args:
            lr: η of this step. run: applies a function to every block, like `map`; one that
            distributes the blocks over threads makes the step faster.
        """
        self.steps += 1
        beta1, beta2 = self.betas
        rate = lr / (1.0 - beta1**self.steps)
        rms_scale = 1.0 / math.sqrt(1.0 - beta2**self.steps)

        def update(rows: slice) -> None:
            theta, grad = self.flat.data[rows], self.flat.grad[rows]
            decayed = theta[: max(self.flat.num_decayed - rows.start, 0)]
            grad = self._decay(decayed, grad, lr)
            m, v = self.m[rows], self.v[rows]
            m *= beta1
            m += (1.0 - beta1) * grad
            v *= beta2
            v += (1.0 - beta2) * (grad * grad)
            change = get_xp(v).sqrt(v)
            change *= rms_scale
            change += self.eps
            get_xp(v).divide(m, change, change)
            change *= rate
            theta -= change

        list(run(update, self.flat.pieces(self._is_updated)))

    def _is_updated(self, name: str) -> bool:
        """Whether Adam changes the parameter of this name."""
        return name not in self.flat.frozen

    def _decay(self, decayed: Array, grad: Array, lr: float) -> Array:
        """Weight decay of one block; `decayed`: its weights that have two or more axes."""
        if self.weight_decay and len(decayed):
            grad = grad.copy()
            grad[: len(decayed)] += self.weight_decay * decayed
        return grad


class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    .. math:: \theta \leftarrow \theta - \eta\,\lambda\,\theta

    before Adam's step, so that the decay is not divided by √v.
    """

    def _decay(self, decayed: Array, grad: Array, lr: float) -> Array:
        if self.weight_decay:
            decayed *= 1.0 - lr * self.weight_decay
        return grad
