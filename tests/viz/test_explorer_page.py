"""The explorer in a real browser: its numbers, its keyboard control, its robustness."""

import json
import re

import numpy as np
import pytest
import tiny
from PIL import Image

from minivit.models import ViT, ViTConfig
from minivit.viz import explore, look, rollout
from minivit.viz.explorer import companded
from minivit.viz.features import patch_similarity

EVIL = '</script><img src=x onerror="window.evil=1">'
SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}
STEP = 0.004  # the precision of one byte per weight


def model(**changes):
    """A model with selective heads: without larger weights, attention would be nearly uniform."""
    one = tiny.randomize(ViT(ViTConfig(**SIZES, **changes)))
    for block in one.blocks:
        block.attn.qkv.weight.data[...] *= 6.0
    return one


def sample_images(count=2):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3, 8, 12), np.float32)


def weights_on_the_page(page, image, layer, name):
    script = (
        """([image, layer, name]) => { set({image}); return Array.from(maps()[layer][name]) }"""
    )
    numbers = page.evaluate(script, [image, layer, name])
    side = round(len(numbers) ** 0.5)
    return np.array(numbers).reshape(side, side)


def test_a_model_without_a_head_shows_no_prediction(open_page):
    for changes, shown in (({}, True), ({"num_classes": 0}, False)):
        one = tiny.randomize(ViT(ViTConfig(**SIZES | changes)))
        page = open_page(explore(one, sample_images(), labels=[0, 1]))
        assert page.get_by_role("heading", name="Prediction").is_visible() == shown
        assert page.locator("#answers li").count() == 3 * shown


@pytest.mark.parametrize("prefix", [{}, {"pool": "mean"}, {"distilled": True, "num_registers": 2}])
def test_every_number_agrees_with_numpy(open_page, prefix):
    one, images = model(**prefix), sample_images()
    page, maps = open_page(explore(one, images)), look(one, images).maps
    rolled = rollout(maps)
    L, N, H = maps.shape[:3]
    for layer, image in np.ndindex(L, N):
        for head in range(H):
            found = weights_on_the_page(page, image, layer, head)
            np.testing.assert_allclose(found, maps[layer, image, head], atol=STEP)
        heads = maps[layer, image]
        for name, expected in (
            ("mean", heads.mean(0)),
            ("max", heads.max(0)),
            ("rollout", rolled[layer, image]),
        ):
            found = weights_on_the_page(page, image, layer, name)
            np.testing.assert_allclose(found, expected, atol=2 * STEP)


def read_out(page):
    """The weight, rank and position that the page displays."""
    text = page.text_content("#readout")
    weight = float(re.search(r"weight ([\d.e-]+)", text)[1])
    rank, of = map(int, re.search(r"rank (\d+) of (\d+)", text).groups())
    return weight, rank, of, text


@pytest.mark.parametrize("direction", ["to", "by"])
def test_every_patch_and_head_can_be_read_out_with_the_keyboard(open_page, direction):
    """Tab to the grid, arrow keys to a patch, Enter, arrow keys to another: the page displays
    NumPy's number."""
    one, images = model(), sample_images(1)
    page, maps = open_page(explore(one, images)), look(one, images).maps[:, 0]
    if direction == "by":
        page.focus("input[value=to]")
        page.keyboard.press("ArrowDown")
    positions = [(row, column) for row in range(2) for column in range(3)]
    for layer, head in np.ndindex(2, 2):
        choose_map(page, layer, head)
        page.focus("#stage")
        for query, (row, column) in enumerate(positions, 1):
            page.keyboard.press("Escape")
            walk(page, row, column)
            page.keyboard.press("Enter")
            for target, position in enumerate(positions, 1):
                walk(page, *position)
                if target == query:
                    continue  # on the query itself, the strongest patch is displayed
                weight, rank, of, text = read_out(page)
                i, j = (query, target) if direction == "to" else (target, query)
                assert weight == pytest.approx(maps[layer, head, i, j], abs=STEP), text
                line = maps[layer, head, query]
                if direction == "by":
                    line = maps[layer, head, :, query]
                line = companded(line)  # weights that are equal on the page share a rank
                assert rank == 1 + (line > line[target]).sum()
                assert of == 7
                assert f"row {position[0] + 1}, column {position[1] + 1}" in text
    attention = maps[layer, head, query]
    bits = -(attention * np.log2(attention)).sum()
    displayed = float(re.search(r"Entropy ([\d.]+)", read_out(page)[3])[1])
    assert displayed == pytest.approx(bits, abs=0.03)
    percent = float(re.search(r"([\d.]+) % goes to the class token", read_out(page)[3])[1])
    assert percent == pytest.approx(100 * attention[0], abs=0.5)


