"""Published Vision Transformers: small ones are built by timm and transformers with random weights,
saved by these libraries, and read without them."""

import json
import re

import numpy as np
import pytest
from published_small import randomized, relative, saved_by_timm
from safetensors.numpy import load_file, save_file

import minivit
from minivit import UserError, ViT, ViTConfig
from minivit.data import Preprocess
from minivit.interop import load, load_start
from minivit.interop.exports import in_torch_layout
from minivit.interop.published import class_names, imagenet
from minivit.interop.timm import facts_of

TIMM = [
    "vit_tiny_patch16_224",
    "vit_small_patch16_36x1_224",
    "vit_base_patch16_clip_quickgelu_224",
    "vit_base_patch16_siglip_224",
    "vit_base_patch32_siglip_gap_256",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_giant_patch14_reg4_dinov2",
    "vit_medium_patch16_gap_240",
    "vit_wee_patch16_reg1_gap_256",
    "vit_so150m_patch16_reg4_map_256",
    "vit_base_patch16_radio_v3",
    "vit_small_patch16_dinov3",
    "vit_small_plus_patch16_dinov3_qkvb",
    "vit_relpos_small_patch16_224",
    "vit_srelpos_small_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
]
IN_FLOAT32_ONLY = ["vit_small_patch16_rope_224", "vit_medium_patch16_rope_reg1_gap_256"]
"""timm keeps their sines in float32."""

REFUSED = {
    "vit_base_patch16_xp_224": "blocks are of an unsupported kind",
    "vit_small_patch16_18x2_224": "blocks are of an unsupported kind",
    "vit_dwee_patch16_reg1_gap_256": "does not belong to any supported part",
    "vit_base_patch16_rpn_224": "norms come after",
    "vit_small_patch16_rope_mixed_224": "learned",
    "vit_tiny_r_s16_p8_224": "ResNet",
}


@pytest.mark.parametrize("name", [*TIMM, *IN_FLOAT32_ONLY])
def test_timm_gives_the_same_features_and_logits(tmp_path, name):
    torch = pytest.importorskip("torch")
    model, side = saved_by_timm(name, tmp_path)
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    loaded = load(tmp_path, dtype="float64")
    tolerance = 1e-6 if name in IN_FLOAT32_ONLY else 1e-9
    with torch.no_grad():
        assert (
            relative(loaded.model.tokens(images.numpy()), model.forward_features(images))
            < tolerance
        )
        if "dinov3" not in name:  # timm pools by the mean here, DINOv3 itself uses the class token
            assert relative(loaded.model(images.numpy()), model(images)) < tolerance
        single = load(tmp_path).model.tokens(images.numpy().astype(np.float32))
        assert relative(single, model.float().forward_features(images.float())) < 1e-5
    assert loaded.statistics.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_models_are_refused_in_one_line(tmp_path, name):
    def load_it():
        facts_of(name)
        saved_by_timm(name, tmp_path)
        load(tmp_path)

    with pytest.raises(UserError, match=REFUSED[name]) as error:
        load_it()
    assert str(error.value).isprintable()


SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
HUGGINGFACE = {
    "ViT": ("ViTConfig", "ViTForImageClassification", {"num_labels": 5}),
    "DINO": ("ViTConfig", "ViTModel", {}),
    "DeiT": ("DeiTConfig", "DeiTForImageClassification", {"num_labels": 5}),
    "DeiT, distilled": ("DeiTConfig", "DeiTForImageClassificationWithTeacher", {"num_labels": 5}),
    "MAE": ("ViTMAEConfig", "ViTMAEModel", {"mask_ratio": 0.0}),
    "I-JEPA": ("IJepaConfig", "IJepaModel", {}),
    "DINOv2": ("Dinov2Config", "Dinov2Model", {}),
    "DINOv2, SwiGLU": ("Dinov2Config", "Dinov2Model", {"use_swiglu_ffn": True}),
    "DINOv2, registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", {}),
    "CLIP": ("CLIPVisionConfig", "CLIPVisionModel", {}),
    "SigLIP": ("SiglipVisionConfig", "SiglipVisionModel", {}),
    "DINOv3": ("DINOv3ViTConfig", "DINOv3ViTModel", {"num_register_tokens": 2}),
    "DINOv3, gated": (
        "DINOv3ViTConfig",
        "DINOv3ViTModel",
        {"num_register_tokens": 2, "use_gated_mlp": True, "hidden_act": "silu"},
    ),
}


