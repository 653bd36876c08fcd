"""Look at the built book as a reader does: headless Chromium with the network cut.

By hand: ``python tests/browser.py _build/html OUTDIR`` takes all pages, wide and narrow, light and dark.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Route,
    TimeoutError as PageTimeout,
    sync_playwright,
)

WIDTHS = (1280, 390)
HEAVIEST = 3.0  # megabytes of a page and all that it reads before its reader asks for more
PATIENCE = 20_000  # milliseconds for the charts of a page to be drawn
LOCAL = {"localhost", "127.0.0.1", "::1"}
# Without these Chromium itself talks to its maker at every start, and cannot run as root.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """The system's Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Visit:
    """A page, the files it read (``opened``: before it was scrolled), the outside addresses it asked for, its scripts'
    errors and warnings, missing files.
    """

    page: Page
    read: set[Path] = field(default_factory=set)
    opened: set[Path] = field(default_factory=set)
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield running
        finally:
            running.close()


@contextmanager
def visit(
    running: Browser,
    file: Path,
    *,
    width: int = 1280,
    theme: Literal["light", "dark"] = "light",
    scripts: bool = True,
) -> Iterator[Visit]:
    """Open an HTML file, wait until formulas and charts are drawn, and yield it with what went wrong."""
    context = running.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=scripts
    )
    seen = Visit(context.new_page())

    def gate(route: Route) -> None:
        parts = urlsplit(route.request.url)
        if parts.scheme == "file":
            seen.read.add(Path(unquote(parts.path)))
        if parts.scheme in {"file", "data", "blob"} or parts.hostname in LOCAL:
            route.continue_()
        else:
            seen.outside.append(route.request.url)
            route.abort()

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            (seen.errors if message.type == "error" else seen.warnings).append(message.text)

    def failed(request: Request) -> None:
        seen.errors.append(f"not loaded: {request.url}")

    context.route("**/*", gate)
    seen.page.on("console", heard)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("requestfailed", failed)
    try:
        seen.page.goto(file.resolve().as_uri())
        if scripts:
            settle(seen)
        yield seen
    finally:
        context.close()


def settle(seen: Visit) -> None:
    """Wait until every formula is set, and every chart drawn that is not folded away; what never comes is an error."""
    seen.page.wait_for_load_state("networkidle")
    seen.opened = set(seen.read)
    for figure in seen.page.locator(".vega-figure").all():
        if figure.evaluate("node => node.checkVisibility()"):
            figure.scroll_into_view_if_needed()
    waited = {
        "charts": "() => [...document.querySelectorAll('.vega-figure:not(.drawn)')].every(f => !f.checkVisibility())",
        "formulas": "() => !document.querySelector('.math:not(:has(mjx-container))')",
    }
    for what, done in waited.items():
        try:
            seen.page.wait_for_function(done, timeout=PATIENCE)
        except PageTimeout:
            seen.errors.append(f"{what} not drawn after {PATIENCE / 1000:.0f} s")
    seen.page.evaluate("scrollTo(0, 0)")


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def weight(seen: Visit) -> float:
    """Megabytes of all files that the page has read before it was scrolled."""
    return sum(file.stat().st_size for file in seen.opened if file.is_file()) / 1e6


def barriers(page: Page) -> list[str]:
    """What axe-core finds serious or critical: the rule, and where."""
    # Preloading would ask for the style sheets again, which a page read from a folder is refused.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]


def photograph(site: Path, out: Path) -> list[str]:
    """PNG files of all pages of a site, by page, width and theme; returns what was wrong with them."""
    out.mkdir(parents=True, exist_ok=True)
    skipped = {"genindex.html", "search.html"}
    pages = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts and p.name not in skipped]
    wrong: list[str] = []
    with browser() as running:
        for file in pages:
            name = "-".join(file.relative_to(site).with_suffix("").parts)
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    with visit(running, file, width=width, theme=theme) as seen:
                        seen.page.screenshot(path=out / f"{name}-{width}-{theme}.png", full_page=True)
                        faults = [f"outside: {url}" for url in seen.outside] + seen.errors
                        faults += [f"warning, {n} times: {text}" for text, n in Counter(seen.warnings).items()]
                        if overflow(seen.page) > 0:
                            faults.append(f"wider than the window by {overflow(seen.page)} px")
                        faults += barriers(seen.page)
                        faults += [f"{weight(seen):.2f} MB"] if weight(seen) > HEAVIEST else []
                        wrong += [f"{name} at {width} {theme}: {fault}" for fault in faults]
    return wrong


if __name__ == "__main__":
    problems = photograph(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(problems) or "nothing wrong")
    sys.exit(1 if problems else 0)
