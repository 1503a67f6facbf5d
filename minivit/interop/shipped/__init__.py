"""The trained model that comes with minivit, and images to try it on.

README.md next to this file is its card: data, recipe, accuracy, license.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["SHIPPED", "drawings"]

SHIPPED = Path(str(resources.files(__package__) / "cifar10.safetensors"))
"""A checkpoint of minivit, its weights in float16; `interop.load` reads it."""

SIDE = 512
"""Of a drawing, in pixels."""
BLUR = 2
"""Standard deviation in pixels: photographs have no hard edges."""
Color = tuple[int, int, int]


def drawings() -> dict[str, Image.Image]:
    """RGB images of three of CIFAR-10's classes, drawn by code, by the class's name."""
    return {name: _blurred(draw) for name, draw in _DRAWINGS.items()}


def _blurred(draw: Callable[[], Image.Image]) -> Image.Image:
    return draw().filter(ImageFilter.GaussianBlur(BLUR))


def _sky(top: Color, bottom: Color) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A gradient to draw on."""
    fraction = np.linspace(0, 1, SIDE)[:, None, None]
    rows = (1 - fraction) * np.array(top) + fraction * np.array(bottom)
    image = Image.fromarray(np.broadcast_to(rows, (SIDE, SIDE, 3)).astype(np.uint8))
    return image, ImageDraw.Draw(image)


def _airplane() -> Image.Image:
    image, draw = _sky((90, 150, 215), (190, 215, 240))
    hull = [(60, 250), (110, 225), (400, 225), (455, 245), (460, 262), (400, 280), (110, 280)]
    draw.polygon(hull, (240, 240, 245))
    draw.polygon([(240, 255), (300, 255), (200, 400), (160, 400)], (185, 190, 200))
    draw.polygon([(250, 228), (290, 228), (210, 130), (185, 130)], (215, 218, 225))
    draw.polygon([(65, 250), (105, 235), (60, 150), (35, 150)], (200, 50, 50))
    draw.polygon([(60, 255), (110, 262), (60, 310), (35, 310)], (205, 208, 215))
    for x in range(140, 400, 24):
        draw.ellipse((x, 238, x + 10, 248), (70, 90, 120))
    return image


def _ship() -> Image.Image:
    image, draw = _sky((150, 185, 220), (215, 225, 235))
    draw.rectangle((0, 330, SIDE, SIDE), (45, 80, 115))
    rng = np.random.default_rng(0)
    for _ in range(160):  # waves
        x, y = int(rng.integers(SIDE)), int(rng.integers(340, SIDE))
        draw.line((x, y, x + int(rng.integers(10, 40)), y), (70, 110, 145), width=3)
    draw.polygon([(60, 290), (455, 290), (415, 370), (105, 370)], (140, 35, 35))
    draw.rectangle((80, 270, 440, 292), (235, 235, 235))
    draw.rectangle((150, 200, 330, 272), (245, 245, 245))
    draw.rectangle((190, 150, 290, 202), (240, 240, 240))
    for x in range(165, 325, 28):
        draw.rectangle((x, 222, x + 14, 240), (60, 80, 100))
    draw.rectangle((300, 140, 335, 205), (200, 60, 40))
    draw.rectangle((300, 140, 335, 158), (30, 30, 30))
    draw.line((240, 150, 240, 90), (60, 60, 60), width=5)
    return image


def _truck() -> Image.Image:
    image, draw = _sky((170, 200, 225), (225, 230, 230))
    draw.rectangle((0, 390, SIDE, SIDE), (110, 110, 110))
    draw.rectangle((60, 150, 330, 370), (225, 225, 225))
    draw.rectangle((335, 220, 455, 370), (190, 40, 40))
    draw.polygon([(355, 235), (430, 235), (445, 290), (355, 290)], (120, 160, 190))
    draw.rectangle((50, 365, 460, 385), (50, 50, 50))
    for x in (120, 200, 400):
        draw.ellipse((x - 38, 345, x + 38, 421), (25, 25, 25))
        draw.ellipse((x - 15, 368, x + 15, 398), (150, 150, 150))
    return image


_DRAWINGS = {"airplane": _airplane, "ship": _ship, "truck": _truck}
