"""Rollout and relevance against PyTorch: an independent model, autograd, and the published
formulas."""

import numpy as np
import pytest
from helpers import draw, relative_error
from torch_twin import make_twins, torch

from minivit.viz.look import look
from minivit.viz.maps import gradient_rollout, patch_map, relevance, rollout

CASES = {
    "class token": {"num_heads": 3, "depth": 3},
    "mean, wide": {"num_heads": 2, "depth": 4, "pool": "mean", "image_size": (8, 12)},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_maps_gradients_rollout_and_relevance_agree(options):
    model, twin = make_twins("float64", **options)
    config = model.config
    images = draw(1, 3, config.in_channels, *config.image_hw)
    classes = np.array([0, 3, 1])
    seen = look(model, images, classes, gradients=True)

    twin(torch.from_numpy(images))[torch.arange(3), classes].sum().backward()
    maps = torch.stack([block.probs.detach() for block in twin.blocks])
    dmaps = torch.stack([block.probs.grad for block in twin.blocks])
    assert relative_error(seen.maps, maps) <= 1e-9
    assert relative_error(seen.dmaps, dmaps) <= 1e-9

    T = config.num_tokens
    identity = torch.eye(T, dtype=torch.float64).expand(3, T, T)
    rolled, guided, relevant = identity, identity, identity
    for probs, grad in zip(maps, dmaps, strict=True):
        rolled = torch.bmm(halves(probs.mean(1)), rolled)
        guided = torch.bmm(halves((probs * grad).mean(1).clamp(min=0)), guided)
        relevant = relevant + torch.bmm((probs * grad).clamp(min=0).mean(1), relevant)
    found = {
        "rollout": (rollout(seen.maps)[-1], rolled),
        "gradient rollout": (gradient_rollout(seen.maps, seen.dmaps)[-1], guided),
        "relevance": (relevance(seen.maps, seen.dmaps)[-1], relevant - identity),
    }
    errors = {name: relative_error(ours, theirs) for name, (ours, theirs) in found.items()}
    assert {name: error for name, error in errors.items() if not error <= 1e-6} == {}

    joint, grid = found["relevance"][0], config.grid
    row = relevant[:, 0, 1:] if config.pool == "cls" else (relevant - identity).mean(1)
    shown = patch_map(joint, config)
    assert relative_error(shown, row.reshape(3, *grid)) <= 1e-6


def halves(attention):
    """Half attention, half identity, with rows normalized to sum to 1."""
    mixed = 0.5 * attention + 0.5 * torch.eye(attention.shape[-1], dtype=attention.dtype)
    return torch.nn.functional.normalize(mixed, p=1, dim=-1)
