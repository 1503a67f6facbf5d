"""The test images that a model misclassifies, and those that it is least certain of."""

from pathlib import Path

import numpy as np

from minivit.data import Dataset, Split
from minivit.engine.evaluation import Evaluation, Predictions
from minivit.errors import shown_path
from minivit.files import as_csv, write_atomically
from minivit.viz.gallery import Judged, judged_figure
from minivit.viz.save import save_figure

NUM_WRONG, NUM_UNSURE = 16, 8


def save_mistakes(dataset: Dataset, evaluation: Evaluation, folder: Path) -> str:
    """Write mistakes.png and mistakes.csv for an evaluation on the test images; returns their
    names.

    The figure shows the most confident mistakes, then the other images with the smallest margin
    between the two most probable classes. The table lists all mistakes, most confident first.
    """
    assert evaluation.predictions is not None
    test, predictions = dataset.test, evaluation.predictions
    wrong = wrong_rows(predictions, test.labels)
    shown = wrong[:NUM_WRONG]
    unsure = least_certain(predictions)
    unsure = unsure[~np.isin(unsure, shown)][:NUM_UNSURE]
    titles = {
        f"Mistakes, most confident first: {len(shown)} of {len(wrong):,} mistakes among "
        f"{len(test):,} test images": shown,
        "Least certain of the others: smallest margin between two classes": unsure,
    }
    groups = {title: judged(test, predictions, rows) for title, rows in titles.items() if len(rows)}
    save_figure(judged_figure(groups, dataset.class_names), folder / "mistakes.png")
    write_atomically(folder / "mistakes.csv", mistakes_csv(dataset, predictions, wrong))
    return "mistakes.png, mistakes.csv"


def wrong_rows(predictions: Predictions, labels: np.ndarray) -> np.ndarray:
    """Indices of the misclassified images, highest probability first."""
    wrong = np.flatnonzero(predictions.classes[:, 0] != labels)
    return wrong[np.argsort(-predictions.probs[wrong, 0], kind="stable")]


def least_certain(predictions: Predictions) -> np.ndarray:
    """Indices of all images, smallest margin between the two best classes first."""
    return np.argsort(predictions.probs[:, 0] - predictions.probs[:, 1], kind="stable")


def judged(split: Split, predictions: Predictions, rows: np.ndarray) -> Judged:
    """A selection of test images with the model's predictions."""
    classes, probs = predictions.classes[rows], predictions.probs[rows]
    names = [shown_path(image_name(split, row)) for row in rows]  # fonts have no lone surrogates
    return Judged(split[rows].pixels, names, split.labels[rows], classes, probs)


def image_name(split: Split, row: int) -> str:
    """The file name of a test image, or its number from 0."""
    return f"test image {row}" if split.names is None else str(split.names[row])


def mistakes_csv(dataset: Dataset, predictions: Predictions, wrong: np.ndarray) -> bytes:
    """A row per mistake: image, true and predicted class, probability."""
    test, names = dataset.test, dataset.class_names
    rows = (
        [
            image_name(test, row),
            names[test.labels[row]],
            names[predictions.classes[row, 0]],
            f"{predictions.probs[row, 0]:.7g}",
        ]
        for row in wrong
    )
    return as_csv([["image", "true", "predicted", "probability"], *rows])
