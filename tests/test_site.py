"""The documentation site: it builds without warnings, its links are valid, and it works offline
from local files."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from browser import FLAGS, chromium, playwright

import minivit.functional

bs4 = pytest.importorskip("bs4", reason="the site's packages are not installed")
for needed in ("sphinx", "myst_nb", "furo", "sphinx_design", "sphinx_external_toc", "ziamath"):
    pytest.importorskip(needed, reason="the site's packages are not installed")

ROOT = Path(__file__).parents[1]
PAGES = (
    *("docs/index", "docs/own-images", "docs/api/functional/layernorm", "docs/api/models"),
    *("notebooks/04_layernorm_gelu", "notebooks/10_attention_maps", "notebooks/07_encoder"),
    *("docs/measured", "docs/api/commands", "_modules/minivit/functional/layernorm"),
)
"""One of each kind, to be opened."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site's folder and the output of its build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "."]
    result = subprocess.run(
        [*command, str(folder)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    return folder, result


@pytest.fixture(scope="module")
def site(built):
    return built[0]


class Seen(HTMLParser):
    """The contents of a page: its anchors and links, what is loaded with it, its formulas, its
    other text."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded, self.inside = set(), [], [], []
        self.text = self.math = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if key in attrs}
        self.links += [attrs["href"]] if tag == "a" and "href" in attrs else []
        self.loaded += [attrs["src"]] if "src" in attrs else []
        self.loaded += [attrs["href"]] if tag == "link" and "href" in attrs else []
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        self.math += data if "math" in self.inside else ""
        if not {"pre", "code", "math", "script", "style"} & set(self.inside):
            self.text += data


@pytest.fixture(scope="module")
def seen(site):
    """All pages, by their paths."""
    return {path.relative_to(site).as_posix(): Seen(path) for path in sorted(site.rglob("*.html"))}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def open_page(site, browser):
    """Opens a local page without a network; collects its `requests` and, in `errors`, those of
    its scripts."""
    contexts = []

    def open_page(name, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto((site / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_the_site_is_built_without_a_warning(built):
    _, result = built
    assert (result.returncode, result.stderr) == (0, "")


def test_every_link_is_valid(site, seen):
    """Links within the site lead to a file and an anchor; links to the repository lead to an
    existing file."""
    to_file = re.compile(r"https://github\.com/[^/]+/[^/]+/(?:blob|tree)/main/(.+)")
    broken, inside, to_files = [], 0, 0
    for name, page in seen.items():
        for link in page.links:
            address, anchor = urldefrag(urljoin(f"file:///{name}", link))
            in_repository = to_file.fullmatch(address)
            if in_repository:
                to_files += 1
                found = (ROOT / unquote(in_repository[1])).exists()
            elif address.startswith("file:"):
                inside += 1
                path = unquote(urlsplit(address).path).lstrip("/")
                found = (site / path).is_file() and (
                    not anchor or unquote(anchor) in seen[path].anchors
                )
            else:
                continue
            if not found:
                broken.append((name, link))
    assert not broken
    assert inside > 1_000
    assert to_files > 10


def test_nothing_is_loaded_from_elsewhere(site, seen):
    """No page loads a script, a style, an image or a frame from another host, and neither does any
    style sheet."""
    for name, page in seen.items():
        assert [one for one in page.loaded if re.match(r"(https?:)?//", one)] == [], name
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text("utf-8")), path


@pytest.mark.parametrize("name", PAGES)
def test_a_page_works_offline(open_page, name):
    """It requests only local files, all its images are shown, and no script fails."""
    page = open_page(name)
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.errors == []
    images = page.evaluate("[...document.images].map(i => { i.loading = 'eager'; return i.src })")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    shown = page.evaluate("[...document.images].filter(i => i.naturalWidth).map(i => i.src)")
    assert shown == images
    if name.startswith(("notebooks/04", "docs/measured")):
        assert len(images) >= 2


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(open_page, name):
    page = open_page(name, viewport={"width": 360, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("name", ["docs/api/functional/layernorm", "notebooks/04_layernorm_gelu"])
def test_formulas_are_drawn(open_page, name):
    """By the font that comes with the site, which has stretchy delimiters."""
    page = open_page(name)
    page.evaluate("document.fonts.ready")
    faces = "[...document.fonts].filter(f => f.family.includes('STIX')).map(f => f.status)"
    assert page.evaluate(faces) == ["loaded"]
    sizes = page.evaluate(
        "[...document.querySelectorAll('article math mfrac')].map(f => f.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert len(sizes) >= 2
    assert all(width > 3 and height > 15 for width, height in sizes)


def test_no_formula_is_left_as_source_text(seen):
    for name, page in seen.items():
        assert not re.findall(r"\$[^$\n]+\$|\\(?:frac|sqrt|sum|hat|mathrm)\b", page.text), name
        assert "\\" not in page.math, name


def test_search_finds_a_pair_and_leads_to_it(open_page):
    page = open_page("docs/index")
    page.fill(".sidebar-search", "layernorm")
    page.press(".sidebar-search", "Enter")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a", has_text="layernorm_backward")
    found.first.click()
    page.wait_for_load_state()
    assert "api/functional/layernorm.html" in page.url
    assert page.locator("dt[id='minivit.functional.layernorm_backward']").is_visible()
    assert [url for url in page.requests if not url.startswith("file:")] == []


def test_the_site_follows_the_systems_dark_mode(open_page):
    def background(scheme):
        page = open_page("docs/index", color_scheme=scheme)
        rgb = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", rgb)[:3]))

    assert background("dark") < 120 < 600 < background("light")


def test_each_pair_appears_together_with_its_formulas(site):
    """Every forward of `functional` has its backward directly below it, in the same box."""
    boxes = {}
    for path in (site / "docs" / "api" / "functional").glob("*.html"):
        for box in bs4.BeautifulSoup(path.read_bytes(), "html.parser").select("div.pair"):
            forward, backward = (dt["id"].split(".")[-1] for dt in box.select("dt[id]"))
            boxes[forward] = backward, len(box.find_all("math"))
    names = minivit.functional.__all__
    assert {forward: backward for forward, (backward, _) in boxes.items()} == {
        name: name.replace("_forward", "_backward") for name in names if name.endswith("_forward")
    }
    assert boxes["layernorm_forward"][1] == 3


def test_links_of_the_readme_lead_to_existing_files():
    """It is not a page of the site, whose build checks the links of all pages."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link}
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
