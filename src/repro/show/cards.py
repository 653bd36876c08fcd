"""Cards of claims: what a paper says, what its own numbers give, what a run gives, and the verdicts."""

import html
from dataclasses import dataclass

from repro.output import safe


@dataclass(frozen=True)
class Finding:
    """What somebody found: ``text`` is the number, ``how`` what it was computed from, ``scale`` of what runs."""

    who: str
    text: str
    verdict: str
    how: str = ""
    scale: str | None = None


@dataclass(frozen=True)
class Card:
    """One claim; ``printed`` is None where the paper prints no number."""

    id: str
    statement: str
    where: str
    printed: str | None
    findings: tuple[Finding, ...]

    def _repr_html_(self) -> str:
        says = f"<b>{_safe(self.id)}</b> {_safe(self.statement)} <small>{_safe(self.where)}</small>"
        printed = f"<dt>printed</dt><dd>{_safe(self.printed)}</dd>" if self.printed else ""
        found = "".join(map(_found, self.findings))
        return f'<div class="claim" id="{_safe(self.id)}"><p>{says}</p><dl>{printed}{found}</dl></div>'

    def __repr__(self) -> str:
        lines = [f"{self.id} ({self.where}): {self.statement}"]
        lines += [f"  printed: {self.printed}"] if self.printed else []
        for each in self.findings:
            lines.append(f"  {each.who}: {' '.join(filter(None, (f'[{each.verdict}]', each.text, each.scale)))}")
        return "\n".join(lines)


class Cards(tuple[Card, ...]):
    """Cards one below the other."""

    def _repr_html_(self) -> str:
        return "".join(card._repr_html_() for card in self)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))


def _found(finding: Finding) -> str:
    scale = f"<small>{_safe(finding.scale)}</small>" if finding.scale else ""
    return f"<dt>{_safe(finding.who)}</dt><dd>{found_html(finding)} {scale}</dd>"


def found_html(finding: Finding) -> str:
    """The verdict, of a class named like it, and the number; how it was found unfolds, by key and touch too."""
    kind = finding.verdict.replace(" ", "-")
    found = f'<span class="verdict {kind}">{_safe(finding.verdict)}</span> {_safe(finding.text)}'.rstrip()
    if not finding.how:
        return found
    how = _safe(finding.how)
    return f'<details class="how"><summary title="{how}">{found}</summary><small>{how}</small></details>'


def noted(text: str, note: str | None) -> str:
    """Text as HTML, a note below it in small type."""
    return _safe(text) + (f"<br><small>{_safe(note)}</small>" if note else "")


def link(text: str, to: str) -> str:
    return f'<a href="{_safe(to)}">{_safe(text)}</a>'


def _safe(text: str) -> str:
    return html.escape(safe(text, keep="\n"), quote=True)
