"""Objectives: the loss they compute and the gradients they return."""

import numpy as np
import pytest
import tiny

from minivit.backend import RandomStream
from minivit.data import Statistics
from minivit.engine import DataParallel
from minivit.engine.patch_prediction import PatchPrediction
from minivit.errors import UserError
from minivit.gradcheck import check_gradients
from minivit.models import MaskedViT, ViTConfig

CONFIG = ViTConfig(image_size=8, num_classes=3, dim=8, depth=1, num_heads=2)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
STATISTICS = Statistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
IMAGES = STATISTICS.normalize(PIXELS, np.float64)
TARGETS = ("colour", "colours", "pixels")


def make_objective(target, dtype="float64"):
    objective = PatchPrediction(target, STATISTICS)
    model = MaskedViT(CONFIG, objective.outputs(4, 3), dtype=dtype)
    return objective, tiny.randomize(model)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_is_computed_over_the_corrupted_patches(target):
    objective, model = make_objective(target)
    result, _ = objective(model, IMAGES, None, False, RandomStream(5))
    predicted, cache = model.forward(IMAGES, stream=RandomStream(5))
    truth, total, correct = objective.truth(IMAGES, 4), [], []
    for b in range(6):
        for m, patch in enumerate(cache.corruption.chosen[b]):
            if target == "pixels":
                row, column = divmod(int(patch), 2)
                part = IMAGES[b, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                total += list((predicted[b, m] - part.transpose(1, 2, 0).ravel()) ** 2)
                continue
            logits = predicted[b, m].reshape(-1, 512)
            for z, color in zip(logits, truth[b, patch], strict=True):
                total.append(np.log(np.exp(z - z.max()).sum()) + z.max() - z[color])
                correct.append(z.argmax() == color)
    assert float(result.loss) == pytest.approx(np.mean(total))
    if correct:
        assert float(result.correct) == pytest.approx(6 * np.mean(correct))


def test_the_targets_are_the_colors_of_the_pixels():
    objective, _ = make_objective("colour")
    truth = objective.truth(IMAGES, 4)
    assert truth.shape == (6, 4, 1)
    patch = PIXELS[2, :, 4:, :4].mean((1, 2)) / 255
    red, green, blue = (patch * 8).astype(int)
    assert truth[2, 2, 0] == 64 * red + 8 * green + blue


@pytest.mark.parametrize("target", TARGETS)
def test_gradients(target):
    objective, model = make_objective(target)
    model.flat.zero_grad()
    _, backward = objective(model, IMAGES, None, True, RandomStream(5))
    backward(1.0)
    parameters = dict(model.named_parameters())
    gradients = {name: p.grad.copy() for name, p in parameters.items()}
    tensors = {name: p.data for name, p in parameters.items()}
    results = check_gradients(
        lambda: float(objective(model, IMAGES, None, True, RandomStream(5))[0].loss),
        gradients,
        tensors,
        directions=2,
        max_elements=3,
    )
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("threads", "micro_batch"), [(2, None), (1, 2), (3, 1)])
def test_threads_and_micro_batches_change_nothing(target, threads, micro_batch):
    results = []
    for split in ((1, 6), (threads, micro_batch)):
        objective, model = make_objective(target)
        with DataParallel(model, *split) as workers:
            step = workers.loss_and_gradients(IMAGES, np.zeros(6), objective, 3, 4)
            loss = workers.loss(IMAGES, np.zeros(6), objective, 3, 4)
        assert float(step.loss) == pytest.approx(float(loss.loss))  # without dropout
        results.append((float(step.loss), model.flat.grad.copy()))
    assert results[0][0] == pytest.approx(results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-12)


def test_unsupported_objectives_are_refused_with_the_reason():
    with pytest.raises(UserError, match="a multiple of 4"):
        PatchPrediction("colours", STATISTICS).outputs(2, 3)
    with pytest.raises(UserError, match="1 or 3 channels; the images have 2"):
        PatchPrediction("colour", Statistics((0.5, 0.5), (0.2, 0.2))).outputs(4, 2)