def choose_map(page, layer, head):
    page.focus("#maps button[aria-pressed=true]")
    for _ in range(2):
        page.keyboard.press("ArrowUp")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    for _ in range(layer):
        page.keyboard.press("ArrowDown")
    for _ in range(head):
        page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("document.activeElement.ariaLabel") == f"layer {layer + 1}, head {head + 1}"
    )


def walk(page, row, column):
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
    for _ in range(column):
        page.keyboard.press("ArrowRight")
    for _ in range(row):
        page.keyboard.press("ArrowDown")


def test_tab_reaches_everything(open_page):
    page = open_page(explore(model(), sample_images()))
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.type"))
    expected = {"stage", "class-token", "lock", "export", "link", "smooth", "shared", "opacity"}
    assert expected | {"radio", "button"} <= reached
    outline = page.evaluate(
        "document.querySelector('#stage').focus({focusVisible: true}),"
        "getComputedStyle(document.querySelector('#stage')).outlineStyle"
    )
    assert outline == "solid"


def test_the_mouse_selects_locks_and_unlocks_a_patch(open_page):
    one, images = model(), sample_images(1)
    page, maps = open_page(explore(one, images)), look(one, images).maps[1, 0].mean(0)
    box = page.locator("#stage").bounding_box()
    at = lambda row, column: (  # noqa: E731
        box["x"] + (column + 0.5) * box["width"] / 3,
        box["y"] + (row + 0.5) * box["height"] / 2,
    )
    page.mouse.move(*at(1, 2))
    assert "Row 2, column 3." in page.text_content("#readout")
    page.mouse.click(*at(1, 2))
    assert "(locked)" in page.text_content("#readout")
    page.mouse.move(*at(0, 1))
    weight, _, _, text = read_out(page)
    assert "Row 2, column 3 (locked)." in text
    assert weight == pytest.approx(maps[6, 2], abs=STEP)  # row = query
    page.mouse.click(*at(1, 2))
    page.mouse.move(*at(0, 0))
    assert "Row 1, column 1." in page.text_content("#readout")
    page.click("#class-token")
    assert "The class token (locked)." in page.text_content("#readout")


def test_prefix_tokens_can_be_queries(open_page):
    one, images = model(distilled=True, num_registers=2), sample_images(1)
    page, maps = open_page(explore(one, images)), look(one, images).maps[1, 0].mean(0)
    names = ["the class token", "the distillation token", "register 1", "register 2"]
    for token, name in enumerate(names):
        page.click("#" + name.removeprefix("the ").replace(" ", "-"))
        weight, _, of, text = read_out(page)
        assert f"{name[0].upper()}{name[1:]} (locked)." in text
        assert weight == pytest.approx(maps[token, 4:].max(), abs=STEP)
        assert of == 10
        goes = [*maps[token, :2], maps[token, 2:4].sum()]
        displayed = re.findall(
            r"([\d.]+) % goes to (the class token|the distillation token|registers)", text
        )
        assert [float(percent) for percent, _ in displayed] == pytest.approx(
            [100 * p for p in goes], abs=0.5
        )
    page.click("#lock")
    page.focus("#stage")
    for name in [*names, names[0]]:  # C selects them in turn and wraps around
        page.keyboard.press("c")
        assert f"{name[1:]} (locked)" in page.text_content("#readout")
    walk(page, 1, 2)
    assert read_out(page)[0] == pytest.approx(maps[0, 4 + 5], abs=STEP)


