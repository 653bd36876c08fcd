"""The ledger of claims: what a paper says, what its own numbers give, what runs give, and a verdict on each.

What is said is data: ``published/claims.yaml`` in the package of the paper. What checks it is code: the module
``claims`` of that package has a function for an id in RECOMPUTED (from print) or REPLICATED (from a study), or none.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import yaml
from pandas.io.formats.style import Styler
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from repro.params import PAPERS, AllocationParams, preset_file, presets, read as read_preset, schemas_in
from repro.show.cards import Card, Cards, Finding, found_html, link, noted
from repro.show.tables import Filtered, Table, styled
from repro.show.words import join, short_tokens, some
from repro.study.base import BaseStudy, NotRun

Verdict = Literal["agrees", "differs", "cannot be told", "not computable", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ROUNDING = 1e-9  # of a tolerance: what binary fractions cost
NUMBER = re.compile(r"(\S*\{[^}]*\}[^\s,]*)")  # in a form: a format, with what is written close to it
PAPER_NAMES = {"cmr": "Paper A", "allocation": "Paper B"}  # for readers
SET = {"agrees": "set as in the paper", "differs": "set otherwise"}  # of what runs were told, and did not find out
MANY = 6  # numbers, of which each is written; of more, the ends


class Claim(BaseModel):
    """One entry of ``claims.yaml``: a statement in our words, where it stands, and what the paper prints.

    values: the printed numbers, each known to ``tolerance``, for the ``reason``; a statement that only holds or not has
    none of the three. page: the notebook that shows it. how: what its numbers are computed from and how; run: how runs
    answer, if otherwise. form, run_form: how readers write what either gives, see :func:`written`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    id: str
    where: str
    kind: Literal["value", "order", "shape", "method", "setup", "comparison", "setting"]
    statement: str
    page: str
    printed: str | None = None
    values: tuple[float, ...] = Field(default=(), strict=False)
    tolerance: float | None = Field(default=None, ge=0)
    reason: str | None = None
    how: str = ""
    form: str = "{:.4g}"
    run: str = ""
    run_form: str = "{:.4g}"

    @model_validator(mode="after")
    def _together(self) -> Claim:
        if len({bool(self.values), self.tolerance is not None, self.reason is not None}) > 1:
            raise ValueError("values, tolerance and reason must be given together or not at all")
        return self


@dataclass(frozen=True)
class Replicated:
    """What runs give, or a test of printed numbers. holds: whether the statement does; None, that it cannot be told."""

    value: float | bool | tuple[float, ...] | None
    interval: tuple[float, float] | None = None
    holds: bool | None = None


Recomputed = float | bool | Sequence[float] | Replicated | None
HOLDS: Mapping[bool | None, Verdict] = {True: "agrees", False: "differs", None: "cannot be told"}


# A row of the ledger, in the contract's order; None where there is nothing. Nothing is recorded yet.
Row = namedtuple(
    "Row",
    "id paper where kind statement printed tolerance recomputed recomputed_verdict replicated interval scale "
    "replicated_verdict recorded recorded_interval recorded_verdict page",
)


def begin(namespace: Mapping[str, Any]) -> list[BaseStudy]:
    """The study of each paper that a notebook's parameters are of, paper A's first: see `repro.cmr.begin`."""
    given = {name for name, value in namespace.items() if value is not None}
    if (preset := namespace.get("preset")) in presets():
        given |= read_preset(preset_file(str(preset))).keys()
    return [importlib.import_module(f"repro.{paper}.study").begin(namespace)
            for paper, schema in PAPERS.items() if schema in schemas_in(given)]  # fmt: skip


@cache
def read(paper: str) -> dict[str, Claim]:
    """The claims of a paper by id; ValueError names the claim and its wrong field, or the id repeated or unknown."""
    file = resources.files(f"repro.{paper}") / "published" / "claims.yaml"
    known = parse(file.read_text(encoding="utf-8"))
    functions = _functions(paper)
    if strangers := [name for functions_of in functions for name in functions_of if name not in known]:
        raise ValueError(f"functions without an entry in claims.yaml: {join(strangers)}")
    return known


