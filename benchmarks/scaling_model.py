"""What a training step takes on many ranks, computed from what it takes on one.

    step = images of a rank · seconds per image + optimizer + preparing the batch
         + what the backward pass does not hide of the all-reduce

What is left out: ranks that are slower than others, and networks that many ranks share.
"""

import math
from typing import NamedTuple

BACKWARD = 2 / 3
"""Of an image's time: its products are twice those of forward."""


class Network(NamedTuple):
    """latency: seconds until the first byte is there. bandwidth: bytes per second."""

    latency: float
    bandwidth: float


NETWORKS = {
    "1 GbE": Network(50e-6, 0.117e9),
    "10 GbE": Network(20e-6, 1.17e9),
    "InfiniBand HDR": Network(2e-6, 24e9),
    "NVLink 4": Network(3e-6, 400e9),
}
"""Typical values, given, not measured."""


class Cost(NamedTuple):
    """What a model's step costs one rank."""

    per_image: float
    """Seconds of forward and backward, for each image that the rank computes."""
    fixed: float
    """Seconds that do not depend on the images: the optimizer."""
    prepare: float
    """Seconds to prepare an image; each rank prepares the whole batch."""
    bytes: int
    """Of the gradient."""
    pieces: int
    """In which it is added up, the last after backward."""
    shared: bool
    """Whether ranks share out the optimizer's work, as Muon's, and exchange what they found."""


def all_reduce_seconds(ranks: int, count: float, network: Network) -> float:
    """Of `count` bytes: a ring's 2(p-1) messages of a p-th, or a tree's 2·log₂ p of all, whichever
    is sooner."""
    if ranks == 1:
        return 0.0
    latency, bandwidth = network
    ring = 2 * (ranks - 1) * (latency + count / ranks / bandwidth)
    tree = 2 * math.ceil(math.log2(ranks)) * (latency + count / bandwidth)
    return min(ring, tree)


def exposed_seconds(whole: float, backward: float, pieces: int) -> float:
    """Of an all-reduce in equal pieces that travel while backward runs: what is left after it, the
    last piece at least."""
    return max(whole / pieces, whole - backward * (1 - 1 / pieces))


def step_seconds(ranks: int, batch: int, cost: Cost, network: Network) -> float:
    """Of the rank with the most images."""
    compute = cost.per_image * math.ceil(batch / ranks)
    whole = all_reduce_seconds(ranks, cost.bytes, network)
    talk = exposed_seconds(whole, BACKWARD * compute, cost.pieces)
    optimizer = cost.fixed
    if cost.shared:
        optimizer, talk = cost.fixed / ranks, talk + whole
    return compute + optimizer + cost.prepare * batch + talk


def speed_ups(ranks: list[int], batch: int, cost: Cost, network: Network) -> list[float]:
    """Over one rank."""
    alone = step_seconds(1, batch, cost, network)
    return [alone / step_seconds(n, batch, cost, network) for n in ranks]


def cost_of(whole: dict, part: dict) -> Cost:
    """From two measured steps of one rank, of many images and of few."""
    per_image = (whole["step"] - part["step"]) / (whole["images"] - part["images"])
    per_image = max(0.0, per_image)  # in noise
    fixed = max(0.0, whole["step"] - per_image * whole["images"])
    prepare = whole["prepare"] / whole["images"]
    return Cost(per_image, fixed, prepare, whole["bytes"], whole["pieces"], whole["shared"])


def network_of(several: dict) -> Network:
    """That between two ranks, from an all-reduce of one number and one of the gradient: each takes
    two messages."""
    latency = several["shortest"] / 2
    seconds = max(several["all_reduce"] - several["shortest"], 1e-9)
    return Network(latency, several["bytes"] / seconds)
