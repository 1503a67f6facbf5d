"""Exported models give the same logits in timm, transformers and ONNX Runtime."""

import dataclasses
import json
import os
from dataclasses import fields

import numpy as np
import pytest
import tiny

from minivit import ViT, ViTConfig
from minivit.commands.export import run as export
from minivit.data import Preprocess, Statistics
from minivit.engine import Run, Trained
from minivit.errors import UserError
from minivit.interop.exports import TIMM, TRANSFORMERS, to_huggingface, to_timm
from minivit.interop.to_onnx import ONNX, to_onnx
from minivit.models.config import SIZES

BASE = ViTConfig(image_size=16, patch_size=4, dim=32, depth=2, num_heads=4, num_classes=5)
NAMES = ("cat", "dog", "Öl", "four", "five")
KINDS: dict[str, dict] = {
    "plain": {},
    "as the CIFAR-10 recipe": {
        "pool": "mean",
        "pos_embed": "sincos2d",
        "activation": "gelu_tanh",
    },
    "LayerScale": {"layer_scale": 0.1},
    "one channel, not square": {"in_channels": 1, "image_size": (16, 24)},
    "RMSNorm": {"norm": "rmsnorm", "layer_scale": 0.1},
    "no positions": {"pos_embed": "none"},
    "sequence pooling": {"pool": "seq"},
    "pre-logits": {"representation_size": 8},
}
IN_TIMM = [name for name in KINDS if name not in ("sequence pooling", "pre-logits")]
IN_HUGGINGFACE = [name for name in IN_TIMM if name not in ("RMSNorm", "no positions")]


def make_trained(name):
    config = dataclasses.replace(BASE, **KINDS[name])
    channels = config.in_channels
    statistics = Statistics((0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels])
    return Trained(
        tiny.randomize(ViT(config)), statistics, Preprocess(config.image_hw), NAMES, "made up"
    )


def pixels(trained, count=7):
    config = trained.model.config
    shape = (count, config.in_channels, *config.image_hw)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def assert_same(found, trained, images):
    expected = trained.model(trained.statistics.normalize(images))
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("name", IN_TIMM)
def test_timm_loads_it_strictly(tmp_path, name):
    torch, timm = pytest.importorskip("torch"), pytest.importorskip("timm")
    load_file = pytest.importorskip("safetensors.torch").load_file
    trained = make_trained(name)
    model = eval(to_timm(trained, tmp_path / "m.safetensors"), {"timm": timm})
    model.load_state_dict(load_file(tmp_path / "m.safetensors"), strict=True)
    images = pixels(trained)
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(trained.statistics.normalize(images)))
    assert_same(found.numpy(), trained, images)


@pytest.mark.parametrize("name", IN_HUGGINGFACE)
def test_transformers_loads_it_with_from_pretrained(tmp_path, monkeypatch, name):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trained = make_trained(name)
    call = to_huggingface(trained, tmp_path / "m")
    model = eval(call, {"transformers": transformers}).eval()
    assert tuple(model.config.id2label.values()) == NAMES
    images = pixels(trained)
    with torch.no_grad():
        found = model(torch.from_numpy(trained.statistics.normalize(images))).logits
    assert_same(found.numpy(), trained, images)


