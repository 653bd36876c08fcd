"""A small book, from notebook to browser: numbered, cited, drawn, and asking nobody outside for anything."""

import re
import shutil
from pathlib import Path
from typing import Any

import findings
import nbformat
import outputs
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Browser

from helpers import ROOT, browser
from repro.params import PAPERS
from repro.publish import notebooks, site
from repro.publish.notebooks import write_stamped

TOC = "format: jb-book\nroot: index\nchapters:\n  - file: notebooks/mini\n  - file: findings\n  - file: references\n"
REFERENCES = "# References\n\n```{bibliography}\n```\n"
INDEX = r"""# A small book

As {cite:t}`gu2024cmr` draw it: {numref}`fig-loss`, {numref}`tab-loss`, {eq}`law`, {doc}`notebooks/mini`.

$$ \Delta L(T) = \alpha_2 T^{s_2} + \alpha_3 T^{s_3} + \beta_2 $$ (law)
"""
TEXT = "# Mini\n\nThe loss falls by {glue:text}`drop:.2f` nats: {numref}`fig-loss`, {numref}`tab-loss`."
SETUP = "import altair as alt, numpy as np, pandas as pd\nfrom repro.show import display\ndisplay.enable()"
FINDINGS = """# Findings

```{record} quick
```

## It falls

By {recorded}`ledger | id == 'A001' | replicated | {points:.0f} points`.

```{assumes}
A001 differs in print
A001 agrees in runs
```
"""
LEDGER = """id,paper,recomputed_verdict,replicated,replicated_verdict,scale,study,page
A001,cmr,differs,0.223,agrees,one seed,f00,mini
"""
SHOWN = {"text/csv": LEDGER, "text/html": "<p>A ledger.</p>"}
SHOW = f"from IPython.display import display as show\nshow({SHOWN!r}, raw=True)"
CHART = """frame = pd.DataFrame({"t": range(points), "loss <b>": np.arange(points) / 7, "name": "<i>x</i>", "layer": 2})
alt.Chart(frame).mark_circle(size=4000, opacity=1).encode(x="t", tooltip=["name"]).properties(
    width=690, height=200, description="Loss </script> against tokens")"""
TABLE = """from repro import show
from repro.show import style, tables
show.tables.styled(frame, {"loss <b>": "{:.2f}"}, "", index=True)"""
PANELS = "style.grid([alt.Chart(frame).mark_line().encode(x='t').properties(width=300, height=50)] * 3, columns=3)"
WIDE = 'tables.styled(pd.DataFrame([range(10**9, 10**9 + 8)]), "{}", "", index=False)'
ICON = re.compile(r'(?<=[" ])fa-((?!solid|regular|brands)[a-z-]+)(?=[" ])')
GLUE = "display.glue(drop=np.float64(1.2345))"


def figure(source: str, **options: str) -> nbformat.NotebookNode:
    cell: nbformat.NotebookNode = new_code_cell(source, metadata={"mystnb": {"figure": options}})
    return cell


def write_book(root: Path) -> None:
    (root / "book").mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", root)
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, root / "book" / name)
    shutil.copy(ROOT / "book/references.bib", root / "book")
    for name, text in {
        "_toc.yml": TOC,
        "index.md": INDEX,
        "references.md": REFERENCES,
        "findings.md": FINDINGS,
    }.items():
        (root / "book" / name).write_text(text)
    (root / "results/quick").mkdir(parents=True)
    (root / "results/quick/claims.csv").write_text(LEDGER)
    cells = [
        new_markdown_cell(TEXT),
        new_code_cell("points = 3", metadata={"tags": ["parameters"]}),
        new_code_cell(SETUP),
        figure(CHART, name="fig-loss", caption="Loss against tokens, by {cite:t}`gu2024cmr`."),
        figure(TABLE, name="tab-loss", classes="table", caption="The losses."),
        new_code_cell(GLUE),
        new_code_cell(SHOW),
        figure(WIDE, name="tab-wide", classes="table", caption="Eight numbers."),
        figure(PANELS, name="fig-panels", caption="Three panels."),
    ]
    cells[-1].metadata["tags"] = ["hide-output"]
    nbformat.write(new_notebook(cells=cells), root / "mini.ipynb")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("book")
    write_book(root)
    executed = root / "_build/notebooks/mini.ipynb"
    notebooks.execute(root / "mini.ipynb", executed, {"points": 4})
    assert site.build(root, {"mini": executed}, root / "_build/html") is True
    return root