def test_registers_alone_are_not_a_class_token(open_page):
    page = open_page(explore(model(pool="mean", num_registers=2), sample_images(1)))
    assert "Row 2, column 2." in page.text_content("#readout")  # the center
    assert page.locator("#class-token").count() == 0
    page.click("#register-2")
    assert "Register 2 (locked)." in page.text_content("#readout")


def test_the_large_image_shows_the_map_in_the_right_place(open_page):
    """The patch with the largest weight is clear; the others are paler the smaller their weight."""
    one, images = model(), sample_images(1)
    page, maps = open_page(explore(one, images)), look(one, images).maps[:, 0]
    page.evaluate("set({layer: 0, map: 1, query: 3, locked: true})")
    script = """() => { const c = document.querySelector('#heat');
        return [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, 3, 2).data] }"""
    width, height, *rgba = page.evaluate(script)
    assert (width, height) == (3, 2)
    alpha = np.array(rgba[3::4]).reshape(2, 3)
    row = maps[0, 1, 3, 1:].reshape(2, 3)
    expected = 255 * 0.75 * (1 - row / row.max())
    np.testing.assert_allclose(alpha, expected, atol=4)
    thumbnail = page.evaluate(
        "Array.from(thumbnails.find(t => t.layer === 0 && t.map === 1)"
        ".canvas.getContext('2d').getImageData(0, 0, 3, 2).data)"
    )
    lightness = np.array(thumbnail).reshape(6, 4)[:, :3].sum(1)
    assert np.corrcoef(lightness, row.ravel())[0, 1] > 0.95


def features_of(one, images):
    """Features of the patches only: (N, rows, columns, C)."""
    tokens = look(one, images).tokens[-1]
    rows, columns = one.config.grid
    return tokens[:, -rows * columns :].reshape(len(images), rows, columns, -1)


@pytest.mark.parametrize("prefix", [{}, {"pool": "mean"}, {"num_registers": 2}])
def test_similarity_on_the_page_agrees_with_numpy(open_page, prefix):
    one, images = model(**prefix), sample_images(3)
    page, features = open_page(explore(one, images)), features_of(one, images)
    first = one.config.num_prefix
    for source, patch in ((0, 0), (1, 4), (2, 5)):
        page.evaluate(f"set({{show: 'like', source: {source}, query: {first + patch}}})")
        expected = patch_similarity(features, source, divmod(patch, 3)).reshape(3, 6)
        for index in range(3):
            found = page.evaluate(f"Array.from(similarity({index}))")[first:]
            np.testing.assert_allclose(found, expected[index], atol=0.01)
    assert np.ptp(expected) > 0.5


def test_a_patch_clicked_in_one_image_shows_similar_patches_in_all(open_page):
    one, images = model(), sample_images(3)
    page, features = open_page(explore(one, images)), features_of(one, images)
    page.check("input[value=like]")
    box = page.locator("#stage").bounding_box()
    page.click("#stage", position={"x": 0.9 * box["width"], "y": 0.1 * box["height"]})
    expected = patch_similarity(features, 0, (0, 2)).reshape(3, 6)
    alphas = page.evaluate(
        """() => [...document.querySelectorAll('#images .heat')].map(c => {
            if (!c.offsetWidth) throw 'hidden';
            return [...c.getContext('2d').getImageData(0, 0, 3, 2).data] })"""
    )
    found = np.array(alphas).reshape(3, 6, 4)[..., 3]
    np.testing.assert_allclose(found, 255 * 0.75 * (1 - np.clip(expected, 0, 1)), atol=3)

    page.click("#images button >> nth=1")  # the query stays in image 1
    text = page.text_content("#readout")
    assert text.startswith("Row 1, column 3 of image 1 (locked).")
    pattern = r"Most similar here: row (\d), column (\d), cosine similarity (-?[\d.]+)\."
    row, column, cosine = re.search(pattern, text).groups()
    assert (int(row) - 1) * 3 + int(column) - 1 == expected[1].argmax()
    assert float(cosine) == pytest.approx(expected[1].max(), abs=0.015)
    pattern = (
        r"in another image: row (\d), column (\d) of image (\d), cosine similarity (-?[\d.]+)\."
    )
    *position, cosine = re.search(pattern, text).groups()
    expected[0, 2] = expected[1] = -1  # the patch itself, and those already listed
    index, patch = np.unravel_index(expected.argmax(), expected.shape)
    assert [int(one) - 1 for one in position] == [*divmod(patch, 3), index]
    assert float(cosine) == pytest.approx(expected.max(), abs=0.015)
    assert page.locator("#marks .query").count() == 0

    again = open_page(explore(one, images), page.get_attribute("#link", "href"))
    assert again.text_content("#readout") == text
    page.click("#maps button >> nth=0")  # back to attention
    assert page.text_content("#readout").startswith("Layer 1, head 1. Row 1, column 3 (locked).")
    assert not page.is_visible("#images .heat >> nth=0")