def parse(text: str) -> dict[str, Claim]:
    """The claims that a text in YAML lists, by id; ValueError as :func:`read` has it."""
    known: dict[str, Claim] = {}
    for entry in yaml.safe_load(text):
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"claim {entry.get('id')}: {wrong}") from None
        if claim.id in known:
            raise ValueError(f"claim {claim.id} is given twice")
        known[claim.id] = claim
    return known


def _functions(paper: str) -> tuple[Mapping[str, Callable[..., Any]], Mapping[str, Callable[..., Any]]]:
    """RECOMPUTED and REPLICATED: by name, because a room may not import from the floors above it."""
    module = importlib.import_module(f"repro.{paper}.claims")
    return module.RECOMPUTED, module.REPLICATED


def verdict(claim: Claim, found: Recomputed) -> Verdict:
    """Whether a recomputation, numbers or a truth, agrees with what is printed; ValueError if their counts differ."""
    if found is None:
        return "not computable"
    if isinstance(found, Replicated):
        return HOLDS[found.holds]
    if isinstance(found, bool | np.bool_):
        return HOLDS[bool(found)]
    numbers, printed = np.atleast_1d(np.asarray(found, dtype=float)), np.array(claim.values)
    if numbers.shape != printed.shape:
        raise ValueError(f"{numbers.size} numbers recomputed, {printed.size} printed")
    return "agrees" if (abs(numbers - printed) <= (claim.tolerance or 0) * (1 + ROUNDING)).all() else "differs"


