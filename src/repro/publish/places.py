"""Takes the folders of whoever built the book out of what is published."""

import getpass
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repro.home import home

ELSEWHERE = "…"  # for what is on this machine alone


def without_places(text: str) -> str:
    """JSON or plain text in which paths are relative to the project, begin with "~", or with `ELSEWHERE`."""
    known = {place: shown for place, shown in _places() if len(Path(place).parts) > 1}
    # Longest first, because one may lie in another. In JSON an escaped line break, a letter, may stand before a path.
    longest = "|".join(re.escape(place) for place in sorted(known, key=len, reverse=True))
    own = rf"(?:/[\w.@+-]+)*/{re.escape(getpass.getuser())}"
    before, after = r"(?:file://|(?<![\w./~-])|(?<=\\[nrt]))", r"(?![\w-])(/?)"
    return re.sub(rf"{before}(?:({longest})|{own}){after}", lambda found: _shown(known, found[1], found[2]), text)


def _places() -> Iterator[tuple[str, str]]:
    checkout = Path(__file__).parents[3]
    folders = {home(): "", checkout: "", Path.home(): "~", Path(tempfile.gettempdir()): ELSEWHERE}
    folders |= {Path(prefix): ELSEWHERE for prefix in (sys.prefix, sys.base_prefix)}
    for folder, shown in folders.items():
        yield from ((str(folder), shown), (str(folder.resolve()), shown))


def _shown(known: dict[str, str], place: str | None, slash: str) -> str:
    shown = known[place] if place else "~"
    return shown + slash if shown else "" if slash else "."
