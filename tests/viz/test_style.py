"""Names in any script and with any symbol are drawn unchanged."""

import io
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from minivit.viz import confusion_figure, gallery_figure, style
from minivit.viz.style import shortened, width

CAT = "猫"


@pytest.fixture(autouse=True)
def _fresh():
    """Resets the state to that of a process that has drawn nothing yet."""
    style._fallbacks.cache_clear()
    style._warned.clear()
    yield
    style._fallbacks.cache_clear()


@pytest.fixture
def cat_font(tmp_path, monkeypatch):
    """Installs a font with one character: 猫, drawn as a full square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(point)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "cat"])
    font.setupCharacterMap({ord(CAT): "cat"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "Cats Sans", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=1000, usWeightClass=400)
    font.setupPost()
    font.save(tmp_path / "cats.ttf")
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "cats.ttf")


def figure(*names):
    return confusion_figure(np.eye(len(names)), names, title=names[0])


def drawn(figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    with Image.open(file) as image:
        return np.asarray(image.convert("L"))


def families(figure) -> dict[str, list[str]]:
    axes = figure.axes[0]
    texts = [axes.title, *axes.get_yticklabels(), *axes.get_xticklabels()]
    return {text.get_text(): text.get_fontfamily() for text in texts}


def test_a_name_takes_the_installed_font_that_has_it(cat_font):
    fig = figure("a " + CAT, "dog")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(fig)
        fig.savefig(io.BytesIO(), format="svg")
    assert families(fig) == {"a " + CAT: ["sans-serif", "Cats Sans"], "dog": ["sans-serif"]}


def test_the_fonts_glyph_is_drawn(cat_font):
    fig = style.Figure(figsize=(2, 2))
    fig.text(0.2, 0.2, CAT, fontsize=72)
    assert (drawn(fig) < 50).mean() == pytest.approx(0.25, abs=0.01), "an inch square of four"


def test_a_character_missing_from_all_fonts_is_reported_in_one_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for names in ((CAT, "犬"), (CAT, "鳥")):
            assert drawn(figure(*names)).min() < 50
        drawn(gallery_figure(np.zeros((2, 3, 8, 8), np.uint8), np.eye(2), (CAT, "犬")))
    assert len(caught) == 1
    assert "no installed font has 犬猫: figures show boxes" in str(caught[0].message)
    assert "\n" not in str(caught[0].message)


def test_the_line_is_short_for_many_characters():
    with pytest.warns(UserWarning, match="has [^a-z…]{20}…: figures show boxes"):
        drawn(figure(*(chr(0x4E00 + i) for i in range(30))))


def test_no_font_is_searched_for_if_the_default_has_all_characters(monkeypatch):
    monkeypatch.setattr(style, "_installed", lambda: pytest.fail("looked for"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(figure("red", "зелёный", "größer\n≤"))


@pytest.mark.parametrize("name", ["US$ or A$", r"$\undefined{$", "$x^2$"])
def test_a_dollar_sign_is_drawn_literally(name):
    fig = figure(name, "b")
    drawn(fig)
    assert not fig.axes[0].title.get_parse_math()
    assert not fig.axes[0].get_yticklabels()[0].get_parse_math()


def test_powers_of_ten_are_drawn_as_powers():
    fig = style.Figure()
    axes = fig.subplots()
    axes.set_yscale("log")
    axes.set_ylim(1, 1000)
    drawn(fig)
    label = axes.get_yticklabels()[0]
    assert "mathdefault" in label.get_text()
    assert label.get_parse_math()


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("abcdefgh", 0.5, "abcdefgh"),
        ("abcdefghi", 0.5, "abc…fghi"),
        ("abcdefghi", 1.0, "…cdefghi"),
        ("日本語の", 0.5, "日本語の"),
        ("日本語の写", 0.5, "日…の写"),
        ("日本語の写", 1.0, "…語の写"),
    ],
)
def test_a_long_text_is_shortened_to_a_width(text, end, expected):
    assert shortened(text, 8, end) == expected
    assert width(shortened(text, 8, end)) <= 8
