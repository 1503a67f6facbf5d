"""Progressive resizing: stages, images, and the result of a step."""

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit import UserError, ViT, ViTConfig
from minivit.engine import DataParallel, TrainConfig
from minivit.engine.objective import Classification
from minivit.engine.progressive import Progressive


def test_stages_are_equally_long_and_the_last_takes_the_rest():
    stages = Progressive((16, 24, 32), 10)
    assert [stages.size(step) for step in range(10)] == [16] * 4 + [24] * 3 + [32] * 3
    assert Progressive((), 10).size(3) is None


def test_half_the_size_is_the_mean_of_four_pixels():
    images = draw(0, 2, 3, 32, 32).astype("float32")
    half = Progressive((16, 32), 2).resized(images, 0)
    means = images.reshape(2, 3, 16, 2, 16, 2).mean((3, 5))
    np.testing.assert_allclose(half, means, atol=1e-6)
    assert half.dtype == np.float32
    assert Progressive((16, 32), 2).resized(images, 1) is images


def test_a_flat_image_stays_flat():
    flat = np.full((1, 1, 32, 32), 0.7)
    np.testing.assert_allclose(Progressive((12,), 1).resized(flat, 0), np.full((1, 1, 12, 12), 0.7))


@pytest.mark.parametrize("options", [{}, {"patch_dropout": 0.5}])
def test_a_step_on_small_images_is_the_same_for_any_number_of_threads(options):
    config = ViTConfig(image_size=16, dim=16, depth=2, num_heads=2, num_classes=3, **options)
    images, labels = draw(0, 12, 3, 8, 8), np.arange(12) % 3
    gradients = []
    for threads, micro_batch in ((1, 12), (2, 2)):
        model = ViT(config, dtype="float64")
        model.head.weight.data[...] = draw(1, *model.head.weight.data.shape)
        with DataParallel(model, threads, micro_batch) as workers:
            workers.loss_and_gradients(images, labels, Classification(), 0, 0)
        gradients.append(model.flat.grad)
    np.testing.assert_allclose(*gradients, atol=1e-12)


def test_a_micro_batch_has_the_same_number_of_tokens_at_every_size():
    model = ViT(ViTConfig(image_size=16, dim=16, num_heads=2, pool="mean"))
    with DataParallel(model, 1, 4) as workers:
        assert workers._micro_batch_for(model, True) == 4
        assert workers._micro_batch_for(model.at((8, 8)), True) == 16
        half = ViT(ViTConfig(image_size=16, dim=16, num_heads=2, pool="mean", patch_dropout=0.5))
        assert workers._micro_batch_for(half, True) == 8
        assert workers._micro_batch_for(half, False) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train_sizes": (16, 24)}, "train_sizes is 16 24; expected multiples of the patch size 4"),
        ({"train_sizes": (18, 32)}, "train_sizes is 18 32"),
        ({"train_sizes": (4096, 32)}, "train_sizes is 4096 32"),
        ({"train_sizes": (32,), "vit": ViTConfig(image_size=(32, 16))}, "found 32×16"),
        ({"train_sizes": (32,), "vit": ViTConfig(rope="axial")}, "train_sizes needs pos_embed"),
        ({"train_sizes": (32,), "pretext": "pixels"}, "train_sizes needs pos_embed"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        TrainConfig(**options)


def test_the_size_of_training_images_is_shown_if_validation_uses_another(tmp_path, capsys):
    trainer = tiny.trainer(tmp_path, train_sizes=(4, 8), epochs=2)
    assert trainer.fit()
    lines = capsys.readouterr().out.splitlines()
    first, second = (line for line in lines if line.startswith("epoch ") and "/2: " in line)
    assert " at 4 pixels; validation loss" in first
    assert "pixels" not in second
