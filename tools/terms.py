"""Link the first use of each term of the glossary on every page of the book, and no later one.

The terms are those of `book/glossary.md`. Code, formulas, headings, tables and other links are left alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "book" / "glossary.md"
LINK = re.compile(r"\{term\}`([^`<]+?)(?:\s*<[^`>]+>)?`")
# What is no prose: blocks of code, formulas, roles, code, links, headings, rows of tables, fences and their options.
NO_PROSE = re.compile(
    r"^```.*?^```|\$\$.*?\$\$|\{[\w:]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|\]\([^)]*\)|^[#|:][^\n]*|\*\*[^*\n]*\*\*",
    re.DOTALL | re.MULTILINE,
)


def entries() -> Iterator[tuple[str, ...]]:
    """The names of each entry: one meaning."""
    body = GLOSSARY.read_text().split("```{glossary}\n")[1].split("\n```")[0]
    for entry in body.strip().split("\n\n"):
        yield tuple(line for line in entry.splitlines() if not line.startswith(" "))


def _pattern(names: dict[str, int]) -> re.Pattern[str]:
    """Any name, in the plural too; letters that are small in the glossary may be large at the start of a sentence."""
    longest = sorted(names, key=len, reverse=True)
    start = {name: f"[{name[0]}{name[0].upper()}]" if name.islower() else re.escape(name[0]) for name in names}
    written = (start[name] + r"\s+".join(map(re.escape, name[1:].split(" "))) for name in longest)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(written)})s?(?![\w-])")


def linked(texts: list[str]) -> list[str]:
    """The pieces of one page with the first use of each term linked, whatever was linked before."""
    names = {name: place for place, entry in enumerate(entries()) for name in entry}
    pattern, seen, out = _pattern(names), set(), []
    for text in texts:
        plain, end, pieces = LINK.sub(r"\1", text), 0, []
        taken = [match.span() for match in NO_PROSE.finditer(plain)]
        for match in pattern.finditer(plain):
            if any(low < match.end() and match.start() < high for low, high in taken):
                continue
            found = " ".join(match.group().split())
            name = next(
                n for n in (found, found[0].lower() + found[1:]) for n in (n, n.removesuffix("s")) if n in names
            )
            if names[name] in seen:
                continue
            seen.add(names[name])
            link = f"{{term}}`{name}`" if match.group() == name else f"{{term}}`{match.group()} <{name}>`"
            pieces += [plain[end : match.start()], link]
            end = match.end()
        out.append("".join([*pieces, plain[end:]]))
    return out


def pages() -> list[Path]:
    """Every page but the glossary itself."""
    found = sorted([*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")])
    return [path for path in found if path != GLOSSARY]


def relinked(path: Path) -> str:
    """The text of a page's file as it should be."""
    if path.suffix == ".md":
        return linked([path.read_text()])[0]
    notebook = nbformat.read(path, as_version=4)
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell, text in zip(prose, linked([cell.source for cell in prose]), strict=True):
        cell.source = text
    whole: str = nbformat.writes(notebook)
    return f"{whole}\n"


def main() -> None:
    """Rewrite the pages that differ."""
    for path in pages():
        text = relinked(path)
        if text != path.read_text():
            path.write_text(text)


if __name__ == "__main__":
    main()
