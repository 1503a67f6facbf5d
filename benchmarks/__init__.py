"""minivit compared with PyTorch and JAX: same model, same batch, alternating in one run."""
