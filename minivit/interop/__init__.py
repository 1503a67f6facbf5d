"""Import and export of Vision Transformers: one file per family or format.

`load` reads any of them: it recognizes the family by the tensors' names (`huggingface.py`,
`jax.py`), converts these to timm's names, which minivit also uses (`timm.py`), and infers the
architecture from the shapes.
"""

from minivit.interop.published import Published, load, load_start, read_published

__all__ = ["Published", "load", "load_start", "read_published"]
