"""Stochastic gradient descent with momentum (Polyak, 1964; Nesterov, 1983)."""

from collections.abc import Callable

from minivit.backend import Array, get_xp
from minivit.layers import FlatParameters


class SGD:
    r"""SGD with momentum, in PyTorch's form.

    .. math:: u \leftarrow \mu u + g + \lambda\theta, \qquad
              \theta \leftarrow \theta - \eta\,u
              \quad\text{(Nesterov: } \theta - \eta\,(g + \lambda\theta + \mu u)\text{)}

    Args:
        flat: the model's parameters. momentum: μ. nesterov: use Nesterov's form.
        weight_decay: λ, only on tensors with two or more axes.
    """

    def __init__(
        self,
        flat: FlatParameters,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        self.flat, self.momentum, self.nesterov = flat, momentum, nesterov
        self.weight_decay = weight_decay
        self.velocity = get_xp(flat.data).zeros_like(flat.data)
        self.steps = 0

    @property
    def moments(self) -> dict[str, Array]:
        """The flat arrays that a checkpoint must save, in addition to `steps`."""
        return {"velocity": self.velocity}

    def step(self, lr: float, run: Callable = map) -> None:
        """Update the weights with the gradients in `flat.grad`; lr: η; run: see `Adam.step`."""
        self.steps += 1

        def update(rows: slice) -> None:
            theta, grad = self.flat.data[rows], self.flat.grad[rows].copy()
            decayed = theta[: max(self.flat.num_decayed - rows.start, 0)]
            grad[: len(decayed)] += self.weight_decay * decayed
            velocity = self.velocity[rows]
            velocity *= self.momentum
            velocity += grad
            if self.nesterov:
                grad += self.momentum * velocity
                theta -= lr * grad
            else:
                theta -= lr * velocity

        list(run(update, self.flat.pieces(lambda name: name not in self.flat.frozen)))
