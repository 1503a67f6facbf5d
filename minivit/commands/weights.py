"""Weights given by the user: a run's, or published ones."""

import sys
from pathlib import Path

from minivit.engine import Trained
from minivit.interop import load
from minivit.interop.published import is_minivit


def load_any(path: Path, device: str = "cpu") -> Trained:
    """See `interop.load`; assumptions about a published file are printed on standard error."""
    trained = load(path, device)
    if trained.notes:
        family, *assumed = trained.notes
        print("\n  ".join([f"{path}: {family}", *assumed]), file=sys.stderr)
    return trained


def name_of(path: Path, trained: Trained, article: str = "A") -> str:
    """The title of a model on a page: what a run was trained on, or the name of published
    weights.
    """
    title = f"{article} Vision Transformer trained on {trained.data}"
    return title if is_minivit(path) else trained.data
