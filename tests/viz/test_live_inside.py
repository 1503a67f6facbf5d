"""What the live page shows inside the model: steps, logit lens, head effects, and changes in
attention."""

import re

import numpy as np
import pytest
from live_pages import NAMES, SETTLED, STATISTICS, made, model, numbers, same, sample_images, settle

from minivit import trace
from minivit.functional import softmax_forward
from minivit.viz import knock_out, logit_lens, look

COUNTED = SETTLED.replace("isIdle()", "!effects.remaining.length && isIdle()")


def steps(page):
    """{name: array} of the steps in the page."""
    found = page.evaluate("shown.steps.map(({name, shape, data}) => [name, shape, [...data]])")
    return {name: np.array(data).reshape(shape) for name, shape, data in found}


def test_the_slider_goes_from_pixels_to_logits(show):
    one, image = model(), STATISTICS.normalize(sample_images())[:1]
    page = show(made(one))
    page.click("#tab-steps")
    settle(page)
    traced = {s.name: s.array[0] for s in trace(one, image) if not s.backward and s.name != "loss"}
    for name, array in steps(page).items():
        same(array, traced.pop(name))
    assert not traced
    assert page.text_content("#step-name") == "image"
    page.focus("#step-slider")
    page.keyboard.press("End")
    assert page.text_content("#step-name") == "head"
    logits = one(image)[0]
    displayed = page.text_content("#step-numbers")
    assert float(re.search(r"maximum ([−0-9.]+)", displayed)[1].replace("−", "-")) == pytest.approx(
        logits.max(), abs=0.02
    )
    page.keyboard.press("Home")
    assert page.is_disabled("#step-back")


def number(text):
    return float(text.replace("−", "-"))


def evaluated(words):
    """The value of "0.42 · (−1.31) + 93 smaller products (0.02) + 0.15"."""
    words = re.sub(r"\d+ smaller products ", "", words.replace("−", "-").replace("·", "*"))
    words = re.sub(r"√(\d+)", r"\1**0.5", words).replace(" the largest score", "#")
    return eval(words.split(",")[0], {"exp": np.exp, "tanh": np.tanh})


@pytest.mark.parametrize("changes", [{}, {"pos_embed": "relative", "representation_size": 6}])
def test_every_equation_gives_the_displayed_number(show, changes):
    """The explanation of the number under the cursor is evaluated again from its text."""
    page = show(made(model(**changes)))
    page.click("#tab-steps")
    settle(page)
    page.evaluate("look({at: FIRST + 2, query: FIRST + 4, column: 1, head: 1})")
    checked = set()
    for name in steps(page):
        page.evaluate(f"look({{step: '{name}'}})")
        explanation = page.text_content("#step-words").split(": ", 1)[1]
        value, words = explanation.split(" = ", 1)
        if not re.search("[()+·/]", words):
            continue  # a number that is only moved
        checked.add(re.sub(r"blocks\.\d", "blocks", name))
        assert evaluated(words) == pytest.approx(number(value), abs=0.03, rel=0.02), (
            f"{name}: {explanation}"
        )
    assert {"image", "blocks.norm1", "blocks.attn.qkv", "blocks.attn.scores"} <= checked
    assert {"blocks.attn.probs", "blocks.attn.heads", "blocks.mlp.act.gelu", "head"} <= checked


def test_the_computation_is_shown_number_by_number(show):
    one, image = model(), STATISTICS.normalize(sample_images())[:1]
    page = show(made(one), viewport={"width": 1280, "height": 2000})
    page.click("#tab-steps")
    settle(page)
    page.select_option("#step-list", "blocks.2.attn.probs")
    page.evaluate("look({head: 1, query: FIRST})")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    displayed = page.inner_text("#by-number")
    assert "layer 3, head 2" in displayed
    assert "i is row 1, column 1, the query; j is row 2, column 3" in displayed
    p = look(one, image).maps[2, 0, 1, 1, 6]
    assert number(re.search(r"pᵢⱼ = ([0-9.e−]+)", displayed)[1]) == pytest.approx(p, abs=2e-3)