def build(root: Path, *names: str) -> bool:
    executed = {name: root / f"_build/notebooks/{name}.ipynb" for name in names}
    return site.build(root, executed, root / "_build/html")


def test_nothing_is_built_twice(root: Path) -> None:
    assert build(root, "mini") is False


def test_jupyter_shows_the_numbers_that_its_prose_has_holes_for(root: Path) -> None:
    cells = nbformat.read(root / "_build/notebooks/mini.ipynb", as_version=4).cells
    (glued,) = (cell for cell in cells if cell.source == GLUE)
    assert [output.text for output in glued.outputs if output.output_type == "stream"] == ["drop: 1.2345\n"]


@pytest.mark.parametrize("paper", PAPERS)
def test_a_book_of_one_paper_lists_pages_of_the_whole_book(paper: str) -> None:
    book = ROOT / "book"
    root, *pages = re.findall(r"(?:file|root): (\S+)", (book / f"_toc-{paper}.yml").read_text())
    assert (book / f"{root}.md").is_file()
    assert set(pages) < set(re.findall(r"file: (\S+)", (book / "_toc.yml").read_text()))
    own = [name for name in pages if name.startswith("notebooks/")]
    assert own and all(notebooks.declared(ROOT / f"{name}.ipynb").schemas == (PAPERS[paper],) for name in own)


def test_figures_tables_and_numbers_are_in_the_pages(root: Path) -> None:
    page = (root / "_build/html/notebooks/mini.html").read_text()
    assert 'class="caption-number">Fig. 1 ' in page
    assert 'class="caption-number">Table 1 ' in page
    assert '<span class="pasted-text">1.23</span>' in page
    assert "loss &lt;b&gt;" in page and "&lt;i&gt;x" in page and "<i>x" not in page
    assert '<th id="T_t_level0_col0" scope="col"' in page and 'scope="row"' in page
    assert "<th></th>" not in page and ">&nbsp;</th>" not in page
    index = (root / "_build/html/index.html").read_text()
    for resolved in ("Fig. 1", "Table 1", "(1)", "Gu <em>et al.</em>", "references.html#"):
        assert resolved in index


def test_findings_say_what_they_rest_on_and_write_numbers_of_it(root: Path) -> None:
    page = (root / "_build/html/findings.html").read_text()
    assert "By 22 points." in page and "Runs of the record" in page and ">yes</td>" in page
    assert 'Assumes: <a class="reference external" href="notebooks/mini.html#A001">A001</a> differs in print.' in page


ROW = pd.Series({"recomputed_verdict": "agrees", "replicated_verdict": "differs", "study": "f00"}, name="A001")


