"""Training without labels: masked patch prediction (paper, section B.1.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from minivit.backend import Array, RandomStream, get_xp, to_host
from minivit.data import Split, Statistics
from minivit.engine.evaluation import Evaluation, chunks
from minivit.engine.objective import Backward, Done, StepResult, Workers
from minivit.errors import UserError
from minivit.functional import (
    cross_entropy_backward,
    cross_entropy_forward,
    patchify_forward,
    squared_error_backward,
    squared_error_forward,
)
from minivit.models import Build, MaskedViT, ViT, ViTConfig, patch_colours


@dataclass(frozen=True)
class PatchPrediction:
    """Predict the original content of the corrupted patches, and of no others.

    target: "colour", the mean color, as one of 512 as in the paper, or one of 8 shades of gray;
    "colours", the same for each of 4×4 cells; "pixels", the whole patch by squared error.
    `correct` counts for each image the fraction of its patches' colors predicted correctly; for
    pixels, the fraction of variance explained. statistics: what images are normalized with.
    """

    target: Literal["colour", "colours", "pixels"]
    statistics: Statistics

    @property
    def measures(self) -> str:
        """What the accuracy measures, in words."""
        what = "variance" if self.target == "pixels" else "colors"
        return f" of the hidden patches' {what}"

    def build(self, vit: ViTConfig, seed: int, device: str, build: Build = ViT) -> MaskedViT:
        """A new `MaskedViT` with as many outputs as the target needs."""
        outputs = self.outputs(vit.patch_size, vit.in_channels)
        return MaskedViT(vit, outputs, seed, device=device, build=build)

    def cells(self, patch_size: int) -> int:
        """Number of cells along each side of a patch.

        Raises:
            UserError: the patch size is not a multiple of four.
        """
        if self.target == "colour":
            return 1
        if patch_size % 4:
            raise UserError(
                f"target colours needs a patch size that is a multiple of 4; found {patch_size}"
            )
        return 4

    def outputs(self, patch_size: int, channels: int) -> int:
        """The number of outputs per patch."""
        if self.target == "pixels":
            return patch_size * patch_size * channels
        return self.num_colors * self.cells(patch_size) ** 2

    @property
    def num_colors(self) -> int:
        """Number of colors: three bits per channel.

        Raises:
            UserError: neither RGB nor grayscale.
        """
        channels = len(self.statistics.mean)
        if channels not in (1, 3):
            raise UserError(f"colors need 1 or 3 channels; the images have {channels}")
        return 8**channels

    def truth(self, images: Array, patch_size: int) -> Array:
        """The targets of all patches: (B, N, cells²) colors, or (B, N, P·P·channels) pixels."""
        if self.target == "pixels":
            return patchify_forward(images, patch_size)[0]
        pixels = self.statistics.denormalize(to_host(images))
        return patch_colours(pixels / 255.0, patch_size, self.cells(patch_size))

    def __call__(
        self,
        model: MaskedViT,
        images: Array,
        targets: Array,
        train: bool,
        stream: RandomStream | None,
    ) -> tuple[StepResult, Backward]:
        """See `Objective`; the labels are not used."""
        predicted, cache = model.forward(images, train, stream)
        xp, B = get_xp(images), len(images)
        truth = xp.asarray(self.truth(images, model.config.patch_size))
        chosen = truth[xp.arange(B)[:, None], xp.asarray(cache.corruption.chosen)]
        loss_cache: Any
        loss_backward: Callable[[float, Any], Array]
        if self.target == "pixels":
            loss, loss_cache = squared_error_forward(predicted, chosen)
            correct = B * xp.maximum(1.0 - loss / chosen.var(), 0.0)
            loss_backward = squared_error_backward
        else:
            colors = predicted.reshape(-1, self.num_colors)
            loss, loss_cache = cross_entropy_forward(colors, chosen.reshape(-1))
            correct = B * (colors.argmax(-1) == chosen.reshape(-1)).mean()
            loss_backward = cross_entropy_backward

        def backward(fraction: float, done: Done = None) -> None:
            dpredicted = loss_backward(fraction, loss_cache).reshape(predicted.shape)
            model.backward(dpredicted, cache, done=done)

        return StepResult(loss, correct), backward

    def evaluate(
        self, workers: Workers, split: Split, statistics: Statistics, num_classes: int, seed: int
    ) -> Evaluation:
        """Fraction predicted correctly and loss; the same patches are hidden each time."""
        loss = correct = 0.0
        for start, part, images in chunks(split, statistics):
            found = workers.loss(images, part.labels, self, seed, start)
            loss += float(found.loss) * len(part)
            correct += float(found.correct)
        return Evaluation(correct / len(split), loss / len(split), None)
