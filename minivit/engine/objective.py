"""What a model is trained to do: a loss, and the way back from it.

An objective is called with a micro-batch and returns what it measured and a function that runs
backward with the micro-batch's share of the whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from minivit.backend import Array, RandomStream, get_xp, to_host
from minivit.data import Statistics, denormalize
from minivit.errors import UserError
from minivit.functional import (
    cross_entropy_backward,
    cross_entropy_forward,
    patchify_forward,
    squared_error_backward,
    squared_error_forward,
)
from minivit.models import MaskedViT, ViT, patch_colours


class StepResult(NamedTuple):
    """Of a batch or a part of it, 0-d arrays on the model's device.

    loss: its share of the batch's mean loss. correct: how many images were told right.
    """

    loss: Array
    correct: Array


class Objective(Protocol):
    """Loss of a micro-batch.

    Args:
        model: of the kind that this objective is for. images: normalised, on its device.
        targets: of the data set. train: dropout at work. stream: its random numbers.

    Returns:
        the micro-batch's mean loss and right answers; a function of the share of the batch that
        runs backward, adding to the model's gradients.
    """

    def __call__(
        self, model: ViT, images: Array, targets: Array, train: bool, stream: RandomStream
    ) -> tuple[StepResult, Callable[[float], None]]: ...


@dataclass(frozen=True)
class Classification:
    """Cross-entropy of the classes; smoothing: of the labels."""

    smoothing: float = 0.0

    def __call__(self, model: ViT, images: Array, targets: Array, train: bool, stream):
        logits, cache = model.forward(images, train, stream)
        loss, loss_cache = cross_entropy_forward(logits, targets, self.smoothing)
        best = targets if targets.ndim == 1 else targets.argmax(-1)

        def backward(share: float) -> None:
            model.backward(cross_entropy_backward(share, loss_cache), cache)

        return StepResult(loss, (logits.argmax(-1) == best).sum()), backward


@dataclass(frozen=True)
class PatchPrediction:
    """What the corrupted patches were (paper, section B.1.2), and of them alone.

    target: "colour", the mean in 512 colours, as the paper chose; "colours", the same of each of
    4×4 cells; "pixels", all of the patch by squared error. `correct` counts a picture by the share
    of its patches' colours told right, for pixels by the share of their variance.
    statistics: what the pictures were normalised by.
    """

    target: Literal["colour", "colours", "pixels"]
    statistics: Statistics

    def cells(self, patch_size: int) -> int:
        """A patch is cut into cells × cells.

        Raises:
            UserError: four does not divide the patch.
        """
        if self.target == "colour":
            return 1
        if patch_size % 4:
            raise UserError(f"target colours needs a patch that 4 divides; it has {patch_size}")
        return 4

    def outputs(self, patch_size: int, channels: int) -> int:
        """How many numbers are predicted a patch."""
        if self.target == "pixels":
            return patch_size * patch_size * channels
        return 512 * self.cells(patch_size) ** 2

    def truth(self, images: Array, patch_size: int) -> Array:
        """What each patch is: (B, N, cells²) colours, or (B, N, P·P·channels) pixels."""
        if self.target == "pixels":
            return patchify_forward(images, patch_size)[0]
        if images.shape[1] != 3:
            raise UserError(f"colours need 3 channels, the pictures have {images.shape[1]}")
        pixels = denormalize(to_host(images), self.statistics.mean, self.statistics.std)
        return patch_colours(pixels / 255.0, patch_size, self.cells(patch_size))

    def __call__(self, model: MaskedViT, images: Array, targets: Array, train: bool, stream):
        predicted, cache = model.forward(images, train, stream)
        xp, B = get_xp(images), len(images)
        truth = xp.asarray(self.truth(images, model.config.patch_size))
        chosen = truth[xp.arange(B)[:, None], xp.asarray(cache.corruption.chosen)]
        if self.target == "pixels":
            loss, loss_cache = squared_error_forward(predicted, chosen)
            correct = B * xp.maximum(1.0 - loss / chosen.var(), 0.0)
            loss_backward = squared_error_backward
        else:
            colours = predicted.reshape(-1, 512)
            loss, loss_cache = cross_entropy_forward(colours, chosen.reshape(-1))
            correct = B * (colours.argmax(-1) == chosen.reshape(-1)).mean()
            loss_backward = cross_entropy_backward

        def backward(share: float) -> None:
            dpredicted = loss_backward(share, loss_cache).reshape(predicted.shape)
            model.backward(dpredicted, cache)

        return StepResult(loss, correct), backward
