"""The common base class of models."""

import copy
from typing import Any, Self

import numpy as np

from minivit.backend import Array, RandomStream, require_same_xp
from minivit.errors import UserError
from minivit.layers import FlatParameters, Layer
from minivit.models.config import ViTConfig
from minivit.models.summary import summary


class Model(Layer):
    """Base of all models: a layer that takes images and whose parameters are views into flat
    arrays.

    config: sizes and options. device: "cpu", "cuda" or "cuda:N". flat: all its parameters.
    """

    config: ViTConfig
    device: str
    flat: FlatParameters

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64, the dtype of the weights and the input images."""
        return self.flat.data.dtype

    @property
    def num_parameters(self) -> int:
        """The number of parameters."""
        return self.flat.num_parameters

    @property
    def own_layers(self) -> tuple[str, ...]:
        """Classes of its layers that are not minivit's: neither the config nor the weights define
        what they compute.
        """
        kinds = {type(layer) for _, layer in self.named_layers()}
        return tuple(
            sorted(k.__qualname__ for k in kinds if k.__module__.split(".")[0] != "minivit")
        )

    def copy(self) -> Self:
        """An independent copy with the same weights."""
        twin = self.replica()
        twin.flat = self.flat.copy(twin)
        return twin

    def replica(self) -> Self:
        """A model that shares this one's weights but has its own gradients."""
        shared = [self.flat.data, self.flat.grad, *self._constants()]
        for _, parameter in self.named_parameters():
            shared += [parameter.data, parameter.grad]
        twin = copy.deepcopy(self, {id(array): array for array in shared})
        twin.flat = self.flat.replica(twin)
        return twin

    def _constants(self) -> list[Array]:
        """Arrays that are neither learned nor changed: shared by replicas."""
        return []

    def summary(self) -> str:
        """A table of layers, output shapes, parameters, FLOPs and activation memory."""
        return summary(self)

    def at(self, image_hw: tuple[int, int]) -> "Model":
        """This model for images of another (height, width). A model that supports only one size
        returns itself, and its `check_images` raises UserError for other images.
        """
        return self

    def check_images(self, images: Array) -> None:
        """Raise UserError if the images' shape, dtype or device differs from the model's."""
        require_same_xp(images=images, weights=self.flat.data)
        expected = (self.config.in_channels, *self.config.image_hw)
        if images.ndim != 4 or images.shape[1:] != expected:
            raise UserError(
                f"images have the shape {images.shape}; "
                f"expected (B, {', '.join(map(str, expected))})"
            )
        if images.dtype != self.dtype:
            raise UserError(
                f"images are {images.dtype}, the model is {self.dtype}; "
                f"normalize them and use images.astype({str(self.dtype)!r})"
            )

    def forward(  # type: ignore[override]  # layers have no `train`
        self, images: Array, train: bool = False, stream: RandomStream | None = None
    ) -> tuple[Array, Any]:
        """images (B, channels, H, W) -> out, cache; train: whether to apply dropout and drop
        path.
        """
        raise NotImplementedError
