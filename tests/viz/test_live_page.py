"""The live page in a real browser: its numbers, its changes, its keyboard control, its
robustness."""

import re

import numpy as np
import pytest
from live_pages import NAMES, SETTLED, STATISTICS, made, model, numbers, same, sample_images
from PIL import Image

from minivit.data import Preprocess, Statistics
from minivit.viz import look

EVIL = '</script><img src=x onerror="window.evil=1">'


@pytest.mark.parametrize("changes", [{}, {"pool": "mean"}, {"pos_embed": "relative"}])
def test_the_prediction_and_the_maps_agree_with_python(show, changes):
    one, images = model(**changes), sample_images()
    page = show(made(one, images, labels=[0, 1]))
    seen = look(one, STATISTICS.normalize(images))
    for i in range(2):
        page.evaluate(f"chooseImage({i})")
        found = numbers(page)
        same(found.logits, seen.logits[i])
        same(found.maps, seen.maps[:, i])
        probs = np.exp(seen.logits[i]) / np.exp(seen.logits[i]).sum()
        best = int(probs.argmax())
        assert page.text_content("#answer") == f"{NAMES[best]}, {100 * probs[best]:.1f} %"
        assert ("wrong" in page.text_content("#truth")) == (best != i)


def test_grayscale_images(show):
    one, images = model(in_channels=1), sample_images(channels=1)
    statistics = Statistics((0.4,), (0.2,))
    page = show(made(one, images, statistics=statistics))
    same(numbers(page).logits, one(statistics.normalize(images))[0])
    page.check("input[value=paint]")
    page.click("#stage")
    assert np.abs(numbers(page).logits - one(statistics.normalize(images))[0]).max() > 1e-3


def patch_box(page, row, column):
    box = page.locator("#stage").bounding_box()
    return (
        box["x"] + (column + 0.5) * box["width"] / 3,
        box["y"] + (row + 0.5) * box["height"] / 2,
    )