@pytest.mark.parametrize("name", HUGGINGFACE)
@pytest.mark.parametrize("names", ["as saved", "in memory"])
def test_transformers_gives_the_same_features(tmp_path, name, names):
    """With the weight names in its files and those in memory since version 5."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config, kind, options = HUGGINGFACE[name]
    model = getattr(transformers, kind)(getattr(transformers, config)(**SMALL, **options))
    model = randomized(model)
    model.save_pretrained(tmp_path)
    if names == "in memory":
        state = {key: value.numpy().copy() for key, value in model.state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    noise = {"noise": torch.arange(16.0).repeat(2, 1)} if name == "MAE" else {}
    with torch.no_grad():
        out = model(images, **noise)
    tolerance = 1e-7 if "DINOv3" in name else 1e-9  # its sines are float32
    loaded = load(tmp_path, dtype="float64").model
    if "logits" in out:
        assert relative(loaded(images.numpy()), out.logits) < tolerance
        return
    hidden = out.last_hidden_state
    if name == "CLIP":
        hidden = getattr(model, "vision_model", model).post_layernorm(hidden).detach()
    assert relative(loaded.tokens(images.numpy()), hidden) < tolerance
    if name == "SigLIP":
        assert relative(loaded(images.numpy()), out.pooler_output) < tolerance


def save_paper_checkpoint(model, path):
    """A minivit model with the paper's names and layout."""
    c = model.config
    H, D, arrays = c.num_heads, c.dim // c.num_heads, {}
    for name, parameter in model.named_parameters():
        a = parameter.data
        layer, _, kind = name.rpartition(".")
        kind = "kernel" if kind == "weight" and a.ndim > 1 else kind.replace("weight", "scale")
        inner = re.sub(r"^blocks\.(\d+)\.", r"Transformer/encoderblock_\1/", layer)
        for old, new in (
            ("patch_embed.proj", "embedding"), ("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2"),
            ("mlp.fc1", "MlpBlock_3/Dense_0"), ("mlp.fc2", "MlpBlock_3/Dense_1"),
            ("attn.proj", "MultiHeadDotProductAttention_1/out"),
        ):  # fmt: skip
            inner = inner.replace(old, new)
        if name == "cls_token":
            arrays["cls"] = a
        elif name == "pos_embed":
            arrays["Transformer/posembed_input/pos_embedding"] = a
        elif layer == "norm":
            arrays[f"Transformer/encoder_norm/{kind}"] = a
        elif layer == "patch_embed.proj" and a.ndim > 1:
            arrays["embedding/kernel"] = a.reshape(c.patch_size, c.patch_size, 3, c.dim)
        elif "attn.qkv" in layer:
            for projection, part in zip(("query", "key", "value"), np.split(a, 3, -1), strict=True):
                prefix = inner.replace("attn.qkv", f"MultiHeadDotProductAttention_1/{projection}")
                arrays[f"{prefix}/{kind}"] = part.reshape(*a.shape[:-1], H, D)
        elif "attn.proj" in layer and a.ndim > 1:
            arrays[f"{inner}/{kind}"] = a.reshape(H, D, c.dim)
        else:
            arrays[f"{inner}/{kind}"] = a
    np.savez(path, **arrays)


