"""Answers that the registry of mistakes was not written from: see `collect.py`."""

import heldout.ch00_02
import heldout.ch03_04
import heldout.ch05_07
import heldout.ch08_09
import heldout.ch10_12
import heldout.ch13_16  # noqa: F401
from heldout.collect import ANSWERS

__all__ = ["ANSWERS"]