def test_arrow_keys_move_in_a_tensor(show):
    page = show(made())
    page.click("#tab-steps")
    settle(page)
    page.select_option("#step-list", "blocks.0.norm1")
    page.focus("#tensor")
    before = page.text_content("#step-words")
    assert before.startswith("Row 2, column 2, number 1: ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert page.text_content("#step-words").startswith("Row 2, column 1, number 2: ")


@pytest.mark.parametrize("changes", [{}, {"pool": "mean"}, {"representation_size": 6}])
def test_the_logit_lens_is_the_head_between_the_layers(show, changes):
    one, image = model(**changes), STATISTICS.normalize(sample_images())[:1]
    page = show(made(one))
    page.click("#tab-lens")
    settle(page)
    T = one.config.num_tokens
    pooled = np.array(page.evaluate("[...shown.lens.pooled]")).reshape(4, 3)
    tokens = np.array(page.evaluate("[...shown.lens.tokens]")).reshape(4, T, 3)
    traced = trace(one, image)
    first = "with_positions" if one.config.pos_embed == "learned" else "patch_embed.proj"
    for layer, name in enumerate([first, "blocks.0", "blocks.1", "blocks.2"]):
        x = traced[name].array
        same(pooled[layer], softmax_forward(one._classify(x)[0])[0][0])
        for t in range(T):  # a single token, as if there were no others
            alone = np.repeat(x[:, t : t + 1], T, axis=1)
            same(tokens[layer, t], softmax_forward(one._classify(alone)[0])[0][0])
    expected = logit_lens(one, image)
    same(pooled, expected.pooled[:, 0])
    same(tokens[:, one.config.num_prefix :], expected.patches[:, 0].reshape(4, -1, 3))
    rows = page.locator("#lens-layers li").evaluate_all("all => all.map(one => one.ariaLabel)")
    best = pooled[0].argmax()
    assert rows[0].endswith(f"{NAMES[best]}, {100 * pooled[0, best]:.1f} %")
    assert len(rows) == 4


def test_the_effect_of_each_head_is_the_effect_of_turning_it_off(show):
    one = model()
    page = show(made(one))
    k = numbers(page).probs.argmax()
    p = numbers(page).probs[k]
    page.click("#tab-heads")
    page.click("#effect-start")
    page.evaluate(COUNTED)
    found = np.array(page.evaluate("effects.changes.map((row) => [...row])"))
    for layer, head in np.ndindex(3, 2):
        page.evaluate(f"toggleHead({layer}, {head})")
        same(numbers(page).probs[k] - p, found[layer, head])
        page.evaluate("undo()")
    same(found, knock_out(one, STATISTICS.normalize(sample_images())[:1])[0])
    settle(page)
    layer, head = np.unravel_index(found.argmin(), found.shape)
    name = f"layer {layer + 1}, head {head + 1}: "
    page.evaluate("startEffects()")
    page.evaluate(COUNTED)
    assert f"{abs(100 * found.min()):.1f}" in page.get_attribute(
        f"#effects button[aria-label^='{name}']", "aria-label"
    )


def test_the_effects_are_dropped_when_the_state_changes(show):
    page = show(made())
    page.click("#tab-heads")
    page.click("#effect-start")
    page.evaluate("toggleHead(0, 0)")
    settle(page)
    assert not page.is_visible("#effects")
    assert page.is_enabled("#effect-start")


def test_the_strip_says_how_much_attention_moved(show):
    page = show(made())
    before = numbers(page).maps
    assert not page.is_visible("#moved")
    page.evaluate("change({temperature: 3})")
    after = numbers(page).maps
    moved = np.abs(after.mean(1)[:, 0] - before.mean(1)[:, 0]).sum(-1) / 2
    labels = page.locator("#moved-strip li").evaluate_all("all => all.map(one => one.ariaLabel)")
    for layer, fraction in enumerate(moved):
        assert (
            labels[layer] == f"layer {layer + 1}: {100 * fraction:.1f} % of the attention has moved"
        )


def test_tabs_are_chosen_by_arrow_keys(show):
    page = show(made())
    page.focus("#tab-attention")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-steps"
    assert page.is_visible("#panel-steps")
    assert not page.is_visible("#panel-attention")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#tab-attention", "aria-selected") == "true"