def test_a_link_restores_the_view(open_page):
    page = open_page(explore(model(), sample_images()))
    page.evaluate(
        "set({image: 1, layer: 0, map: 1, query: 4, target: 2, locked: true, show: 'by'})"
    )
    page.check("#smooth")
    page.fill("#opacity", "30")
    address, readout = page.get_attribute("#link", "href"), page.text_content("#readout")
    page.wait_for_timeout(400)
    assert page.url.endswith(address)
    again = open_page(explore(model(), sample_images()), address)
    assert again.text_content("#readout") == readout
    assert again.is_checked("#smooth")
    assert again.input_value("#opacity") == "30"
    assert again.get_attribute("#link", "href") == address
    wild = "#image=99&layer=-1&map=x&query=1e9&opacity=no&target=7.5"
    assert "Layer 2" in open_page(explore(model(), sample_images()), wild).text_content("#readout")


def test_a_malicious_name_stays_text(open_page):
    explorer = explore(
        model(),
        sample_images(1),
        labels=[1],
        class_names=["a", EVIL, "c"],
        names=[EVIL],
        title=EVIL,
    )
    page = open_page(explorer)
    page.wait_for_timeout(200)
    assert page.evaluate("window.evil") is None
    assert page.locator("img").count() == 0
    assert page.text_content("#image-heading") == EVIL
    assert page.text_content("#title") == EVIL
    assert EVIL in page.text_content("#truth")
    assert EVIL in page.text_content("#answers")
    assert page.title() == EVIL


def test_nothing_can_be_loaded(open_page):
    """The page's content security policy forbids it, whatever a script tries."""
    page = open_page(explore(model(), sample_images(1)))
    answer = page.evaluate("fetch('https://example.com/').then(() => 'loaded', () => 'refused')")
    assert answer == "refused"
    assert "Content Security Policy" in page.messages[0]
    page.messages.clear()
    assert [url for url in page.requests if "example" in url] == []


def test_predictions_are_those_of_the_model(open_page):
    one, images = model(), sample_images()
    page = open_page(explore(one, images, labels=[0, 2], class_names=["cat", "dog", "owl"]))
    logits = one(images)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for image in range(2):
        page.evaluate(f"set({{image: {image}}})")
        rows = page.locator("#answers li")
        order = np.argsort(-probs[image])
        for position, k in enumerate(order):
            text = rows.nth(position).inner_text().split("\n")
            assert text[0] == ["cat", "dog", "owl"][k]
            assert float(text[-1].removesuffix(" %")) == pytest.approx(
                100 * probs[image, k], abs=0.06
            )
        agrees = [0, 2][image] == order[0]
        assert ("agrees" if agrees else "wrong") in page.text_content("#truth")


def test_a_png_is_saved(open_page, tmp_path):
    page = open_page(explore(model(), sample_images(1)))
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "view.png")
    assert download.value.suggested_filename == "attention-1-layer-2-mean.png"
    with Image.open(tmp_path / "view.png") as image:
        assert image.width > 500
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20


