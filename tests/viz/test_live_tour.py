"""States of the live page: its URL, its presets, its tour, and the teaching mode."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
import tiny
from live_pages import STATISTICS, made, model, numbers, same, sample_images, settle

from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.viz import look, read_tour
from minivit.viz.pages import join
from minivit.viz.tour import WORDS

EVERYTHING = (
    "cover=1.1,2.3&blur=1.2&force=2.1&patches=2,1,3,4,5,6&off=1.1,2.2&skip=3&uniform=2"
    "&temperature=2&positions=off&show=heads&layer=2&head=1&query=2.1"
)


def test_a_url_describes_the_state_and_is_written_back(show):
    page = show(made(), address=f"#image=2&{EVERYTHING}")
    assert page.evaluate("addressOf()") == f"image=2&{EVERYTHING}"
    assert page.text_content("#message") == ""
    assert page.is_disabled("#undo")
    state = page.evaluate("({...state, pixels: null})")
    assert state["heads"] == ["0,0", "1,1"]
    assert (state["covered"], state["blurred"], state["forced"]) == ([0, 5], [1], [3])
    assert (state["skipped"], state["uniform"], state["temperature"]) == ([2], [1], 2)
    assert state["positions"] is None
    assert page.evaluate("[view.tab, view.layer, view.head, view.query]") == ["heads", 1, 0, 4]


ROOT = Path(__file__).parents[2]
PRINTED = {
    f"{path.stem}: {address}": address
    for path in (*sorted((ROOT / "notebooks").glob("*.ipynb")), ROOT / "docs" / "live.md")
    for address in re.findall(r"live\.html(#[^`\s]+)`", path.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("address", PRINTED.values(), ids=PRINTED)
def test_links_in_the_course_are_valid_states_of_the_page(show, address):
    """For a model of the course's size."""
    course = ViTConfig(image_size=32, patch_size=4, num_classes=3, dim=24, depth=4, num_heads=4)
    images = np.random.default_rng(0).integers(256, size=(3, 3, 32, 32), dtype=np.uint8)
    page = show(made(tiny.randomize(ViT(course)), images), address=address)
    settle(page)
    assert page.text_content("#message") == ""
    step = dict(parse_qsl(address[1:])).get("step")
    assert step is None or page.evaluate("shown.steps.map((one) => one.name)").count(step) == 1


def test_five_chapters_link_to_the_page():
    chapters = {name[:2] for name in PRINTED}
    assert {"05", "06", "07", "10", "12"} <= chapters


def test_the_url_follows_the_state(show):
    page = show(made())
    page.click("#skip")
    page.click("#tab-lens")
    page.wait_for_timeout(500)
    assert page.evaluate("location.hash") == "#skip=3&show=lens"
    page.evaluate("location.hash = 'positions=off'")
    settle(page)
    assert page.text_content("#changes") == "Changed: positions off."
    page.click("#undo")
    assert page.text_content("#changes") == "Changed: layer 3 skipped."


WRONG = (
    *(
        "image=3",
        "cover=9.1",
        "cover=x",
        "off=1",
        "layer=0",
        "show=all",
        "patches=1,2",
        "mood=good",
    ),
    *("temperature=0", "temperature=much", "find=joy", "query=1.2.3", "step=%"),
)


@pytest.mark.parametrize("bad", WRONG)
def test_mistakes_in_a_url_are_reported(show, bad):
    page = show(made(), address=f"#positions=off&{bad}")
    if bad != "step=%":  # the first step is shown
        assert bad in page.text_content("#message")
    assert page.text_content("#changes") == "Changed: positions off."


def test_javascript_and_python_accept_the_same_words():
    source = join(["live_address.js"])
    words = {word for word in WORDS if f'"{word}"' in source or f"\n  {word}: [" in source}
    assert words == WORDS


def test_a_shuffle_given_by_a_seed_is_reproducible(show):
    orders = [
        show(made(), address="#patches=shuffled&positions=shuffled").evaluate(
            "[state.order, state.positions]"
        )
        for _ in range(2)
    ]
    assert orders[0] == orders[1]
    assert sorted(orders[0][0]) == list(range(6)) != orders[0][0]


