"""minivit beside PyTorch and JAX: the same model, the same batch, in turn, in one run."""
