"""The time of a training step on many ranks, computed from that on one.

    step = images per rank · seconds per image + optimizer + preparing the batch
         + the part of the all-reduce that backward does not hide

Not included: ranks that are slower than others, and networks that many ranks share.
"""

import math
from typing import NamedTuple

BACKWARD = 2 / 3
"""Fraction of an image's time that backward takes: it has twice the products of forward."""


class Network(NamedTuple):
    """latency: seconds until the first byte arrives. bandwidth: bytes per second."""

    latency: float
    bandwidth: float


NETWORKS = {
    "1 GbE": Network(50e-6, 0.117e9),
    "10 GbE": Network(20e-6, 1.17e9),
    "InfiniBand HDR": Network(2e-6, 24e9),
    "NVLink 4": Network(3e-6, 400e9),
}
"""Typical values, not measured."""


class Cost(NamedTuple):
    """What a step of a model costs on one rank."""

    per_image: float
    """Seconds of forward and backward, for each image that the rank computes."""
    fixed: float
    """Seconds that do not depend on the images: the optimizer."""
    prepare: float
    """Seconds to prepare an image; each rank prepares the whole batch."""
    bytes: int
    """Size of the gradient."""
    pieces: int
    """Number of pieces in which the gradient is summed, the last after backward."""
    shared: bool
    """Whether the ranks share the optimizer's work, as with Muon, and exchange the results."""


def all_reduce_seconds(ranks: int, count: float, network: Network) -> float:
    """Seconds to sum `count` bytes over p ranks: by a ring, 2(p-1) messages of 1/p of them, or by a
    tree, 2·log₂ p messages of all, whichever is faster.
    """
    if ranks == 1:
        return 0.0
    latency, bandwidth = network
    ring = 2 * (ranks - 1) * (latency + count / ranks / bandwidth)
    tree = 2 * math.ceil(math.log2(ranks)) * (latency + count / bandwidth)
    return min(ring, tree)


def exposed_seconds(whole: float, backward: float, pieces: int) -> float:
    """Seconds that an all-reduce takes beyond backward, if equal pieces of it are sent while
    backward runs: at least those of the last piece.
    """
    return max(whole / pieces, whole - backward * (1 - 1 / pieces))


def step_seconds(ranks: int, batch: int, cost: Cost, network: Network) -> float:
    """Seconds per step of the rank with the most images."""
    compute = cost.per_image * math.ceil(batch / ranks)
    whole = all_reduce_seconds(ranks, cost.bytes, network)
    communication = exposed_seconds(whole, BACKWARD * compute, cost.pieces)
    optimizer = cost.fixed
    if cost.shared:
        optimizer, communication = cost.fixed / ranks, communication + whole
    return compute + optimizer + cost.prepare * batch + communication


def speed_ups(ranks: list[int], batch: int, cost: Cost, network: Network) -> list[float]:
    """Speed-ups over one rank."""
    alone = step_seconds(1, batch, cost, network)
    return [alone / step_seconds(n, batch, cost, network) for n in ranks]


def cost_of(whole: dict, part: dict) -> Cost:
    """The cost, from two measured steps of one rank: with many images and with few."""
    per_image = (whole["step"] - part["step"]) / (whole["images"] - part["images"])
    per_image = max(0.0, per_image)  # noise can make it negative
    fixed = max(0.0, whole["step"] - per_image * whole["images"])
    prepare = whole["prepare"] / whole["images"]
    return Cost(per_image, fixed, prepare, whole["bytes"], whole["pieces"], whole["shared"])


def network_of(several: dict) -> Network:
    """The network between two ranks, from an all-reduce of one number and one of the gradient, each
    of which takes two messages.
    """
    latency = several["shortest"] / 2
    seconds = max(several["all_reduce"] - several["shortest"], 1e-9)
    return Network(latency, several["bytes"] / seconds)
