"""Notebooks as pages that work offline: they request no file, and formulas are MathML."""

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("nbconvert")
pytest.importorskip("latex2mathml")
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", NOTEBOOKS / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(pages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    assert pages.main(pages.Options(folder, (NOTEBOOKS / "04_layernorm_gelu.ipynb",))) == 0
    return folder / "04_layernorm_gelu.html"


class Seen(HTMLParser):
    """The tags of a page, what they request, and the text outside code."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.requested, self.inside, self.text = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside.append(tag)
        self.requested += [v for k, v in attrs if k == "src" or (k, tag) == ("href", "link")]

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"pre", "code", "style", "math"} & set(self.inside):
            self.text += data


def test_nothing_is_requested(page):
    seen = Seen(page.read_text(encoding="utf-8"))
    assert "script" not in seen.tags
    assert seen.tags.count("img") > 2
    assert all(url.startswith("data:image/") for url in seen.requested)


def test_formulas_are_mathml(page):
    seen = Seen(page.read_text(encoding="utf-8"))
    assert seen.tags.count("math") > 20
    assert {"mfrac", "msqrt"} <= set(seen.tags)
    assert not re.findall(r"\$|\\[a-z]+", seen.text)


def test_large_delimiters_are_kept(pages):
    formula = pages.to_mathml(r"\Bigl\lfloor \frac{a}{b} \Bigr\rfloor")
    assert re.findall("<mo[^>]*>(.)</mo>", formula) == ["⌊", "⌋"]


def test_code_of_figures_is_folded_and_links_lead_to_pages(page):
    html = page.read_text(encoding="utf-8")
    assert '<details class="code"><summary>code of the figure' in html
    assert 'href="05_attention_head.html"' in html
    assert 'href="solutions/04_layernorm_gelu.html"' in html
    code = re.search(r'href="([^"]+functional/layernorm\.py)"', html)[1]
    assert (page.parent / code).resolve().is_file()