@pytest.mark.parametrize("pre_logits", [None, 12])
def test_files_of_the_papers_authors_are_read(tmp_path, pre_logits):
    config = ViTConfig(
        image_size=32, patch_size=8, dim=48, depth=2, num_heads=3, mlp_ratio=4.0, num_classes=7,
        activation="gelu_tanh", representation_size=pre_logits,
    )  # fmt: skip
    model = ViT(config)
    model.flat.data[...] = np.random.default_rng(0).normal(0, 0.2, model.flat.data.shape)
    save_paper_checkpoint(model, tmp_path / "ViT.npz")
    loaded = load(tmp_path / "ViT.npz")
    assert loaded.model.config == config
    for name, parameter in loaded.model.named_parameters():
        np.testing.assert_array_equal(
            parameter.data, model.flat.views(model.flat.data)[name], err_msg=name
        )


@pytest.fixture
def plain(tmp_path):
    """A small model with timm's names, in a file without a config."""
    config = ViTConfig(image_size=32, patch_size=8, dim=64, depth=2, num_heads=1, num_classes=1000)
    model = ViT(config)
    model.flat.data[...] = np.random.default_rng(0).normal(0, 0.2, model.flat.data.shape)
    statistics = minivit.data.Statistics((0.5,) * 3, (0.5,) * 3)
    trained = minivit.engine.Trained(
        model, statistics, minivit.data.Preprocess((32, 32)), imagenet(), "x"
    )
    save_file(in_torch_layout(trained), tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


def test_missing_settings_are_reported_and_can_be_given(plain):
    loaded = load(plain)
    assert loaded.model.config.num_heads == 1
    messages = "\n".join(loaded.notes)
    for word in ("num_heads is not in the file; 1", "norm_eps", "activation", "mean", "std"):
        assert word in messages
    assert loaded.class_names == imagenet()
    overridden = load(plain, num_heads=4, activation="gelu_tanh", mean=(0, 0, 0), std=(1, 1, 1))
    assert overridden.model.config.num_heads == 4
    assert overridden.statistics.mean == (0, 0, 0)
    assert "num_heads" not in "\n".join(overridden.notes)
    with pytest.raises(UserError, match="depth cannot be given"):
        load(plain, depth=3)


def change(path, **tensors):
    """Replace tensors in a file; None removes one."""
    found = load_file(path) | tensors
    save_file({name: array for name, array in found.items() if array is not None}, path)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"blocks.1.norm2.bias": None}, "blocks.1.norm2.bias is missing"),
        (
            {"blocks.0.attn.lambda": np.zeros(3)},
            "blocks.0.attn.lambda does not belong to any supported part",
        ),
        ({"head.bias": np.zeros(999, np.float32)}, r"head.bias has the shape \(999,\)"),
        ({"patch_embed.proj.weight": None}, "not a supported Vision Transformer"),
        ({"patch_embed.proj.weight": np.zeros((64, 3, 8, 4), np.float32)}, "square patches"),
        ({"pos_embed": np.zeros((1, 8, 64), np.float32)}, "do not form a square of patches"),
        ({"norm.weight": np.full(64, np.nan, np.float32)}, "norm.weight has numbers"),
        ({"blocks.999999999.norm1.bias": np.zeros(64, np.float32)}, "blocks 0 to 2"),
        ({"blocks.0.mlp.fc2.weight": None}, "blocks are of an unsupported kind"),
        ({"mask_token": np.zeros(64, np.float32)}, None),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(plain, tensors, words):
    change(plain, **tensors)
    if words is None:
        assert "not used: mask_token" in load(plain).notes
        return
    with pytest.raises(UserError, match=words) as error:
        load(plain)
    assert str(error.value).startswith(str(plain))
    assert str(error.value).isprintable()


def test_a_config_that_contradicts_the_weights_is_refused_in_one_line(plain):
    for settings, words in (
        ({"model_type": "bert"}, "model_type 'bert' is not supported"),
        ({"model_type": "vit", "hidden_act": "relu"}, "hidden_act 'relu' is not supported"),
        ({"model_type": "vit", "num_attention_heads": 7}, "num_heads 7"),
        ({"model_type": "vit", "num_attention_heads": "x"}, "num_heads"),
        ({"architecture": "vit_base_patch16_rpn_224"}, "norms come after"),
        ([], "expected an object"),
    ):
        plain.with_name("config.json").write_text(json.dumps(settings), encoding="utf-8")
        with pytest.raises(UserError, match=words) as error:
            load(plain)
        assert str(error.value).isprintable()


