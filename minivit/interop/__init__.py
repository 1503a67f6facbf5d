"""Published Vision Transformers in and out: one file per family or format.

`load` reads any: it recognizes the family by the tensors' names (`huggingface.py`, `jax.py`),
brings these to timm's, which are minivit's own (`timm.py`), and takes the architecture from their
shapes.
"""

from minivit.interop.published import Published, load, load_start, read_published

__all__ = ["Published", "load", "load_start", "read_published"]
