"""Tables as a reader sees them."""

from html.parser import HTMLParser

from pandas.io.formats.style import Styler


class _Cells(HTMLParser):
    """Rows of an HTML table as lists of text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data.strip()


def cells(styler: Styler) -> list[list[str]]:
    """The table as a reader sees it."""
    parser = _Cells()
    parser.feed(styler.to_html())
    return parser.rows


def row(styler: Styler, first: str) -> list[str]:
    """The cells of the row whose first header or cell is ``first``."""
    return next(found for found in cells(styler) if found and found[0] == first)
