"""Train Nano on the shapes with the reader's own gradients and Adam, and grade its accuracy.

Chapter 09 shows `train_by_hand`; a test keeps the two in sync.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from minivit.course.notebook import size
from minivit.course.trial import WrongAnswerError
from minivit.course.whole import Arrays, vit_forward
from minivit.data import Statistics, shapes
from minivit.models import ViT, ViTConfig
from minivit.optim import Schedule

MIN_ACCURACY = 0.9
"""The fraction of test images that must be classified correctly."""


def train_by_hand(backward, adam, images, labels, epochs):
    """Yield the weights after each epoch."""
    model = ViT(ViTConfig.preset("Nano/4"), seed=0)
    w = {name: parameter.data.copy() for name, parameter in model.named_parameters()}
    m = {name: np.zeros_like(array) for name, array in w.items()}
    v = {name: np.zeros_like(array) for name, array in w.items()}
    batch, per_epoch, rng = 32, len(images) // 32, np.random.default_rng(0)
    schedule = Schedule("cosine", 2e-3, warmup=per_epoch / 2, total=epochs * per_epoch)

    def gradients(rows):
        s = vit_forward(images[rows], w, patch_size=4, num_heads=4)
        probs = np.exp(s["head"] - s["head"].max(-1, keepdims=True))
        probs /= probs.sum(-1, keepdims=True)
        probs[np.arange(len(rows)), labels[rows]] -= 1
        return backward(probs / batch, s, w)

    with ThreadPoolExecutor(2) as workers:
        for epoch in range(epochs):
            order = rng.permutation(len(images))
            for i in range(per_epoch):
                rows = order[batch * i : batch * (i + 1)]
                one, other = workers.map(gradients, np.split(rows, 2))
                step = epoch * per_epoch + i
                for name in w:
                    grad = (one[name] + other[name]).astype(np.float32)
                    state = w[name], grad, m[name], v[name], step + 1
                    w[name], m[name], v[name] = adam(*state, schedule(step), (0.9, 0.95), 1e-8)
            yield w


def accuracy(w: Arrays, images: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of images that are classified correctly."""
    parts = np.array_split(np.arange(len(images)), len(images) // 50)
    logits = [vit_forward(images[rows], w, patch_size=4, num_heads=4)["head"] for rows in parts]
    return float((np.concatenate(logits).argmax(-1) == labels).mean())


def grade_training(answer: tuple[Callable, Callable], remember: Callable) -> str:
    """`Exercise.grade` for (backward, adam), both of which have passed: train Nano with them."""
    data = shapes.load(num_train=size(12_000, 64), num_test=size(1000, 50))
    normalize = Statistics.of(data.train.images).normalize
    images, test_images = normalize(data.train.images), normalize(data.test.images)
    accuracies = []
    with threadpool_limits(1):
        for w in train_by_hand(*answer, images, data.train.labels, size(6, 1)):
            accuracies.append(accuracy(w, test_images, data.test.labels))
            message = f"{accuracies[-1]:.1%} of the test images classified correctly"
            print(f"epoch {len(accuracies)}: {message}", flush=True)
    if accuracies[-1] < size(MIN_ACCURACY, 0):
        remember({}, {}, {"accuracy": np.array(accuracies)})
        raise WrongAnswerError(
            f"{accuracies[-1]:.1%} of the test images classified correctly; expected at least "
            f"{MIN_ACCURACY:.0%}. Are both functions right in float32, and are their results "
            "finite?"
        )
    return f"right: {accuracies[-1]:.1%} of the test images classified correctly"
