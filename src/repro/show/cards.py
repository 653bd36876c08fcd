"""Cards of claims: what a paper says, what its own numbers give, what a run gives, and the verdicts."""

from __future__ import annotations

import html
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What somebody found: ``text`` is the number, ``title`` what stands under the pointer, ``scale`` of what runs."""

    who: str
    text: str
    verdict: str
    title: str = ""
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
        return f'<div class="claim"><p>{says}</p><dl>{printed}{"".join(map(_found, self.findings))}</dl></div>'

    def __repr__(self) -> str:
        lines = [f"{self.id} ({self.where}): {self.statement}"]
        lines += [f"  printed: {self.printed}"] if self.printed else []
        for each in self.findings:
            lines.append(f"  {each.who}: {' '.join(filter(None, (each.text, f'[{each.verdict}]', each.scale)))}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Cards:
    """Cards one below the other."""

    cards: tuple[Card, ...]

    def _repr_html_(self) -> str:
        return "".join(card._repr_html_() for card in self.cards)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.cards))


def _found(finding: Finding) -> str:
    number = f'<span title="{_safe(finding.title)}">{_safe(finding.text)}</span>' if finding.text else ""
    scale = f"<small>{_safe(finding.scale)}</small>" if finding.scale else ""
    parts = " ".join(filter(None, (number, mark(finding.verdict), scale)))
    return f"<dt>{_safe(finding.who)}</dt><dd>{parts}</dd>"


def mark(verdict: str) -> str:
    """A verdict as HTML, of a class named like it."""
    return f'<span class="verdict {verdict.replace(" ", "-")}">{_safe(verdict)}</span>'


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
