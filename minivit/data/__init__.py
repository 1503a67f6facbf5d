"""Images: data sets, augmentation, and batches."""

from minivit.data.augment import Augmentation, Drawn
from minivit.data.batches import Batches, Field, Plan
from minivit.data.dataset import Dataset, Split
from minivit.data.image_decoding import FORMATS, decode_image, image_shape, read_image
from minivit.data.image_files import image_files
from minivit.data.preprocess import Preprocess
from minivit.data.registry import SOURCES, find_source
from minivit.data.source import Request, Source
from minivit.data.statistics import Statistics, denormalize, normalize, scale_and_offset

__all__ = [
    "FORMATS",
    "SOURCES",
    "Augmentation",
    "Batches",
    "Dataset",
    "Drawn",
    "Field",
    "Plan",
    "Preprocess",
    "Request",
    "Source",
    "Split",
    "Statistics",
    "decode_image",
    "denormalize",
    "find_source",
    "image_files",
    "image_shape",
    "normalize",
    "read_image",
    "scale_and_offset",
]
