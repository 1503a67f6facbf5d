"""Shapes: ten geometric figures in CIFAR-10's form, drawn by code, so that nothing is downloaded.

An image shows one figure over a busy background. Color, position, size and angle of the figure are
random and independent of its class, so a model has to find the figure before it can name it: a
linear classifier on pixels classifies 40 % of the test images correctly, a ViT of width 96 and
depth 4 after 5 epochs 97 %. A model can rely on one thing, that the figure is lighter than its
surroundings; if it could also be darker, a small ViT would learn much more slowly. Each image comes
with the figure's mask, so that an attention map can be scored against the truth.

A figure is the set of points where its signed distance is negative: `max` of two distances is the
intersection, `min` the union; `abs` of a coordinate mirrors the figure.
"""

from collections.abc import Callable

import numpy as np

from minivit.data.dataset import Dataset, Split
from minivit.data.source import Source
from minivit.errors import UserError

SIDE = 32  # pixels
RADIUS = (7.0, 12.0)  # radius of the circle around a figure, in pixels
MARGIN = 0.5  # pixels between that circle and the image's edge
TILT = np.pi / 6  # maximum rotation of a figure to either side
CONTRAST = 0.3  # of [0, 1]: how much a figure's luma exceeds that of its surroundings, at least
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how light R, G and B look (ITU-R BT.601)
TINT = 0.04  # amplitude of each soft change of the background, per channel
NUM_BLOBS, NUM_STROKES = 2, 3
NOISE = 0.03  # standard deviation of a pixel's noise, of 1
CHUNK = 256  # images drawn at a time: their canvas stays in the cache


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 0.9


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) - 0.7


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # y points down, as rows do: the tip is at (0, -1), the base at y = 1/2.
    return np.maximum(abs(x) * 0.8660254 - y * 0.5, y) - 0.5


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Fold the five spikes onto half a spike around the upward axis; its edge is one line, from the
    # tip (1, 0) to the notch.
    fifth = 2 * np.pi / 5
    angle = abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)
    radius = np.hypot(x, y)
    notch_u, notch_v = 0.45 * np.cos(fifth / 2), 0.45 * np.sin(fifth / 2)
    length = np.hypot(notch_u - 1, notch_v)
    normal_u, normal_v = float(notch_v / length), float((1 - notch_u) / length)
    return (radius * np.cos(angle) - 1) * normal_u + radius * np.sin(angle) * normal_v


def _plus(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = abs(x), abs(y)
    return np.maximum(np.minimum(x, y) - 0.27, np.maximum(x, y) - 0.95)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return abs(np.hypot(x, y) - 0.75) - 0.2


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.hypot(x, y) - 0.95, 0.75 - np.hypot(x - 0.45, y))


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # A square on its corner, with a disk on each of its upper sides.
    half = 0.55
    x, y = abs(x), y - 0.35 * half
    side = np.maximum(abs(x + y), abs(x - y)) * 0.70710677 - half
    center = half * 0.70710677
    return np.minimum(side, np.hypot(x - center, y + center) - half)


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # It points right; the edge of its head runs from (1, 0) to (0.1, 0.75).
    y = abs(y)
    head = np.maximum((0.75 * (x - 1) + 0.9 * y) * 0.8535762, 0.1 - x)
    shaft = np.maximum(y - 0.22, np.maximum(x - 0.2, -0.95 - x))
    return np.minimum(head, shaft)


def _hourglass(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = abs(x), abs(y)
    return np.maximum((x - 0.7 * y - 0.05) * 0.8192319, y - 0.78)


FIGURES: dict[str, Callable] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "plus": _plus,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
    "hourglass": _hourglass,
}
CLASS_NAMES = tuple(FIGURES)