def covered(images, *patches):
    """The pixels with these patches set to the mean color."""
    images = images.copy()
    mean = np.rint(255 * np.array(STATISTICS.mean)).astype(np.uint8)[:, None, None]
    for row, column in patches:
        images[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = mean
    return images


def test_patches_are_covered_by_a_drag_and_uncovered_by_undo(show):
    one, images = model(), sample_images()
    page = show(made(one, images))
    before = numbers(page)
    page.check("input[value=cover]")
    page.mouse.move(*patch_box(page, 0, 0))
    page.mouse.down()
    page.mouse.move(*patch_box(page, 0, 1), steps=3)
    page.mouse.move(*patch_box(page, 1, 1), steps=3)
    page.mouse.up()
    after = numbers(page)
    same(after.logits, one(STATISTICS.normalize(covered(images, (0, 0), (0, 1), (1, 1))))[0])
    assert "3 patches covered" in page.text_content("#changes")
    page.click("#undo")
    again = numbers(page)
    np.testing.assert_array_equal(again.logits, before.logits)
    np.testing.assert_array_equal(again.maps, before.maps)
    assert page.is_disabled("#undo")


def test_covering_all_patches_changes_the_prediction(show):
    one, images = model(), sample_images()
    page = show(made(one, images))
    before = numbers(page)
    page.click("#cover-all")
    after = numbers(page)
    all_patches = [(row, column) for row in range(2) for column in range(3)]
    same(after.logits, one(STATISTICS.normalize(covered(images, *all_patches)))[0])
    assert np.abs(after.probs - before.probs).max() > 1e-3
    labels = page.locator("#bars li").evaluate_all("all => all.map(one => one.ariaLabel)")
    for k in range(3):
        expected = f"{NAMES[k]}: {100 * after.probs[k]:.1f} %, before {100 * before.probs[k]:.1f} %"
        assert expected in labels


def test_a_head_turned_off_changes_only_the_maps_after_its_layer(show):
    page = show(made())
    before = numbers(page)
    page.click("#maps button[aria-label='layer 2, head 1']")
    page.click("#head-off")
    after = numbers(page)
    np.testing.assert_array_equal(after.maps[:2], before.maps[:2])
    assert np.abs(after.maps[2] - before.maps[2]).max() > 1e-3
    assert page.locator("#maps button[aria-label='layer 2, head 1, off']").count() == 1
    page.click("#head-off")
    np.testing.assert_array_equal(numbers(page).logits, before.logits)


BUTTONS = ["#head-only", "#uniform", "#skip", "#shuffle", "#cover-all"]


def test_every_change_is_undone_exactly(show):
    page = show(made())
    page.click("#maps button[aria-label='layer 1, head 2']")
    steps = [numbers(page)]

    def step(action):
        action()
        steps.append(numbers(page))
        assert np.abs(steps[-1].logits - steps[-2].logits).max() > 1e-6, "nothing has changed"

    for button in BUTTONS:
        step(lambda button=button: page.click(button))
    page.click("#reset")
    steps.append(numbers(page))
    np.testing.assert_array_equal(steps[-1].logits, steps[0].logits)
    for name in ("off", "shuffled"):
        step(lambda name=name: page.check(f"input[name=positions][value={name}]"))
    step(lambda: page.fill("#temperature", "60"))
    page.check("input[name=tool][value=paint]")
    step(lambda: page.mouse.click(*patch_box(page, 1, 1)))
    assert "softmax temperature 3.98" in page.text_content("#changes")
    for expected in reversed(steps[:-1]):
        page.keyboard.press("Control+z")
        found = numbers(page)
        np.testing.assert_array_equal(found.logits, expected.logits)
        np.testing.assert_array_equal(found.maps, expected.maps)
    assert page.text_content("#changes") == "Nothing is changed."
    assert page.text_content("#was") == ""


def test_the_query_is_chosen_and_read_out(show):
    one, images = model(), sample_images()
    page = show(made(one, images))
    maps = look(one, STATISTICS.normalize(images)).maps[:, 0]
    page.click("#maps button[aria-label='layer 3, head 2']")
    page.mouse.click(*patch_box(page, 1, 2))
    row = maps[2, 1, 6]
    target = 1 + int(row[1:].argmax())
    displayed = page.text_content("#readout")
    assert displayed.startswith("Layer 3, head 2. Row 2, column 3 attends most to")
    position = f"row {(target - 1) // 3 + 1}, column {(target - 1) % 3 + 1}: "
    assert float(
        re.search(re.escape(position) + "([0-9.e-]+[0-9])", displayed)[1]
    ) == pytest.approx(row[target], abs=6e-4)
    page.click("#class-token")
    assert "The class token attends" in page.text_content("#readout")


def test_everything_can_be_done_with_the_keyboard(show):
    one, images = model(), sample_images()
    page = show(made(one, images))
    page.check("input[name=tool][value=cover]")
    page.focus("#stage")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    same(numbers(page).logits, one(STATISTICS.normalize(covered(images, (1, 1))))[0])
    assert page.locator("#marks .target").count() == 1
    page.keyboard.press("Control+z")
    page.focus("#maps button[aria-pressed=true]")
    for key in ("ArrowUp", "ArrowLeft", "o"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.ariaLabel") == "layer 2, head 2, off"
    for key, word in (("s", "layer 2 skipped"), ("u", "uniform attention in layer 2")):
        page.keyboard.press(key)
        assert word in page.text_content("#changes")


def test_parts_that_the_model_lacks_are_not_offered(show):
    page = show(made(model(pool="mean", pos_embed="none")))
    assert not page.is_visible("#positions")
    assert not page.is_visible("#class-token")
    assert "class token" not in page.inner_text("body")
    page = show(made())
    assert page.is_visible("#positions")
    assert page.is_visible("#class-token")


def test_every_control_has_a_name_and_is_reached_by_tab(show):
    page = show(made())
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, progress')].filter((one) => "
        "!(one.ariaLabel || one.textContent || [...(one.labels ?? [])].some((l) => l.textContent)))"
        ".length"
    )
    assert unnamed == 0
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    buttons = {"shuffle", "cover-all", "file", "skip", "uniform", "class-token"}
    assert {"stage", "tool", "color", "on-image", "temperature", "positions"} <= reached
    assert buttons | {"tab-attention", "tour-open", "present"} <= reached


def test_an_image_file_is_read_as_in_python(show, tmp_path):
    one, image = model(), sample_images(1)
    Image.fromarray(image[0].transpose(1, 2, 0)).save(tmp_path / "own.png")
    page = show(made(one))
    page.set_input_files("#file", tmp_path / "own.png")
    page.locator("#images button").nth(2).wait_for()
    same(numbers(page).logits, one(STATISTICS.normalize(image))[0])
    assert page.text_content("#image-name") == "own.png"
    page.click("#undo")
    assert page.text_content("#image-name") == "image 1"


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_a_larger_image_is_resized_as_in_training(show, tmp_path, resize):
    preprocess = Preprocess((8, 12), 3, resize)
    large = Image.linear_gradient("L").resize((300, 120)).convert("RGB")
    large.save(tmp_path / "large.png")
    page = show(made(preprocess=preprocess))
    page.set_input_files("#file", tmp_path / "large.png")
    page.locator("#images button").nth(2).wait_for()
    found = np.array(page.evaluate("[...data.images[2].pixels]")).reshape(8, 12, 3)
    expected = preprocess(large).transpose(1, 2, 0).astype(float)
    assert np.abs(found - expected).mean() < 12, "browsers scale in their own way"
    assert ((found == 0).all(2) == (expected == 0).all(2)).mean() > 0.8


def test_a_dropped_file_that_is_not_an_image_is_reported(show):
    page = show(made())
    page.evaluate("""() => {
        const files = new DataTransfer();
        files.items.add(new File(["no image"], "<b>notes.txt"));
        window.dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
    }""")
    page.locator("#message:not(:empty)").wait_for()
    displayed = page.text_content("#message")
    assert displayed == "<b>notes.txt is not an image that this browser can read."
    assert page.locator("#images button").count() == 2


def test_malicious_names_stay_text(show):
    names = {"class_names": [EVIL, "dog", "owl"], "names": [EVIL, "b"], "title": EVIL}
    page = show(made(labels=[0, 1], tour=[{"text": EVIL, "state": EVIL}], **names))
    assert EVIL in page.text_content("#tour")
    assert EVIL in page.text_content("#try")
    for tab, part in (("heads", "#effect-words"), ("lens", "#lens-classes"), ("steps", "#message")):
        page.click(f"#tab-{tab}")
        page.evaluate(SETTLED)
        assert EVIL.split("=")[0] in page.text_content(part)
    page.wait_for_timeout(100)
    assert page.evaluate("window.evil") is None
    assert page.locator("img").count() == 0
    assert page.title() == page.text_content("#title") == EVIL
    assert page.text_content("#image-name") == EVIL
    assert EVIL in page.text_content("#bars")
    assert EVIL in page.text_content("#truth")


def test_nothing_is_loaded_or_evaluated(show):
    page = show(made())
    answer = page.evaluate("fetch('https://example.com/').then(() => 'loaded', () => 'refused')")
    assert answer == "refused"
    script = """new Promise((done) => setTimeout(() => {
        try { new Function("1")(); done("ran"); } catch (error) { done(error.name); }
    }))"""  # in a task of the page itself: the policy does not apply to code that a test evaluates
    assert page.evaluate(script) == "EvalError"
    page.messages.clear()
    page.requests.clear()


def test_non_finite_numbers_are_never_shown(show):
    page = show(made())
    before = numbers(page)
    page.evaluate("change({ temperature: NaN })")
    again = numbers(page)
    np.testing.assert_array_equal(again.logits, before.logits)
    assert "not finite" in page.text_content("#message")
    assert page.text_content("#changes") == "Nothing is changed."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 900, 1280])
def test_the_page_works_on_narrow_and_dark_screens(show, scheme, width):
    size = {"width": width, "height": 800}
    page = show(made(), viewport=size, color_scheme=scheme)
    for tab in ("heads", "lens", "steps", "attention"):
        page.click(f"#tab-{tab}")
        page.evaluate(SETTLED)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", ground)[0]) < 60) == (scheme == "dark")
    heights = page.evaluate(
        "[...document.querySelectorAll('button')].map(b => b.offsetHeight).filter(Boolean)"
    )
    assert min(heights) >= 20


def test_a_frame_in_a_notebook_works(browser, tmp_path):
    cell = f'<!doctype html><meta charset="utf-8"><title>n</title>{made()._repr_html_()}'
    (tmp_path / "notebook.html").write_text(cell, encoding="utf-8")
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/notebook.html")
    page.frames[1].evaluate(SETTLED)
    assert "%" in page.frames[1].text_content("#answer")
    page.close()


def test_without_workers_the_page_says_so(browser, tmp_path):
    made().save(tmp_path / "page.html")
    page = browser.new_page()
    page.add_init_script("delete window.Worker")
    page.goto(f"file://{tmp_path}/page.html")
    assert "no workers" in page.text_content("#message")
    page.close()
