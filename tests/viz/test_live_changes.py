"""Other changes to the image and the model on the live page, and files that are not images."""

import base64
import io

import numpy as np
import pytest
from live_pages import STATISTICS, made, model, numbers, same, sample_images, settle
from PIL import Image

from minivit.functional import softmax_forward
from minivit.models import blur_patches


def patch_box(page, row, column):
    box = page.locator("#stage").bounding_box()
    return (
        box["x"] + (column + 0.5) * box["width"] / 3,
        box["y"] + (row + 0.5) * box["height"] / 2,
    )


def drag(page, start, end):
    page.mouse.move(*patch_box(page, *start))
    page.mouse.down()
    page.mouse.move(*patch_box(page, *end), steps=4)
    page.mouse.up()


def patch(images, row, column):
    """A view."""
    return images[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]


def logits_of(one, images):
    return one(STATISTICS.normalize(images))[0]


MEAN = np.rint(255 * np.array(STATISTICS.mean)).astype(np.uint8)[:, None, None]


def test_two_patches_are_swapped_by_a_drag_and_by_two_clicks(show):
    one, images = model(), sample_images()[:1]
    page = show(made(one))
    swapped = images.copy()
    patch(swapped, 0, 0)[...], patch(swapped, 1, 2)[...] = patch(images, 1, 2), patch(images, 0, 0)
    page.check("input[value=swap]")
    drag(page, (0, 0), (1, 2))
    same(numbers(page).logits, logits_of(one, swapped))
    page.mouse.click(*patch_box(page, 1, 2))
    assert "Row 2, column 3 is picked up" in page.text_content("#readout")
    page.mouse.click(*patch_box(page, 0, 0))
    same(numbers(page).logits, logits_of(one, images))


def test_a_patch_is_moved_with_the_keyboard(show):
    one, images = model(), sample_images()[:1]
    page = show(made(one))
    page.check("input[value=move]")
    page.focus("#stage")
    for key in ("Enter", "ArrowUp", "Enter"):  # from the center, row 2, column 2
        page.keyboard.press(key)
    moved = images.copy()
    patch(moved, 0, 1)[...] = patch(images, 1, 1)
    patch(moved, 1, 1)[...] = MEAN
    same(numbers(page).logits, logits_of(one, moved))
    page.click("#undo")
    same(numbers(page).logits, logits_of(one, images))


def test_a_patch_is_blurred(show):
    one, images = model(), sample_images()[:1]
    page = show(made(one))
    page.check("input[value=blur]")
    page.mouse.click(*patch_box(page, 0, 2))
    same(numbers(page).logits, logits_of(one, blur_patches(images, [2], 4)))
    assert page.text_content("#changes") == "Changed: 1 patch blurred."


def test_paint_on_moved_patches_appears_where_it_was_drawn(show):
    page = show(made())
    page.evaluate("change({order: [5, 1, 2, 3, 4, 0]})")
    page.check("input[value=paint]")
    page.mouse.click(*patch_box(page, 0, 0))
    seen = np.array(page.evaluate("[...visible(state)]")).reshape(8, 12, 3)
    assert (seen[1:3, 1:3] == [0xD0, 0x1C, 0x1C]).all()
    expected = sample_images()[0].transpose(1, 2, 0)[0:4, 0:4]
    np.testing.assert_array_equal(seen[4:, 8:], expected)


def test_the_class_token_is_forced_by_clicks(show, monkeypatch):
    one, images = model(), sample_images()[:1]
    page = show(made(one))
    page.check("input[value=force]")
    page.mouse.click(*patch_box(page, 0, 1))
    found = numbers(page)

    def forced(scores):
        probs, cache = softmax_forward(scores)
        probs[:, :, 0] = np.eye(7)[2]
        return probs, cache

    monkeypatch.setattr("minivit.functional.attention.softmax_forward", forced)
    same(found.logits, logits_of(one, images))
    assert page.locator("#marks .forced").count() == 1


def test_without_a_class_token_forcing_is_not_offered(show):
    page = show(made(model(pool="mean")))
    assert not page.is_visible("#force")