def row(paper: str, claim: Claim, study: BaseStudy | None = None) -> Row:
    """A claim with its verdicts. What a function raises is passed on with a note that names the claim."""
    recompute, replicate = (functions.get(claim.id) for functions in _functions(paper))
    seen: Replicated | None = None
    try:
        found = recompute() if recompute else None
        judged = verdict(claim, found)
        found = found.value if isinstance(found, Replicated) else found
        if replicate and study:
            with suppress(NotRun):
                seen = replicate(study)
    except Exception as error:
        error.add_note(f"claim {claim.id}: {claim.statement}")
        raise
    tolerance = None if claim.tolerance is None else f"{claim.tolerance:g} ({claim.reason})"
    return Row(
        claim.id, paper, claim.where, claim.kind, claim.statement, claim.printed, tolerance,
        _plain(found), judged,
        _plain(seen.value) if seen else None, _plain(seen.interval) if seen else None,
        _scale(study) if seen and study else None, HOLDS[seen.holds] if seen else "not run",
        None, None, "not run", claim.page,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Python's own numbers, sequences as tuples."""
    if isinstance(value, Sequence | np.ndarray | pd.Series):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _scale(study: BaseStudy) -> str:
    """How little the results of a study rest on: parameters, tokens, seeds."""
    design: Any = study.design
    if isinstance(study.params, AllocationParams):
        counts, tokens = [design.base.parameters], study.params.budget
    else:
        counts, tokens = [stage.parameters for stage in design.models], study.params.continual_tokens
    span = " to ".join(dict.fromkeys(map(short_tokens, (min(counts), max(counts)))))
    return f"{span} parameters, {short_tokens(tokens)} tokens, {some(len(study.params.seeds), 'seed')}"


def ledger(*studies: BaseStudy, among: Sequence[str] = ()) -> pd.DataFrame:
    """Every claim of these papers, a row each: the fields of `Row`, in that order, then study: what tells the studies
    that replicated apart, their parameters and what their runs left, as a hash. Nothing is run for it.

    studies: those whose finished runs replicate; without one, and where its runs are missing, the verdict is "not run".
    """
    done = {
        "allocation" if isinstance(each.params, AllocationParams) else "cmr": replace(each, lazy=False)
        for each in studies
    }
    rows = [row(paper, claim, done.get(paper)) for paper in among or PAPERS for claim in read(paper).values()]
    of = {paper: f"{each.identity} {each.params.model_dump_json()}".encode() for paper, each in done.items()}
    hashes = [hashlib.sha256(of[each.paper]).hexdigest()[:12] if each.scale else None for each in rows]
    return pd.DataFrame(rows, columns=Row._fields, dtype=object).assign(study=pd.Series(hashes, dtype=object))


def written(value: Any, form: str = "{:.4g}") -> str:
    """A value of the ledger for readers: yes or no, numbers as ``form`` has them, "none" for NaN; "" for None.

    form: text with a format for each number, or with one for all, of which more than `MANY` are written as the least
    and the largest. ``points`` in a format is a hundred times the number.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    numbers, forms = value if isinstance(value, tuple) else (value,), NUMBER.findall(form)
    if len(forms) != len(numbers):
        apart = ", "
        if len(numbers) > MANY:
            numbers, apart = (min(numbers), max(numbers)), " to "
        form = form.replace(forms[0], apart.join(forms[:1] * len(numbers)))
    rest = iter(numbers)
    return NUMBER.sub(lambda found: _number(found[0], next(rest)), form)


def _number(form: str, value: float | bool) -> str:
    if isinstance(value, bool):
        return written(value)
    return form.format(value, points=100 * value) if math.isfinite(value) else "none" if value != value else "\u221e"


def as_csv(frame: pd.DataFrame) -> str:
    """The ledger as CSV: several numbers in one cell, every digit of each."""
    return str(
        frame.map(lambda value: "; ".join(map(str, value)) if isinstance(value, tuple) else value).to_csv(index=False)
    )


def listed(frame: pd.DataFrame) -> str:
    """The ledger as text: a line for each claim, then how many have which verdict."""
    lines = []
    for each in frame.to_dict("records"):
        own, run = _findings(Row(*(each[name] for name in Row._fields)))
        texts = {"printed": each["printed"], "recomputed": own.text, "run": run.text}
        told = "".join(f" | {name} {text}" for name, text in texts.items() if text)
        lines.append(f"{each['id']:5} {own.verdict:15}{run.verdict:20}{each['statement']}{told}")
    for name, column in (("by its own numbers", "recomputed_verdict"), ("by these runs", "replicated_verdict")):
        lines.append(f"{name}: {join(f'{count} {each}' for each, count in frame[column].value_counts().items())}")
    return "\n".join([f"{'id':6}{'own numbers':15}{'these runs':20}claim", *lines, f"{len(frame)} claims"])


def as_json(frame: pd.DataFrame) -> str:
    """The ledger as JSON: a list of objects, null for None and for what is no finite number."""
    return str(frame.to_json(orient="records", indent=1, force_ascii=False, double_precision=15))


def show(paper: str, *asked: str | BaseStudy | None) -> Cards:
    """Cards of the claims with these ids, the study last, whose missing runs are done; ValueError for an unknown id."""
    ids = [each for each in asked if isinstance(each, str)]
    study = next((each for each in asked if isinstance(each, BaseStudy)), None)
    if unknown := [name for name in ids if name not in read(paper)]:
        raise ValueError(f"no claim {join(unknown)} of {paper}; there are {', '.join(read(paper))}")
    cards = []
    for each in (row(paper, read(paper)[name], study) for name in ids):
        own, run = _findings(each)
        found = (own, run) if study and run.how else (own,)
        cards.append(Card(each.id, each.statement, each.where, each.printed, found))
    return Cards(cards)


def _findings(found: Row) -> tuple[Finding, Finding]:
    claim = read(found.paper)[found.id]
    text = written(found.replicated, claim.run_form)
    if found.interval:
        form = NUMBER.findall(claim.run_form)[0]
        text += f" ({written(found.interval, f'{form} to {form}')})"
    how, run = _how(found, "RECOMPUTED", claim.how), _how(found, "REPLICATED", claim.run or claim.how)
    judged: str = found.replicated_verdict
    if judged == "cannot be told" and found.replicated is not None:
        seeds = (found.scale or "").rpartition(", ")[2]
        here = {"yes": "in this run it holds", "no": "in this run it does not hold"}.get(text, text)
        theirs = bool(claim.values) and not isinstance(found.replicated, bool)  # a number of the paper's own models
        why = "our models are others" if theirs else "one seed cannot tell" if seeds == "one seed" else ""
        text = f"{here}; {why}" if why else here
    label = SET.get(judged, judged) if claim.kind == "setting" else judged
    own = Finding("its numbers", written(found.recomputed, claim.form), found.recomputed_verdict, how)
    return own, Finding("this run", text, label, run, found.scale)


def _how(found: Row, kind: str, how: str) -> str:
    """What is computed, and where the function is that does; nothing if there is none."""
    known = found.id in getattr(importlib.import_module(f"repro.{found.paper}.claims"), kind)
    return f"{how} Code: {found.id} under {kind} in src/repro/{found.paper}/claims.py." if known else ""


def decisive(paper: str, *asked: str | BaseStudy) -> Styler:
    """Claims on which a decision hangs, a row each with both verdicts, and whether to rely on it: yes where both agree,
    no where either differs, not shown where print cannot tell, else not yet. For the first page; nothing is run.
    Arguments as of :func:`show`.
    """
    study = next((replace(each, lazy=False) for each in asked if isinstance(each, BaseStudy)), None)
    rows = [row(paper, read(paper)[name], study) for name in asked if isinstance(name, str)]
    cells = [
        (
            f"{link(each.id, f'notebooks/{each.page}.html#{each.id}')} {noted(each.statement, each.printed)}",
            *(found_html(replace(found, text="", how="")) for found in _findings(each)),
            _rely(each),
        )
        for each in rows
    ]
    names = (
        "the paper claims",
        "its own numbers",
        f"this run ({_scale(study)})" if study else "this run",
        "rely on it?",
    )
    styler = Table(pd.DataFrame(cells, columns=names)).hide(axis="index")
    return styler.set_table_attributes('class="dataframe decisive"').set_uuid("t")


def _rely(found: Row) -> str:
    own, run = found.recomputed_verdict, found.replicated_verdict
    if "differs" in (own, run):
        return f"no: differs in {'print' if own == 'differs' else 'runs'}"
    return "yes" if own == run == "agrees" else "not shown" if own == "cannot be told" else "not yet"


def table(*studies: BaseStudy) -> Filtered:
    """The ledgers as a table for a page: a row for each claim, linked to its card, or the page it belongs to."""
    frame = ledger(*studies)
    rows = [Row(*each) for each in frame[list(Row._fields)].itertuples(index=False)]
    by = {"paper": "Paper", "kind": "Kind", "own": "Its numbers", "run": "This run", "page": "Page"}
    found = [_findings(each) for each in rows]
    keys = [dict(zip(by, (PAPER_NAMES[each.paper], each.kind, own.verdict, run.verdict, each.page), strict=True))
            for each, (own, run) in zip(rows, found, strict=True)]  # fmt: skip
    cells = [(link(each.id, f"{each.page}.html#{each.id}"), noted(each.statement, each.where),
              noted(each.printed or "", None), *map(found_html, both))
             for each, both in zip(rows, found, strict=True)]  # fmt: skip
    return Filtered(("Id", "Claim", "Printed", "Its numbers", "This run"), cells, by, keys, as_csv(frame))


def totals(table: Filtered) -> Styler:
    """How many claims of each paper have which verdict, by its own numbers and by the runs."""
    rows = pd.DataFrame(table.keys).melt("paper", ["own", "run"], "by", "verdict")
    rows["by"] = rows["by"].map(table.by)
    counts = pd.crosstab(rows["verdict"], rows["paper"] + ", " + rows["by"].str.lower())
    counts = counts.loc[[each for each in (*VERDICTS, *SET.values()) if each in counts.index]]
    return styled(counts.rename_axis("Verdict").reset_index(), "{}", "none", index=False)
