"""Few-shot: a linear classifier on frozen features, in closed form (paper, section 4.1)."""

import numpy as np

from minivit.errors import UserError

RIDGES = 2.0 ** np.arange(-20, 11, 2)  # what λ is chosen from, times the features' mean variance


def ridge_regression(
    features: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Least squares from features to targets of -1 and 1, with weight decay.

    .. math:: W = (X^\top X + \lambda I)^{-1} X^\top Y, \qquad Y_{ik} = \begin{cases}
              1 & \text{image } i \text{ is of class } k \\ -1 & \text{otherwise} \end{cases}

    X and Y without their means, which the bias brings back. λ is the one with the smallest error
    when each image in turn is left out, which needs no second fit: with the singular values of X,
    the residual of a left-out image is :math:`r_i / (1 - h_{ii})`.

    Args:
        features: (N, C). labels: (N,), below num_classes.

    Returns:
        weight (C, K), bias (K,), in float64: scores are `features @ weight + bias`.

    Raises:
        UserError: fewer than two images.
    """
    if len(labels) < 2:
        raise UserError(f"{len(labels)} image to fit a classifier to; expected at least 2")
    x, y = features.astype(np.float64), 2.0 * np.eye(num_classes)[labels] - 1.0
    x_mean, y_mean = x.mean(0), y.mean(0)
    u, s, vt = np.linalg.svd(x - x_mean, full_matrices=False)
    projected = u.T @ (y - y_mean)
    variance = max((s * s).mean(), np.finfo(float).tiny)

    def left_out_error(ridge: float) -> float:
        shrink = s * s / (s * s + ridge * variance)
        residual = (y - y_mean) - u @ (shrink[:, None] * projected)
        leverage = (u * u) @ shrink + 1.0 / len(y)  # the mean, too, leans on each image
        return float(np.square(residual / np.maximum(1.0 - leverage, 1e-9)[:, None]).sum())

    ridge = min(RIDGES, key=left_out_error) * variance
    weight = vt.T @ ((s / (s * s + ridge))[:, None] * projected)
    return weight, y_mean - x_mean @ weight