def test_a_wrong_prediction_is_marked_everywhere(open_page, tmp_path):
    one, images = model(), sample_images(3)
    right = one(images).argmax(-1)
    labels = [int(right[0]), (int(right[1]) + 1) % 3, None]
    page = open_page(explore(one, images, labels=labels, class_names=["cat", "dog", "owl"]))
    marked = page.evaluate("[...$('images').children].map(b => b.className)")
    assert marked == ["", "wrong", ""]
    assert "misclassified" in page.get_attribute("#images button >> nth=1", "aria-label")
    for index, cross in enumerate([False, True, False]):
        page.evaluate(f"set({{image: {index}}})")
        assert page.text_content("#truth").startswith("✗") == cross
        assert page.evaluate("predictionText()").startswith("✗") == cross
        assert (page.locator("#answers .predicted.wrong").count() == 1) == cross


def test_the_strip_fades_where_it_continues(open_page):
    page = open_page(explore(model(), sample_images(12)), viewport={"width": 360, "height": 700})
    fades = "$('images').classList.contains('more')"
    assert page.evaluate(fades)
    page.evaluate("$('images').scrollLeft = 10000")
    page.wait_for_timeout(200)
    assert not page.evaluate(fades)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.evaluate("$('images').scrollLeft = 0")
    few = open_page(explore(model(), sample_images(2)))
    assert not few.evaluate(fades)


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800), (1920, 1080)])
def test_image_and_maps_are_large_enough(open_page, width, height):
    """For a grid of three rows and three columns, unlike the default page's two rows and three
    columns."""
    one = tiny.randomize(ViT(ViTConfig(**SIZES | {"image_size": 12})))
    images = np.random.default_rng(0).standard_normal((3, 3, 12, 12), np.float32)
    size = {"width": width, "height": height}
    page = open_page(explore(one, images), viewport=size)
    stage, maps = (page.locator(name).bounding_box() for name in ("#stage", "#maps"))
    assert stage["width"] >= {360: 200, 1280: 480, 1920: 640}[width]
    assert page.locator("#maps button").first.bounding_box()["width"] >= 50
    assert maps["y"] + 50 < height, "a map can be seen without scrolling"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_works_on_narrow_and_dark_screens(open_page, scheme, width):
    size = {"width": width, "height": 800}
    page = open_page(explore(model(), sample_images(3)), viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(re.search(r"\d+", ground)[0])
    assert (red < 60) == (scheme == "dark")
    sides = page.evaluate(
        "[...document.querySelectorAll('section')].map(s => s.getBoundingClientRect().left)"
    )
    assert (sides[0] == sides[1]) == (width == 360), "one column on a narrow screen"
    boxes = page.evaluate("[...document.querySelectorAll('button')].map(b => b.offsetHeight)")
    assert min(boxes) >= 20


def test_motion_is_reduced_on_request(open_page):
    page = open_page(explore(model(), sample_images(1)), reduced_motion="reduce")
    durations = (
        "[...document.querySelectorAll('*')].map(e => getComputedStyle(e).transitionDuration)"
    )
    assert set(page.evaluate(durations)) == {"0s"}


def test_with_only_some_layers_there_is_no_rollout(open_page):
    one, images = model(), sample_images(1)
    page = open_page(explore(one, images, layers=[1]))
    assert page.evaluate("MAPS.includes('rollout')") is False
    assert "Layer 2" in page.text_content("#readout")
    found = weights_on_the_page(page, 0, 0, 0)
    np.testing.assert_allclose(found, look(one, images).maps[1, 0, 0], atol=STEP)


def test_a_frame_in_a_notebook_works(browser, tmp_path):
    cell = explore(model(), sample_images(1))._repr_html_()
    (tmp_path / "notebook.html").write_text(
        f"<!doctype html><title>n</title>{cell}", encoding="utf-8"
    )
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/notebook.html")
    frame = page.frame_locator("iframe")
    assert "Layer 2" in frame.locator("#readout").text_content()
    page.close()


def test_the_page_reads_the_data_that_python_wrote(open_page):
    """The script reads exactly the JSON that the page contains."""
    explorer = explore(model(), sample_images(1), title="é ✓ \u2028 <b>")
    page = open_page(explorer)
    content = json.loads(page.evaluate("JSON.stringify(data)"))
    assert content["title"] == "é ✓ \u2028 <b>"
    assert page.text_content("#title") == "é ✓ \u2028 <b>"