def test_a_run_can_still_be_loaded(tmp_path):
    import tiny

    training = tiny.trainer(tmp_path)
    training.fit()
    for path in (training.run.path, training.run.best):
        assert load(path).class_names == tiny.NAMES
    with pytest.raises(UserError, match="no such directory"):
        load(tmp_path / "nowhere")


def test_class_names_are_read():
    assert len(set(imagenet())) == 1000
    assert (imagenet()[0], imagenet()[207], imagenet()[999]) == (
        "tench", "golden retriever", "toilet tissue")  # fmt: skip
    assert class_names(2, ["a", "b"]) == ("a", "b")
    assert class_names(2, ["LABEL_0", "LABEL_1"]) == ("class 0", "class 1")
    assert class_names(2, ["a", "\x1b[2J"]) == ("class 0", "class 1")
    assert class_names(3, ["a"]) == ("class 0", "class 1", "class 2")


TIMM = {
    "architecture": "vit_tiny_patch16_224",
    "pretrained_cfg": {"crop_pct": 0.9, "interpolation": "bilinear", "crop_mode": "squash"},
}
BIT = {"do_center_crop": True, "crop_size": {"height": 24, "width": 24}, "resample": 2}
BIT |= {"size": {"shortest_edge": 32}}
WHOLE = {"size": {"height": 40, "width": 48}, "resample": 3}


@pytest.mark.parametrize(
    ("settings", "images", "expected"),
    [
        (TIMM, None, Preprocess((32, 32), 3, "stretch", 0.9, "bilinear")),
        ({}, BIT, Preprocess((24, 24), 3, "crop", 0.75, "bilinear")),
        ({}, WHOLE, Preprocess((40, 48), 3, "stretch", 1.0, "bicubic")),
        ({}, {"size": 32, "crop_size": [1], "resample": []}, Preprocess((32, 32), 3, "stretch")),
    ],
    ids=["timm", "a center crop", "a whole image", "half of it nonsense"],
)
def test_images_are_preprocessed_as_in_the_model_family(tmp_path, settings, images, expected):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    if images is None:
        timm = pytest.importorskip("timm")
        model = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=32, patch_size=8)
        save_file({n: t.numpy() for n, t in model.state_dict().items()}, tmp_path / "m.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    else:
        torch.manual_seed(0)
        config = transformers.ViTConfig(**SMALL)
        transformers.ViTModel(config).save_pretrained(tmp_path)
        text = json.dumps(images)
        (tmp_path / "preprocessor_config.json").write_text(text, encoding="utf-8")
    loaded = load(tmp_path)
    start = load_start(tmp_path)  # a fine-tuning run starts with images of the same size
    assert loaded.preprocess == start.preprocess == expected
    assert loaded.model.config.image_hw == start.vit.image_hw == expected.size


def test_a_run_can_be_loaded_at_another_image_size(tmp_path):
    """Its positions are interpolated; everything else is the same."""
    model = ViT(ViTConfig(image_size=16, patch_size=8, dim=32, depth=1, num_heads=2))
    statistics = minivit.data.Statistics((0.5,) * 3, (0.5,) * 3)
    names = tuple("abcdefghij")
    trained = minivit.engine.Trained(model, statistics, Preprocess((16, 16)), names, "x")
    larger = minivit.engine.resized(trained, (16, 32))
    assert larger.preprocess.size == larger.model.config.image_hw == (16, 32)
    for name, parameter in larger.model.named_parameters():
        same = dict(model.named_parameters())[name].data
        if name == "pos_embed":
            np.testing.assert_array_equal(parameter.data[:, 0], same[:, 0])
            assert parameter.data.shape == (1, 9, 32)
        else:
            np.testing.assert_array_equal(parameter.data, same)
