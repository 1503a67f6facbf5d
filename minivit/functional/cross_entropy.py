"""Cross-entropy on logits, with label smoothing (Szegedy et al., 2016) and soft targets."""

from typing import NamedTuple

from minivit.backend import Array, get_xp
from minivit.functional.softmax import row_sums


class CrossEntropyCache(NamedTuple):
    """probs (B, K): softmax of the logits. targets (B, K): smoothed. dlogits is their difference /
    B.
    """

    probs: Array
    targets: Array


def cross_entropy_forward(
    logits: Array, targets: Array, smoothing: float = 0.0
) -> tuple[Array, CrossEntropyCache]:
    r"""Mean negative log-probability of the targets, over the batch.

    .. math:: L = -\frac1B \sum_b \sum_k t_{bk} \log p_{bk}, \qquad
              \log p = z - \log \textstyle\sum_k e^{z_k}

    Args:
        logits: z, (B, K).
        targets: integer classes (B,), or probabilities (B, K), which sum to one for each image.
        smoothing: ε: t becomes (1 - ε)·t + ε/K.

    Returns:
        loss (a 0-d array of the logits' dtype, on their device), cache.
    """
    xp = get_xp(logits)
    B = len(logits)
    soft = _soft_targets(targets, logits, smoothing)
    shifted = logits - logits.max(-1, keepdims=True)
    exps = xp.exp(shifted)
    total = row_sums(exps)
    log_probs = shifted - xp.log(total)
    loss = -(soft * log_probs).sum() / B
    return loss, CrossEntropyCache(exps / total, soft)


def _soft_targets(targets: Array, logits: Array, smoothing: float) -> Array:
    xp = get_xp(logits)
    B, K = logits.shape
    if targets.ndim == 1:
        soft = xp.zeros((B, K), logits.dtype)
        soft[xp.arange(B), targets] = 1.0
    else:
        soft = targets.astype(logits.dtype)
    soft *= 1.0 - smoothing
    soft += smoothing / K
    return soft


def cross_entropy_backward(dloss: float | Array, cache: CrossEntropyCache) -> Array:
    r"""dloss (a number, usually 1) -> dlogits (B, K).

    Softmax and logarithm cancel, which leaves a plain difference.

    .. math:: dz = \frac{p - t}{B}\,dL
    """
    probs, targets = cache
    return (probs - targets) * (dloss / len(probs))
