"""Mean squared error."""

from minivit.backend import Array


def squared_error_forward(predicted: Array, target: Array) -> tuple[Array, tuple]:
    r"""Mean of the squared differences.

    .. math:: L = \frac1n \sum_i (\hat y_i - y_i)^2

    Args:
        predicted, target: arrays of the same shape, with n numbers.

    Returns:
        loss (a 0-d array), cache.
    """
    difference = predicted - target
    return (difference * difference).mean(), (difference,)


def squared_error_backward(dloss: float, cache: tuple) -> Array:
    r"""dloss, a number -> dpredicted.

    .. math:: d\hat y = \frac{2\,dL}{n} (\hat y - y)
    """
    (difference,) = cache
    return difference * (2.0 * dloss / difference.size)
