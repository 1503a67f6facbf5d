"""Checks of gradients against central finite differences, in float64::

    from minivit.gradcheck import check_pair, check_layer
    check_pair(layernorm_forward, layernorm_backward, {"x": x, "gamma": gamma, "beta": beta})
    check_layer(model, images)

`minivit gradcheck` checks every function pair, layer and model of minivit and prints a table.
"""

from minivit.gradcheck.check import TOLERANCE, Result, check_gradients, check_layer, check_pair

__all__ = ["TOLERANCE", "Result", "check_gradients", "check_layer", "check_pair"]
