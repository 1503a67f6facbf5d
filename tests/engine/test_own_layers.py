"""Custom layers: built in, trained, resumed and loaded, and an error if they are missing, even if
they have no weights."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import tiny

import minivit
from minivit.commands.cli import guarded
from minivit.commands.finetune import run as finetune
from minivit.commands.train import run as train
from minivit.engine import Run, Trainer, load_model
from minivit.engine.trained import load_pretrained
from minivit.engine.transfer import resized
from minivit.errors import UserError
from minivit.gradcheck import check_layer
from minivit.interop.exports import to_huggingface, to_timm
from minivit.interop.to_onnx import to_onnx
from minivit.layers import FixedPositions, FlatParameters, Layer, Linear, Parameter
from minivit.models import MaskedViT, ViT
from minivit.viz.scores import shuffled

PLAIN = dataclasses.replace(tiny.VIT, pos_embed="none")


class Slope(Layer):
    """Positions without weights: t/T is added to each component of token t."""

    def __init__(self, rng, config):
        pass

    def forward(self, x, stream=None):
        return x + (np.arange(x.shape[1]) / x.shape[1]).astype(x.dtype)[:, None], None

    def backward(self, dout, cache):
        return dout


class Squares(Layer):
    """Positions that depend on the token: x + w x², with a cache."""

    def __init__(self, rng, config):
        self.weight = Parameter(rng.standard_normal((config.num_positions, 1)))

    def forward(self, x, stream=None):
        return x + self.weight.data * x * x, x

    def backward(self, dout, cache):
        self.weight.grad += (dout * cache * cache).sum((0, 2))[:, None]
        return dout + 2 * self.weight.data * cache * dout


class Wide(ViT):
    """A model with one part replaced."""

    def __init__(self, config, seed=0, dtype="float32", device="cpu"):
        super().__init__(config, seed, dtype, device)
        self.head = Linear(np.random.default_rng(0), config.dim, config.num_classes, bias=False)
        self.flat = FlatParameters(self, dtype, device)


slope, squares = (partial(ViT, positions=kind) for kind in (Slope, Squares))


def trainer(root, build, **changes):
    config = tiny.config(**{"vit": {"pos_embed": "none"}, **changes})
    return Trainer(config, tiny.dataset(), Run.create(root, config), build=build)


def images(count=2, dtype="float64"):
    return np.random.default_rng(0).standard_normal((count, 3, 8, 8)).astype(dtype)


@pytest.mark.parametrize("build", [slope, squares, Wide])
@pytest.mark.parametrize("embed_prefix", [True, False])
def test_gradients_are_right(build, embed_prefix):
    config = dataclasses.replace(PLAIN, depth=1, num_registers=1, embed_prefix=embed_prefix)
    model = build(config, dtype="float64")
    results = check_layer(model, images(), directions=2, max_elements=3)
    assert not [result for result in results if not result.passed]


def test_gradients_of_a_masked_model_are_right_too():
    model = MaskedViT(dataclasses.replace(PLAIN, depth=1), 5, dtype="float64", build=squares)
    results = check_layer(model, images(), directions=2, max_elements=3)
    assert not [result for result in results if not result.passed]
    assert "positions.weight" in {result.tensor for result in results}
    assert model.own_layers == ("Squares",)
    assert MaskedViT(tiny.VIT, 5, build=Wide).own_layers == ("Wide",)
    assert MaskedViT(tiny.VIT, 5).own_layers == ViT(tiny.VIT).own_layers == ()


@pytest.mark.parametrize("build", [slope, squares, Wide])
def test_a_run_with_custom_layers_is_trained_resumed_and_loaded(tmp_path, build):
    uninterrupted = trainer(tmp_path / "one", build)
    uninterrupted.fit()
    interrupted = trainer(tmp_path / "two", build, save_every=5)
    step = interrupted._train_step

    def until_six(*arguments):
        if interrupted.step == 6:
            raise RuntimeError
        step(*arguments)

    interrupted._train_step = until_six
    with pytest.raises(RuntimeError):
        interrupted.fit()
    continued = Trainer(interrupted.config, tiny.dataset(), interrupted.run, build=build)
    continued.resume()
    assert continued.step == 5
    continued.fit()
    assert continued.model.flat.data.tobytes() == uninterrupted.model.flat.data.tobytes()
    loaded = minivit.load(uninterrupted.run.path, build=build)
    assert loaded.model.own_layers == uninterrupted.model.own_layers != ()
    best = load_pretrained(uninterrupted.run.path).weights
    for name, parameter in loaded.model.named_parameters():
        np.testing.assert_array_equal(parameter.data, best[name])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run with a custom layer without weights, so weight names do not reveal it."""
    training = trainer(tmp_path_factory.mktemp("own"), slope, epochs=1)
    training.fit()
    return training.run


