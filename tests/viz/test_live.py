"""The live page as a file: its contents, its size, and what is refused."""

import dataclasses

import numpy as np
import pytest
import tiny

from minivit.data import Statistics
from minivit.errors import UserError
from minivit.layers import Identity
from minivit.models import ViT, ViTConfig
from minivit.viz import live, live_page, require_known
from minivit.viz.live import WORKER
from minivit.viz.pages import join

SIZES = {"image_size": 8, "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}
STATISTICS = Statistics((0.5,) * 3, (0.2,) * 3)


def model(**changes):
    return tiny.randomize(ViT(ViTConfig(**{**SIZES, **changes})))


def images(count=1):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


def made(one=None, pixels=None, **options):
    pixels = images() if pixels is None else pixels
    return live_page(one or model(), pixels, statistics=STATISTICS, **options)


UNKNOWN = {
    "mlp": "swiglu",
    "stem": "conv",
    "pool": "map",
    "num_registers": 1,
    "distilled": True,
    "pos_embed": "relative_bias",
    "embed_prefix": False,
    "rope": "axial",
    "activation": "quick_gelu",
    "norm": "rmsnorm",
    "pre_norm": True,
    "final_norm": "none",
    "qk_norm": True,
    "layer_scale": 1e-5,
    "in_channels": 4,
    "num_classes": 0,
    "image_size": 512,
}
"""Values that the page cannot run."""
ANY = {
    *("patch_size", "dim", "depth", "num_heads", "mlp_ratio", "representation_size", "norm_eps"),
    *(
        "attention_init",
        "dropout",
        "attn_dropout",
        "drop_path",
        "patch_dropout",
        "qkv_bias",
        "residual_convs",
        "stages",
        "rope_theta",
        "rope_grid",
    ),
}
"""Fields of which it runs every value."""


def test_every_field_of_a_model_is_supported_or_refused():
    assert set(UNKNOWN) | ANY == {field.name for field in dataclasses.fields(ViTConfig)}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unsupported_part_is_refused_by_its_field(name):
    one = ViT(ViTConfig(**{**SIZES, name: UNKNOWN[name]}), seed=None)
    with pytest.raises(UserError, match=f"^{name} is ") as error:
        require_known(one)
    assert "\n" not in str(error.value)


def test_custom_layers_and_a_resnet_are_refused():
    class Rows(Identity):
        pass

    one = ViT(ViTConfig(**SIZES, pos_embed="none"), positions=lambda rng, config: Rows())
    with pytest.raises(UserError, match="Rows: layers that are not minivit's"):
        require_known(one)
    with pytest.raises(UserError, match="no attention"):
        require_known(ViT(ViTConfig(image_size=8, dim=64, depth=0, stem="resnet")))


def test_weights_that_are_not_finite_or_too_large_are_refused():
    for bad, expected in ((np.nan, "finite"), (np.inf, "finite"), (7e4, "70,000.*use --float32")):
        one = model()
        one.blocks[1].norm2.bias.data[0] = bad
        with pytest.raises(UserError, match=rf"blocks\.1\.norm2\.bias.*{expected}"):
            made(one)
    assert made(one, precision="float32").html


def test_images_of_another_shape_or_type_are_refused():
    for wrong in (images()[0], images()[:, :1], images().astype(np.float32)):
        with pytest.raises(UserError, match=r"expected uint8 \(N, 3, 8, 8\)"):
            made(pixels=wrong)
    with pytest.raises(UserError, match="at least one"):
        made(pixels=images(0))


def test_a_page_that_is_too_large_is_refused_with_the_reason(monkeypatch):
    size = len(made().html.encode())
    monkeypatch.setattr(live, "MAX_BYTES", size - 1)
    with pytest.raises(UserError, match="show fewer images"):
        made()
    monkeypatch.setattr(live, "MAX_BYTES", 100)
    with pytest.raises(UserError, match=r"holds all 1,[0-9]+ weights"):
        made()


def test_the_page_refers_to_no_host_and_is_reproducible():
    page = made().html
    # a namespace, not an address that is loaded
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page
    assert "default-src 'none'" in page
    assert made().html == page


def test_no_script_can_end_the_element_that_holds_it():
    for script in (join(WORKER), join(live.SCRIPTS)):
        assert "</script" not in script.lower()
        assert "<!--" not in script
    page = made(class_names=["</script><b>", "b", "c"], names=["<!--"], title="</title>").html
    assert page.count("</script>") == 3
    assert "<!--" not in page
    assert page.count("</title>") == 1
