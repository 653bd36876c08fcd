"""The glossary: each page links a term where it first uses it, and a link shows what the term means."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sphinx.cmd.build import build_main

from helpers import ROOT, browser

sys.path.insert(0, str(ROOT / "tools"))
import terms

NAMES = [name for entry in terms.entries() for name in entry]


def test_the_glossary_has_what_readers_meet_and_each_name_once() -> None:
    assert {"CMR", "T0", "AICc", "CKA", "McNemar", "bootstrap", "coverage", "LoRA", "HPO"} <= {*NAMES}
    assert len({*NAMES}) == len(NAMES) > 30


@pytest.mark.parametrize("page", terms.pages(), ids=lambda path: path.stem)
def test_every_page_links_a_term_where_it_first_uses_it(page: Path) -> None:
    assert terms.relinked(page) == page.read_text(), "run python tools/terms.py"


def test_only_prose_is_linked_and_only_once() -> None:
    page = [
        "# Seeds\n\nSeeds, `seed`, $seed$, {doc}`seed` and a seed.\n\n| seed |",
        "```\nCPT\n```\nContinual\npretraining: CPT.",
    ]
    said = [
        "# Seeds\n\n{term}`Seeds <seed>`, `seed`, $seed$, {doc}`seed` and a seed.\n\n| seed |",
        "```\nCPT\n```\n{term}`Continual\npretraining <continual pretraining>`: CPT.",
    ]
    assert terms.linked(page) == said == terms.linked(said)
    assert terms.linked(["the critical mixture ratio of seedlings"]) == [
        "the {term}`critical mixture ratio` of seedlings"
    ]


CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_parser", "captions"]
html_static_path = [{static!r}]
html_js_files, html_css_files = ["terms.js"], ["book.css"]
"""
PAGE = "# Page\n\nA {term}`seed` and, again, {term}`seeds <seed>`.\n\n```{toctree}\nglossary\n```\n"
MEANING = "The number that decides the random choices of a run."


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("terms")
    (root / "conf.py").write_text(CONF.format(static=str(ROOT / "book/_static"), extensions=str(ROOT / "book/_ext")))
    (root / "index.md").write_text(PAGE)
    text = MEANING.replace("random", "*random*").replace(" of a", "\n  of a")
    (root / "glossary.md").write_text(f"# Terms\n\n```{{glossary}}\nchance\n  Other.\n\nseed\nstart\n  {text}\n```\n")
    assert build_main(["-q", "-W", "-b", "html", str(root), str(root / "html")]) == 0
    return root / "html/index.html"


def test_a_link_to_a_term_has_its_meaning_without_scripts(page: Path, chromium: Browser) -> None:
    with browser.visit(chromium, page, scripts=False) as seen:
        titles = seen.page.locator("a:has(.std-term)").evaluate_all("links => links.map((link) => link.title)")
        assert titles == [MEANING, MEANING]


def test_pointer_and_keyboard_show_what_a_term_means(page: Path, chromium: Browser) -> None:
    with browser.visit(chromium, page) as seen:
        box, link = seen.page.locator("#term-meaning"), seen.page.locator("a:has(.std-term)").first
        assert box.is_hidden()
        link.hover()
        assert box.is_visible() and box.inner_text() == MEANING
        box.hover()
        seen.page.wait_for_timeout(300)
        assert box.is_visible(), "one can move into the box to read or copy it"
        seen.page.keyboard.press("Escape")
        assert box.is_hidden()
        link.focus()
        assert box.is_visible() and link.get_attribute("aria-describedby") == "term-meaning"
        link.blur()
        assert box.is_hidden() and link.get_attribute("aria-describedby") is None
        link.click()
        seen.page.wait_for_url("**/glossary.html#term-seed")
        assert seen.errors == []


def test_the_first_touch_shows_the_meaning_and_the_second_leads_to_the_glossary(page: Path, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    touched = context.new_page()
    touched.goto(page.as_uri())
    link, box = touched.locator("a:has(.std-term)").last, touched.locator("#term-meaning")
    link.tap()
    assert box.is_visible() and touched.url == page.as_uri()
    place = box.bounding_box()
    assert place is not None and place["x"] >= 0 and place["x"] + place["width"] <= 390
    touched.locator("h1").first.tap()
    assert box.is_hidden()
    link.tap()
    link.tap()
    touched.wait_for_url("**/glossary.html#term-seed")
    context.close()