def as_png(image):
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def send_file(page, event, encoded, name="own.png"):
    """Drop or paste a file."""
    page.evaluate(
        """([kind, encoded, name]) => {
            const files = new DataTransfer();
            files.items.add(new File([bytes(encoded)], name));
            const options = { cancelable: true, dataTransfer: files, clipboardData: files };
            const Event = kind === "drop" ? DragEvent : ClipboardEvent;
            window.dispatchEvent(new Event(kind, options));
        }""",
        [event, encoded, name],
    )


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_an_image_is_dropped_and_pasted(show, event):
    one, images = model(), sample_images()[1:]
    page = show(made(one, sample_images()[:1]))
    send_file(page, event, as_png(Image.fromarray(images[0].transpose(1, 2, 0))))
    page.locator("#images button").nth(1).wait_for()
    same(numbers(page).logits, logits_of(one, images))


def test_a_paste_without_an_image_is_reported(show):
    page = show(made())
    page.evaluate(
        "window.dispatchEvent(new ClipboardEvent('paste', {clipboardData: new DataTransfer()}))"
    )
    assert page.text_content("#message") == "There is no image on the clipboard."


def test_grayscale_and_transparent_images(show):
    one = model()
    page = show(made(one))
    half = np.zeros((8, 12, 4), np.uint8)
    half[:, :6, 3] = 255  # black, and fully transparent
    send_file(page, "drop", as_png(Image.fromarray(half)))
    page.locator("#images button").nth(2).wait_for()
    seen = np.where(half[None, ..., 3] > 0, 0, 255)[:, None].repeat(3, 1).astype(np.uint8)
    same(numbers(page).logits, logits_of(one, seen))
    gray = sample_images(channels=1)[0, 0]
    send_file(page, "drop", as_png(Image.fromarray(gray)))
    page.locator("#images button").nth(3).wait_for()
    same(numbers(page).logits, logits_of(one, np.stack([gray] * 3)[None]))


def test_an_image_of_100_megapixels(show):
    page = show(made())
    send_file(page, "drop", as_png(Image.new("1", (10_100, 10_000), 1)), "vast.png")
    page.wait_for_selector("#message:not(:empty)", timeout=60_000)
    message = page.text_content("#message")
    assert message.startswith("vast.png ")
    assert "101 megapixels" in message or "not an image that this browser can read" in message
    assert page.locator("#images button").count() == 2
    settle(page)


CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def test_the_camera_provides_images_until_it_is_stopped(browser, tmp_path):
    from browser import FLAGS, chromium

    made().save(tmp_path / "page.html")
    with browser.browser_type.launch(executable_path=chromium(), args=[*FLAGS, *CAMERA]) as other:
        page = other.new_page()
        page.goto(f"file://{tmp_path}/page.html")
        settle(page)
        page.click("#camera")
        page.wait_for_selector("#camera[aria-pressed=true]")
        assert page.text_content("#image-name") == "camera"
        first = page.evaluate("[...state.pixels]")
        page.wait_for_timeout(1500)
        assert page.evaluate("[...state.pixels]") != first
        page.click("#camera")
        page.wait_for_selector("#camera[aria-pressed=false]")
        settle(page)
        assert page.text_content("#changes") == "Nothing is changed."


def test_without_a_camera_the_page_says_so(show):
    page = show(made())
    page.click("#camera")
    page.wait_for_selector("#message:not(:empty)")
    assert "The camera cannot be used here" in page.text_content("#message")


@pytest.mark.parametrize("missing", ["scripts", "workers"])
def test_without_scripts_or_workers_the_still_maps_are_shown(browser, tmp_path, missing):
    made(names=["<b>one</b>", "two"]).save(tmp_path / "page.html")
    context = browser.new_context(java_script_enabled=missing != "scripts")
    page = context.new_page()
    if missing == "workers":
        page.add_init_script("delete window.Worker")
    page.goto(f"file://{tmp_path}/page.html")
    shown = page.locator("noscript img" if missing == "scripts" else ".still img")
    box = shown.bounding_box()
    assert box["width"] > 200
    assert box["height"] > 200
    words = page.inner_text("body")
    assert "is not available" in words
    assert "<b>one</b>: " in words
    context.close()