def signed_distance(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance of (x, y) from the edge of the upright figure `name`; negative inside.

    The figure fits the unit circle, y points down. Exact or a lower bound, and correct to first
    order at the edge, where anti-aliasing uses it. x, y: float, shapes that broadcast; returns
    their broadcast shape. Raises KeyError for a name outside CLASS_NAMES.
    """
    return FIGURES[name](x, y)


def load(seed: int = 0, num_train: int = 20_000, num_test: int = 2_000) -> Dataset:
    """Draw the data set: the same arguments give the same bytes.

    Training and test images come from independent random streams, each class equally often (to
    within one image), in random order. Images are uint8 (N, 3, 32, 32), labels int64 (N,), masks
    bool (N, 32, 32). Raises UserError for a negative seed or an empty split.
    """
    if seed < 0:
        raise UserError(f"seed: found {seed}, expected 0 or more; choose another seed")
    for name, count in (("num_train", num_train), ("num_test", num_test)):
        if count < 1:
            raise UserError(f"{name}: found {count}, expected 1 or more")
    train, test = np.random.SeedSequence(seed).spawn(2)
    return Dataset("Shapes", _draw(train, num_train), _draw(test, num_test), CLASS_NAMES)


def _draw(seeds: np.random.SeedSequence, n: int) -> Split:
    # Everything random except the noise is drawn for the whole split at once, and the noise in
    # pixel order, so the result does not depend on the chunks.
    scene_rng, noise_rng = map(np.random.default_rng, seeds.spawn(2))
    labels = scene_rng.permutation(np.arange(n) % len(CLASS_NAMES))
    scene = _sample_scene(scene_rng, n)
    images = np.empty((n, 3, SIDE, SIDE), np.uint8)
    masks = np.empty((n, SIDE, SIDE), bool)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        part = {key: value[rows] for key, value in scene.items()}
        canvas = _background(part)
        distance = _figure_distance(part, labels[rows])
        _paint(canvas, distance, part["figure_color"])
        canvas += NOISE * noise_rng.standard_normal(canvas.shape, np.float32)
        images[rows] = np.rint(np.clip(canvas, 0, 1) * 255).reshape(-1, 3, SIDE, SIDE)
        masks[rows] = (distance < 0).reshape(-1, SIDE, SIDE)
    return Split(images, labels.astype(np.int64), masks)


def _sample_scene(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """All random parameters of the images except their noise: float32, n rows each."""

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (n, *shape)).astype(np.float32)

    radius = uniform(*RADIUS, 1)
    reach = SIDE / 2 - MARGIN - radius
    color = uniform(0.4, 1, 3)
    return {
        "radius": radius,
        "center": SIDE / 2 + reach * uniform(-1, 1, 2),
        "tilt": uniform(-TILT, TILT, 1),
        "figure_color": color,  # its luma is above CONTRAST, so that a darker color exists
        "back_color": _darker(rng, color),
        "patch_color": _darker(rng, color),
        # The patch is the area beyond a line: near the middle in some images, outside the image in
        # others.
        "patch_angle": uniform(0, 2 * np.pi, 1),
        "patch_offset": uniform(0, SIDE, 1),
        "tints": uniform(-TINT, TINT, 3, 2 + NUM_BLOBS),
        "blob_center": uniform(0, SIDE, NUM_BLOBS, 2),
        "blob_width": uniform(2, 6, NUM_BLOBS, 1),
        "stroke_color": np.stack([_darker(rng, color) for _ in range(NUM_STROKES)], axis=1),
        "stroke_start": uniform(0, SIDE, NUM_STROKES, 2),
        "stroke_angle": uniform(0, 2 * np.pi, NUM_STROKES, 1),
        "stroke_length": uniform(2, 8, NUM_STROKES, 1),
        "stroke_width": uniform(-0.4, 0.7, NUM_STROKES, 1),  # below 0: fainter, down to invisible
    }


def _darker(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:
    """A random color for each of `color` (n, 3), dimmed if its luma is not CONTRAST lower."""
    other = rng.uniform(0, 1, color.shape).astype(np.float32)
    allowed = color @ LUMA - np.float32(CONTRAST)
    return other * np.minimum(1, allowed / (other @ LUMA))[:, None]


def _pixels() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixel centers, float32 (SIDE²,) each, in pixel order."""
    y, x = np.indices((SIDE, SIDE), np.float32).reshape(2, -1) + np.float32(0.5)
    return x, y


def _paint(canvas: np.ndarray, distance: np.ndarray, color: np.ndarray) -> None:
    """Paint `color` (n, 3) on `canvas` (n, 3, P) where `distance` (n, P), in pixels, is negative.

    The edge is one pixel wide: a pixel whose center is on it is half covered.
    """
    cover = np.clip(0.5 - distance, 0, 1)[:, None]
    canvas += cover * (color[:, :, None] - canvas)


def _background(scene: dict[str, np.ndarray]) -> np.ndarray:
    """Two areas of color, soft tints over both, strokes on top: float32 (n, 3, SIDE²)."""
    x, y = _pixels()
    canvas = np.repeat(scene["back_color"][:, :, None], SIDE * SIDE, axis=2)
    angle = scene["patch_angle"]
    across = (x - SIDE / 2) * np.cos(angle) + (y - SIDE / 2) * np.sin(angle)
    _paint(canvas, scene["patch_offset"] - across, scene["patch_color"])

    # Each tint is a color (n, 3) times a pattern (n, P) within [-1, 1]: two ramps and the blobs.
    ramps = np.broadcast_to(np.stack([x, y]) / (SIDE / 2) - 1, (len(canvas), 2, SIDE * SIDE))
    axis = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    fall = (axis - scene["blob_center"][..., None]) / scene["blob_width"][..., None]
    fall = np.exp(-0.5 * fall * fall)  # (n, blobs, 2, SIDE): a round blob is a product
    blobs = (fall[:, :, 1, :, None] * fall[:, :, 0, None, :]).reshape(len(canvas), -1, SIDE * SIDE)
    canvas += scene["tints"] @ np.concatenate([ramps, blobs], axis=1)

    for i in range(NUM_STROKES):
        (x0, y0), angle = scene["stroke_start"][:, i].T[..., None], scene["stroke_angle"][:, i]
        along_x, along_y = np.cos(angle), np.sin(angle)
        dx, dy = x - x0, y - y0
        along = np.clip(dx * along_x + dy * along_y, 0, scene["stroke_length"][:, i])
        distance = np.hypot(dx - along * along_x, dy - along * along_y)
        _paint(canvas, distance - scene["stroke_width"][:, i], scene["stroke_color"][:, i])
    return canvas


def _figure_distance(scene: dict[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Signed distance of each pixel from its image's figure, in pixels: float32 (n, SIDE²)."""
    x, y = _pixels()
    dx, dy = x - scene["center"][:, :1], y - scene["center"][:, 1:]
    # Rotate the pixels into the upright figure's frame, where its radius is 1.
    cos, sin = np.cos(scene["tilt"]) / scene["radius"], np.sin(scene["tilt"]) / scene["radius"]
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    distance = np.empty_like(u)
    for label, name in enumerate(CLASS_NAMES):
        rows = labels == label
        distance[rows] = signed_distance(name, u[rows], v[rows])
    return distance * scene["radius"]


SOURCE = Source(
    name="shapes",
    summary="ten classes of geometric figures, drawn by code",
    load=lambda request: load().resized(request.image_size, request.resize),
    recipe={  # the figures are upright and complete: no crop, no flip, and a few epochs suffice
        "dim": 96,
        "depth": 4,
        "epochs": 5,
        "optimizer": "muon",
        "lr": 2.5e-3,
        "warmup": 0.3,
        "betas": (0.9, 0.95),
        "label_smoothing": 0.0,
        "crop": 0,
        "flip": 0.0,
    },
)