REFUSED = r"layers that are not minivit's: 'Slope'; expected none; .* build= .*change-one-thing\.md"


def test_a_run_is_refused_without_its_custom_layers(run, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=REFUSED):
        load_model(run.path)
    with pytest.raises(UserError, match=REFUSED):
        Trainer(run.read_config(), tiny.dataset(), run).resume()
    with pytest.raises(UserError, match="'Slope'; expected 'Squares'"):
        load_model(run.path, build=squares)
    with pytest.raises(UserError, match=REFUSED):
        Trainer(run.read_config(), tiny.dataset(), run, load_pretrained(run.path))
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    for command in (
        lambda: train(["--resume", str(run.path)]),
        lambda: finetune(["--from", str(run.path), "--dataset", "shapes", "--batch-size", "16"]),
    ):
        assert guarded(command) == 2
        assert "layers that are not minivit's: 'Slope'" in capsys.readouterr().err


def test_plain_runs_and_published_weights_have_no_custom_layers(tmp_path):
    plain = trainer(tmp_path, ViT, epochs=1)
    plain.fit()
    with pytest.raises(UserError, match="minivit's: none; expected 'Slope'"):
        load_model(plain.run.path, build=slope)
    file = tmp_path / "timm.safetensors"
    to_timm(load_model(plain.run.path), file)
    with pytest.raises(UserError, match="minivit's: none; expected 'Wide'"):
        minivit.load(file, build=Wide, num_heads=2)


def test_fine_tuning_keeps_custom_layers(run, tmp_path):
    start = load_pretrained(run.path)
    config = run.read_config()
    fresh = Run.create(tmp_path, config)
    training = Trainer(config, tiny.dataset(), fresh, start, build=slope)
    for name, parameter in training.model.named_parameters():
        np.testing.assert_array_equal(parameter.data, start.weights[name])


def test_only_layers_independent_of_the_image_size_can_change_it(run, tmp_path):
    trained = load_model(run.path, build=slope)
    larger = resized(trained, (16, 16))
    assert larger.model.own_layers == ("Slope",)
    assert larger.model.config.grid == (4, 4)
    training = trainer(tmp_path, squares, epochs=1)
    training.fit()
    with pytest.raises(UserError, match=r"positions\.weight is \(5, 1\), expected \(17, 1\)"):
        resized(load_model(training.run.path, build=squares), (16, 16))


def test_exports_refuse_custom_layers(run, tmp_path):
    pytest.importorskip("onnx")
    trained = load_model(run.path, build=slope)
    for export in (to_timm, to_huggingface, to_onnx):
        with pytest.raises(UserError, match="Slope: layers that are not minivit's"):
            export(trained, tmp_path / "out")


def test_a_copy_has_the_same_layers_and_its_own_weights():
    for model in (slope(PLAIN), squares(PLAIN), MaskedViT(PLAIN, 5, build=squares)):
        tiny.randomize(model)
        copy = model.copy()
        assert copy.own_layers == model.own_layers
        np.testing.assert_array_equal(copy.flat.data, model.flat.data)
        x = images(dtype="float32")
        before, _ = model.forward(x)
        np.testing.assert_array_equal(copy.forward(x)[0], before)
        copy.flat.data[...] = 0.5
        copy.flat.grad[...] = 1.0
        np.testing.assert_array_equal(model.forward(x)[0], before)
        assert not model.flat.grad.any()
        for name, parameter in copy.named_parameters():
            assert (parameter.data == 0.5).all(), name
    assert isinstance(shuffled(slope(PLAIN)).positions, Slope)


def test_the_summary_has_a_row_for_positions_with_weights():
    assert "positions " in squares(PLAIN).summary()
    assert "not used" not in squares(PLAIN).summary()
    assert "positions" not in ViT(tiny.VIT).summary()


@pytest.mark.parametrize("kind", ["learned", "sincos2d"])
def test_two_position_embeddings_are_refused(kind):
    with pytest.raises(UserError, match=f'pos_embed is {kind}.* set pos_embed to "none"'):
        slope(dataclasses.replace(PLAIN, pos_embed=kind))


def test_a_fixed_table_gets_the_models_dtype():
    table = np.random.default_rng(0).standard_normal((1, PLAIN.num_positions, PLAIN.dim))
    model = ViT(PLAIN, positions=lambda rng, config: FixedPositions(table))
    assert model.own_layers == ()
    assert model.fixed_positions.dtype == np.float32
    assert model.replica().fixed_positions is model.fixed_positions
