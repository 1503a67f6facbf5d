"""Weights that a user names: a run's, or published ones."""

import sys
from pathlib import Path

from minivit.engine import Trained
from minivit.interop import load
from minivit.interop.published import is_own


def load_any(path: Path, device: str = "cpu") -> Trained:
    """See `interop.load`; what was assumed of a published file is printed on standard error."""
    trained = load(path, device)
    if trained.said:
        family, *assumed = trained.said
        print("\n  ".join([f"{path}: {family}", *assumed]), file=sys.stderr)
    return trained


def name_of(path: Path, trained: Trained, article: str = "A") -> str:
    """What a page calls a model: a run's by what it was trained on, published weights by name."""
    own = f"{article} Vision Transformer trained on {trained.data}"
    return own if is_own(path) else trained.data
