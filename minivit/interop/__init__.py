"""Vision Transformers of other libraries, in and out: one file per family or format."""