@pytest.mark.parametrize(
    ("here", "assumed", "problem"),
    [
        ({}, "A001 agrees in print", None),
        ({}, "A001 differs in runs", None),
        ({}, "A001 differs in print", "by the record: agrees"),
        ({"recomputed_verdict": "differs"}, "A001 agrees in print", "by this book: differs"),
        ({"recomputed_verdict": "differs", "study": "b00"}, "A001 agrees in print", "by this book: differs"),
        ({"replicated_verdict": "agrees"}, "A001 differs in runs", "by this book: agrees"),
        ({"replicated_verdict": "agrees", "study": "b00"}, "A001 differs in runs", None),
        ({"replicated_verdict": "not run", "study": None}, "A001 differs in runs", None),
        ({}, "A002 agrees in print", "no claim A002"),
        ({}, "A001 agrees", "must be a claim, its verdict, and"),
    ],
)
def test_a_verdict_that_changed_is_a_fault_unless_by_other_runs(here: Any, assumed: str, problem: str | None) -> None:
    ledgers = {
        "the record": ROW.to_frame().T,
        "this book": pd.concat([ROW.drop(list(here)), pd.Series(here)]).rename("A001").to_frame().T,
    }
    found = findings.fault(ledgers, assumed)
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_whatever_does_not_resolve_fails_the_build_and_the_old_site_stays(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    before = (copy / "_build/html/index.html").read_bytes()
    broken = "{numref}`fig-none` {cite:t}`nobody1900` {eq}`no-law` [a](no-page.md)"
    (copy / "book/index.md").write_text(f"{INDEX}\n{broken}\n")
    ledger = copy / "results/quick/claims.csv"
    ledger.write_text(LEDGER.replace("agrees", "cannot be told"))
    (copy / "book/findings.md").write_text(FINDINGS.replace("A001 differs", "A999 differs"))
    executed = copy / "_build/notebooks/mini.ipynb"
    nb = nbformat.reads(executed.read_text().replace("`drop:.2f`", "`no_number:.2f`"), as_version=4)
    write_stamped(nb, executed, {"complete": True, "inputs": "", "seconds": 1.0})
    for _ in range(2):  # the second try must not pass for having seen the pages before
        with pytest.raises(site.SiteFailed) as failed:
            build(copy, "mini")
        for name in ("fig-none", "nobody1900", "no-law", "no-page", "no_number"):
            assert name in str(failed.value)
        for problem in (
            "there is no claim A999",
            "claim A001 is assumed: agrees in runs; by the record: cannot be told",
        ):
            assert f"finding 'It falls': {problem}" in str(failed.value)
    assert (copy / "_build/html/index.html").read_bytes() == before


def test_numbers_and_code_are_files_beside_the_pages(root: Path) -> None:
    site_, page = root / "_build/html", (root / "_build/html/notebooks/mini.html").read_text()
    chart, table = (pd.read_csv(site_ / f"numbers/{name}.csv") for name in ("fig-loss", "tab-loss"))
    assert list(chart["loss <b>"].round(2)) == list(table["loss <b>"]) == [0, 0.14, 0.29, 0.43]
    assert set(chart["dataset"]) == {1} and set(chart["layer"]) == {2}, "a column of the chart keeps its name"
    link = re.search(r'href="\.\./(code/repro\.show\.tables\.html)#(line-\d+)"', page)
    assert link is not None, "no link to the function that a cell calls"
    line = (site_ / link[1]).read_text().split(f'<span id="{link[2]}">')[1].split("<span id=")[0]
    assert re.sub(r"<[^>]*>", "", line) == "def styled(\n"


def test_heads_above_each_other_are_one_in_csv_and_fields_of_a_cell_stay_apart() -> None:
    frame = pd.DataFrame(
        {("what", "what"): ["x"], ("error", "in print"): ["1<br>2"], ("error", "here"): ["<p>a</p><p>b</p>"]}
    )
    shown = frame.to_html(index=False, escape=False)
    assert outputs._numbers(shown).splitlines()[0] == 'what,"error, in print","error, here"'
    assert [" ".join(cell.split()) for cell in outputs._numbers(shown).splitlines()[1].split(",")] == [
        "x",
        "1 2",
        "a b",
    ]
    heads = "<tr><th></th><th>parameters</th></tr><tr><th>law</th><th></th></tr>"
    named = f"<table><thead>{heads}</thead><tbody><tr><td>line</td><td>2</td></tr></tbody></table>"
    assert outputs._numbers(named) == "law,parameters\nline,2\n"


def test_unfinished_or_missing_notebooks_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(site.SiteFailed, match="mini"):
        site.build(root, {"mini": root / "mini.ipynb"}, tmp_path / "html")
    with pytest.raises(site.SiteFailed, match="other"):
        build(root, "other")


@pytest.mark.parametrize("page", ["index.html", "notebooks/mini.html", "references.html"])
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_pages_are_whole_with_the_network_cut(root: Path, chromium: Browser, page: str, width: int) -> None:
    with browser.visit(chromium, root / "_build/html" / page, width=width) as seen:
        assert seen.outside == []
        assert seen.errors == []
        assert browser.overflow(seen.page) <= 0
        if page == "index.html":
            assert seen.page.locator("mjx-container mjx-math").count() == 1


def test_code_is_folded_until_one_switch_shows_it_everywhere(root: Path, chromium: Browser) -> None:
    with browser.visit(chromium, root / "_build/html/notebooks/mini.html") as seen:
        code, switch = seen.page.get_by_text("alt.Chart").first, seen.page.get_by_role("button", name="Show code")
        assert not code.is_visible()
        switch.click()
        assert code.is_visible()
        seen.page.reload()
        assert code.is_visible(), "not remembered"
        seen.page.get_by_role("button", name="Hide code").press("Enter")
        assert not code.is_visible()


def test_a_chart_says_its_caption_and_a_folded_one_is_read_when_opened(root: Path, chromium: Browser) -> None:
    with browser.visit(chromium, root / "_build/html/notebooks/mini.html") as seen:
        assert seen.page.get_by_role("img", name="Loss against tokens, by Gu et al. [2024].", exact=True).is_visible()
        before = {file for file in seen.read if file.parent.name == "charts"}
        assert len(before) == 1
        seen.page.locator("details:has(#fig-panels) > summary").click()
        seen.page.get_by_role("img", name="Three panels.").wait_for()
        assert len([file for file in seen.read if file.parent.name == "charts"]) == 2


def test_wide_things_have_the_right_column_stand_below_each_other_on_phones_and_scroll_by_keys(
    root: Path, chromium: Browser
) -> None:
    rows = {}
    for width in browser.WIDTHS:
        with browser.visit(chromium, root / "_build/html/notebooks/mini.html", width=width) as seen:
            seen.page.locator("details:has(#fig-panels) > summary").click()
            tops = seen.page.locator("#fig-panels .vega-live svg .role-scope > g > .background")
            tops.first.wait_for()
            rows[width] = len({round(each.bounding_box()["y"]) for each in tops.all()})
            table = seen.page.locator("#tab-wide table")
            text, wide = seen.page.locator("#tab-loss").bounding_box(), seen.page.locator("#tab-wide").bounding_box()
            assert (wide["width"] > 1.2 * text["width"]) is (width == 1280)
            scrolled = seen.page.get_by_role("group", name="Table 2, scrolls sideways")
            assert scrolled.count() == (width == 390)
            assert browser.overflow(seen.page) <= 0
            if width == 390:
                box = seen.page.locator("#fig-panels .vega-figure")
                assert box.evaluate("node => node.scrollWidth <= node.clientWidth"), "a chart is cut"
                drawn = box.locator("svg").first
                assert drawn.evaluate("node => node.getBoundingClientRect().width == node.getAttribute('width')"), (
                    "shrunk"
                )
                scrolled.focus()
                seen.page.keyboard.press("ArrowRight")
                seen.page.wait_for_function("box => box.scrollLeft > 0", arg=scrolled.element_handle())
                seen.page.emulate_media(media="print")
                assert table.evaluate("node => node.scrollWidth <= node.closest('figure').clientWidth"), "cut in print"
    assert rows == {1280: 1, 390: 3}


def test_on_paper_every_fold_is_open(root: Path, chromium: Browser) -> None:
    with browser.visit(chromium, root / "_build/html/notebooks/mini.html") as seen:
        folded = seen.page.locator("article details:not([open])")
        before = folded.count()
        assert before > 0
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert folded.count() == 0
        seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert folded.count() == before


def test_every_icon_that_the_theme_names_is_drawn(root: Path) -> None:
    named = {name for page in (root / "_build/html").rglob("*.html") for name in ICON.findall(page.read_text())}
    assert named - {"lg"} <= set(re.findall(r"^\.fa-([a-z-]+) ", (ROOT / "book/_static/book.css").read_text(), re.M))


def test_chart_is_drawn_with_tooltip_and_follows_the_theme(root: Path, chromium: Browser) -> None:
    with browser.visit(chromium, root / "_build/html/notebooks/mini.html") as seen:
        label = seen.page.locator(".vega-live svg .role-axis-label text").first
        light = label.evaluate("node => getComputedStyle(node).fill")
        seen.page.locator(".vega-live svg .mark-symbol path").nth(1).hover()
        tooltip = seen.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert "<i>x</i>" in tooltip.inner_text()
        seen.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        changed = "old => getComputedStyle(document.querySelector('.role-axis-label text')).fill !== old"
        seen.page.wait_for_function(changed, arg=light)
        assert seen.page.locator(".vega-live").count() == 1
        assert seen.page.locator(".vega-still").count() == 0
        assert seen.errors == []


def test_without_scripts_the_still_picture_is_there(root: Path, chromium: Browser) -> None:
    with browser.visit(chromium, root / "_build/html/notebooks/mini.html", width=390, scripts=False) as seen:
        still = seen.page.locator(".vega-still").first
        assert still.is_visible()
        assert still.get_attribute("alt") == "Loss </script> against tokens"
        box = still.bounding_box()
        assert box is not None and 100 < box["width"] <= 390 and box["height"] > 50