def test_every_preset_has_an_effect(show):
    page = show(made(labels=[2, 1]))
    settle(page)
    first = page.locator("#try button").first
    assert first.text_content() == "Cover the owl"
    first.click()
    settle(page)
    received = look(model(), STATISTICS.normalize(sample_images())).maps[-1, 0].mean(0)[0, 1:]
    expected = sorted(np.argsort(-received)[:2].tolist())
    assert page.evaluate("state.covered") == expected
    for button in page.locator("#try button").all():
        button.click()
        settle(page)
        assert page.text_content("#message") == ""
    page.evaluate("chooseImage(1)")
    assert first.text_content() == "Cover the dog"


def test_the_head_that_finds_edges_is_found(show):
    page = show(made(), address="#find=edges")
    settle(page)
    pixels = sample_images()[0].astype(float)
    edges = [
        pixels[:, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].std() for r in range(2) for c in range(3)
    ]
    maps = look(model(), STATISTICS.normalize(sample_images())).maps[:, 0, :, 0, 1:]
    correlations = [[np.corrcoef(head, edges)[0, 1] for head in layer] for layer in maps]
    layer, head = np.unravel_index(np.argmax(correlations), (3, 2))
    assert page.evaluate("[view.layer, view.head]") == [layer, head]


TOUR = [
    {"text": "First <b>of all</b>.", "state": ""},
    {"text": "Without positions.", "state": "positions=off&show=lens"},
    {"text": "The other image.", "state": "image=2&off=1.1"},
]


def test_a_custom_tour(show):
    page = show(made(tour=TOUR))
    assert page.text_content("#tour-text") == "First <b>of all</b>."
    assert page.is_disabled("#tour-back")
    page.click("#tour-on")
    settle(page)
    assert page.text_content("#tour-text") == "Without positions."
    assert page.text_content("#changes") == "Changed: positions off."
    assert page.is_visible("#panel-lens")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.text_content("#tour-place") == "3 of 3"
    assert page.text_content("#image-name") == "image 2"
    page.wait_for_timeout(500)
    assert page.evaluate("location.hash").endswith("tour=3")
    page.click("#tour-close")
    assert not page.is_visible("#tour")


def test_a_url_opens_a_slide(show):
    page = show(made(tour=TOUR), address="#image=2&tour=3")
    assert page.text_content("#tour-text") == "The other image."
    assert page.text_content("#changes") == "Nothing is changed."
    page = show(made(tour=TOUR), address="#tour=3")
    assert page.text_content("#image-name") == "image 2"
    assert page.text_content("#changes") == "Changed: head 1 of layer 1 off."


@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_teaching_mode_is_large_and_fits(show, width):
    page = show(made(), viewport={"width": width, "height": 900})
    size = "parseFloat(getComputedStyle(document.getElementById('answer')).fontSize)"
    before = page.evaluate(size)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    settle(page)
    assert page.evaluate(size) > before
    assert page.is_visible("#tour")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#tour-close")
    assert page.evaluate(size) == before


def test_the_prediction_after_a_preset_agrees_with_python(show):
    one = model()
    page = show(made(one), address="#patches=2,1,3,4,5,6")
    image = sample_images()[:1]
    swapped = image.copy()
    swapped[..., :4, :4], swapped[..., :4, 4:8] = image[..., :4, 4:8], image[..., :4, :4]
    same(numbers(page).logits, one(STATISTICS.normalize(swapped))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"text": "\\ud800", "state": ""}]', "not JSON"),
        ("{}", "not a list"),
        ("[]", "not a list"),
        ('["a"]', 'slide 1: expected "text" and "state"'),
        ('[{"text": "a", "state": ""}, {"text": "b"}]', "slide 2"),
        ('[{"text": 1, "state": ""}]', "must both be strings"),
        ('[{"text": "a", "state": "colour=red"}]', "unknown word 'colour'"),
    ],
)
def test_a_file_that_is_not_a_tour_is_refused_in_one_line(tmp_path, text, expected):
    (tmp_path / "tour.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=expected) as error:
        read_tour(tmp_path / "tour.json")
    assert "\n" not in str(error.value)


def test_a_tour_is_read(tmp_path):
    path = tmp_path / "tour.json"
    path.write_text('[{"text": "a", "state": "cover=1.1&show=lens"}]', encoding="utf-8")
    assert read_tour(path) == [{"text": "a", "state": "cover=1.1&show=lens"}]
    with pytest.raises(UserError, match="no such file"):
        read_tour(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not JSON in UTF-8"):
        read_tour(path)