def test_the_preprocessor_normalizes_like_the_run(tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    trained = make_trained("plain")
    to_huggingface(trained, tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    images = pixels(trained)
    found = processor(list(images), return_tensors="np", input_data_format="channels_first")
    np.testing.assert_allclose(
        found["pixel_values"], trained.statistics.normalize(images), atol=1e-5
    )


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("count", [1, 5])
def test_onnx_runtime_runs_it(tmp_path, name, count):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    trained = make_trained(name)
    to_onnx(trained, tmp_path / "m.onnx", attention=True)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    images = pixels(trained, count)
    logits, *maps = session.run(None, {"images": images})
    assert_same(logits, trained, images)
    _, cache = trained.model.forward(trained.statistics.normalize(images))
    for found, block in zip(maps, cache.blocks, strict=True):
        np.testing.assert_allclose(found, block.attn.probs, atol=1e-6)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == [*NAMES]


def test_features_that_another_library_lacks_are_refused_in_one_line(tmp_path):
    for to, names in ((to_timm, set(KINDS) - set(IN_TIMM)),
                      (to_huggingface, set(KINDS) - set(IN_HUGGINGFACE))):  # fmt: skip
        for name in names:
            with pytest.raises(UserError, match="export to onnx instead"):
                to(make_trained(name), tmp_path / "m")
    relative = make_trained("plain")
    relative = dataclasses.replace(
        relative, model=ViT(dataclasses.replace(BASE, pos_embed="relative"))
    )
    for to in (to_timm, to_huggingface):
        with pytest.raises(UserError, match="pos_embed is relative"):
            to(relative, tmp_path / "m")
    pytest.importorskip("onnx")
    with pytest.raises(UserError, match="absolute positions only"):
        to_onnx(relative, tmp_path / "m")
    assert os.listdir(tmp_path) == []


OTHER = {
    "stem": "conv", "pool": "map", "mlp": "swiglu", "num_registers": 1, "distilled": True,
    "embed_prefix": False, "rope": "axial", "rope_theta": 9.0, "rope_grid": 4, "norm_eps": 1e-5,
    "pre_norm": True, "final_norm": "none", "qkv_bias": False, "qk_norm": True,
    "activation": "quick_gelu", "pos_embed": "relative_bias", "stages": (1, 1),
    "norm": "rmsnorm", "layer_scale": 0.1, "representation_size": 8,
    "patch_dropout": 0.5, "residual_convs": 1,
}  # fmt: skip
"""Another value than the default for every field that is not a size."""


@pytest.mark.parametrize("field", sorted({f.name for f in fields(ViTConfig)} - set(SIZES)))
@pytest.mark.parametrize(
    ("to", "known"), [(to_timm, TIMM), (to_huggingface, TRANSFORMERS), (to_onnx, ONNX)]
)
def test_every_field_is_supported_by_a_target_or_refused(tmp_path, to, known, field):
    """A model with a part that a target lacks would give different logits there, or none."""
    pytest.importorskip("onnx")
    changes = {field: OTHER[field]}
    if field == "residual_convs":
        changes["stem"] = "conv"
    config = dataclasses.replace(BASE, **changes)
    trained = dataclasses.replace(make_trained("plain"), model=tiny.randomize(ViT(config)))
    if config.unsupported(known) is None:
        to(trained, tmp_path / "m")
        return
    with pytest.raises(UserError, match=f"^({'|'.join(changes)}) is"):
        to(trained, tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_the_command_exports_and_prints_how_to_load(tmp_path, capsys):
    training = tiny.trainer(tmp_path, epochs=1)
    training.fit()
    path = str(Run(training.run.path).path)
    assert export([path, str(tmp_path / "m.safetensors"), "--to", "timm"]) == 0
    assert "VisionTransformer(img_size=8" in capsys.readouterr().out
    assert export([path, str(tmp_path / "folder"), "--to", "huggingface"]) == 0
    assert "from_pretrained" in capsys.readouterr().out
    assert export([path, str(tmp_path / "new" / "m.safetensors"), "--to", "timm"]) == 0
    with pytest.raises(UserError, match="--attention works only with --to onnx"):
        export([path, str(tmp_path / "x"), "--to", "timm", "--attention"])


def test_the_command_overwrites_neither_a_run_nor_an_image(tmp_path):
    training = tiny.trainer(tmp_path, epochs=1)
    training.fit()
    trained = training.run.path
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    for file, form, words in (
        (training.run.best, "timm", "a run or its checkpoint, which would be lost"),
        (trained, "huggingface", "a run or its checkpoint, which would be lost"),
        (tmp_path / "a.png", "timm", "expected a name that ends in .safetensors"),
        (tmp_path / "a.png", "onnx", "expected a name that ends in .onnx"),
    ):
        with pytest.raises(UserError, match=words):
            export([str(trained), str(file), "--to", form])
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
