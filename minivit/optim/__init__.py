"""Optimizers, learning rate schedules, gradient clipping and weight averaging."""

from minivit.optim.adam import Adam, AdamW
from minivit.optim.clip import clip_by_global_norm, global_norm
from minivit.optim.ema import ExponentialMovingAverage
from minivit.optim.muon import Muon
from minivit.optim.schedule import Schedule
from minivit.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "Muon",
    "Schedule",
    "clip_by_global_norm",
    "global_norm",
]
