"""The ledger of claims: what a paper says, what its own numbers give, what runs give, and a verdict on each.

What is said is data: ``published/claims.yaml`` in the package of the paper. What checks it is code: the module
``claims`` of that package has a function for an id in RECOMPUTED (from print) or REPLICATED (from a study), or none.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import yaml
from pandas.io.formats.style import Styler
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from repro.params import AllocationParams
from repro.show.cards import Card, Cards, Finding, found_html, link, noted
from repro.show.tables import Filtered
from repro.show.words import join, short_tokens, some
from repro.study.base import BaseStudy, NotRun

Verdict = Literal["agrees", "differs", "cannot be told", "not computable", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Recomputed = float | bool | Sequence[float] | None
ROUNDING = 1e-9  # of a tolerance: what binary fractions cost


class Claim(BaseModel):
    """One entry of ``claims.yaml``: a statement in our words, where it stands, and what the paper prints.

    values: the printed numbers, each known to ``tolerance``, for the ``reason``; a statement that only holds or not has
    none of the three. page: the notebook that shows it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    id: str
    where: str
    kind: Literal["value", "order", "shape", "method", "setup", "comparison"]
    statement: str
    page: str
    printed: str | None = None
    values: tuple[float, ...] = Field(default=(), strict=False)
    tolerance: float | None = Field(default=None, ge=0)
    reason: str | None = None

    @model_validator(mode="after")
    def _together(self) -> Claim:
        if len({bool(self.values), self.tolerance is not None, self.reason is not None}) > 1:
            raise ValueError("values, tolerance and reason must be given together or not at all")
        return self


@dataclass(frozen=True)
class Replicated:
    """What the runs of a study give. holds: whether the statement does there; None, that it cannot be told."""

    value: float | bool | tuple[float, ...] | None
    interval: tuple[float, float] | None = None
    holds: bool | None = None


# A row of the ledger, in the contract's order; None where there is nothing. Nothing is recorded yet.
Row = namedtuple(
    "Row",
    "id paper where kind statement printed tolerance recomputed recomputed_verdict replicated interval scale "
    "replicated_verdict recorded recorded_interval recorded_verdict page",
)


def papers() -> list[str]:
    """The papers whose claims are listed."""
    return [paper for paper in ("cmr", "allocation") if _file(paper).is_file()]


def _file(paper: str) -> Traversable:
    return resources.files(f"repro.{paper}") / "published" / "claims.yaml"


@cache
def read(paper: str) -> dict[str, Claim]:
    """The claims of a paper by id. Raises ValueError, naming the claim and the field that is wrong, or the id that is
    given twice or has no entry.
    """
    known = parse(_file(paper).read_text(encoding="utf-8"))
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
    """Whether a recomputation agrees with what is printed; a truth value says so itself. Raises ValueError if it has
    not as many numbers as are printed.
    """
    if found is None:
        return "not computable"
    if isinstance(found, bool | np.bool_):
        return "agrees" if found else "differs"
    numbers, printed = np.atleast_1d(np.asarray(found, dtype=float)), np.array(claim.values)
    if numbers.shape != printed.shape:
        raise ValueError(f"{numbers.size} numbers recomputed, {printed.size} printed")
    return "agrees" if (abs(numbers - printed) <= (claim.tolerance or 0) * (1 + ROUNDING)).all() else "differs"


def row(paper: str, claim: Claim, study: BaseStudy | None = None) -> Row:
    """A claim with its verdicts. What a function raises is passed on with a note that names the claim."""
    recompute, replicate = (functions.get(claim.id) for functions in _functions(paper))
    try:
        found = recompute() if recompute else None
        judged, seen = verdict(claim, found), _replicated(replicate, study)
    except Exception as error:
        error.add_note(f"claim {claim.id}: {claim.statement}")
        raise
    holds: dict[bool | None, Verdict] = {True: "agrees", False: "differs", None: "cannot be told"}
    tolerance = None if claim.tolerance is None else f"{claim.tolerance:g} ({claim.reason})"
    return Row(
        claim.id, paper, claim.where, claim.kind, claim.statement, claim.printed, tolerance,
        _plain(found), judged,
        _plain(seen.value) if seen else None, _plain(seen.interval) if seen else None,
        _scale(study) if seen and study else None, holds[seen.holds] if seen else "not run",
        None, None, "not run", claim.page,
    )  # fmt: skip


def _replicated(replicate: Callable[..., Replicated | None] | None, study: BaseStudy | None) -> Replicated | None:
    if replicate is None or study is None:
        return None
    try:
        return replicate(study)
    except NotRun:
        return None


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
        counts, tokens = [stage.parameters for stage in design.pretraining], study.params.continual_tokens
    span = " to ".join(dict.fromkeys(map(short_tokens, (min(counts), max(counts)))))
    return f"{span} parameters, {short_tokens(tokens)} tokens, {some(len(study.params.seeds), 'seed')}"


def ledger(paper: str, study: BaseStudy | None = None) -> pd.DataFrame:
    """Every claim of a paper, a row each: the fields of `Row`, in that order. Nothing is run for it.

    study: the one whose finished runs replicate; without it, and where its runs are missing, the verdict is "not run".
    """
    done = None if study is None else replace(study, lazy=False)
    return pd.DataFrame([row(paper, claim, done) for claim in read(paper).values()], columns=Row._fields, dtype=object)


def every(*studies: BaseStudy, among: Sequence[str] = ()) -> pd.DataFrame:
    """The ledgers of both papers, or of those ``among``, each with the study of its paper, if it is given."""
    own = {"allocation" if isinstance(study.params, AllocationParams) else "cmr": study for study in studies}
    return pd.concat([ledger(paper, own.get(paper)) for paper in among or papers()], ignore_index=True)


def written(value: Any) -> str:
    """A value of the ledger for readers: yes or no, or four digits of each number, "∞"; nothing for None."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(written, value)) if isinstance(value, tuple) else f"{value:.4g}".replace("inf", "\u221e")


def exact(value: Any) -> Any:
    """A value of the ledger as a cell of CSV: several numbers in one, every digit of each."""
    return "; ".join(map(str, value)) if isinstance(value, tuple) else value


def listed(frame: pd.DataFrame) -> str:
    """The ledger as text: a line for each claim, then how many have which verdict."""
    numbers = {"printed": "printed", "recomputed": "recomputed", "run": "replicated"}
    lines = [
        f"{each['id']:5} {each['recomputed_verdict']:15}{each['replicated_verdict']:15}{each['statement']}"
        + "".join(f" | {name} {text}" for name, column in numbers.items() if (text := written(each[column])))
        for each in frame.to_dict("records")
    ]
    for name, column in (("by its own numbers", "recomputed_verdict"), ("by these runs", "replicated_verdict")):
        lines.append(f"{name}: {join(f'{count} {each}' for each, count in frame[column].value_counts().items())}")
    return "\n".join([f"{'id':6}{'own numbers':15}{'these runs':15}claim", *lines, f"{len(frame)} claims"])


def as_json(frame: pd.DataFrame) -> str:
    """The ledger as JSON: a list of objects, null for None and for what is no finite number."""
    rows = [dict(zip(Row._fields, map(_finite, each), strict=True)) for each in frame.itertuples(index=False)]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(paper: str, *asked: str | BaseStudy | None) -> Cards:
    """Cards of the claims with these ids, the study last; its missing runs are done first. Raises ValueError if there
    is no such claim.
    """
    ids = [each for each in asked if isinstance(each, str)]
    study = next((each for each in asked if isinstance(each, BaseStudy)), None)
    if unknown := [name for name in ids if name not in read(paper)]:
        raise ValueError(f"no claim {join(unknown)} of {paper}; there are {', '.join(read(paper))}")
    rows = [row(paper, read(paper)[name], study) for name in ids]
    return Cards(tuple(Card(each.id, each.statement, each.where, each.printed, _findings(each)) for each in rows))


def _findings(found: Row) -> tuple[Finding, Finding]:
    own, runs = (_source(functions.get(found.id)) for functions in _functions(found.paper))
    interval = f" ({' to '.join(map(written, found.interval))})" if found.interval else ""
    run = Finding("this run", written(found.replicated) + interval, found.replicated_verdict, runs, found.scale)
    return Finding("its numbers", written(found.recomputed), found.recomputed_verdict, own), run


def decisive(paper: str, *asked: str | BaseStudy) -> Styler:
    """Claims on which a decision hangs, a row each with both verdicts, and whether to rely on it: yes where both agree,
    no where either differs, else not yet. For the first page, as links lead from there. Nothing is run for it.
    Arguments as of :func:`show`.
    """
    study = next((replace(each, lazy=False) for each in asked if isinstance(each, BaseStudy)), None)
    rows = [row(paper, read(paper)[name], study) for name in asked if isinstance(name, str)]
    cells = [
        (
            f"{link(each.id, f'notebooks/{each.page}.html')} {noted(each.statement, each.printed)}",
            *(found_html(replace(found, text="")) for found in _findings(each)),
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
    styler = pd.DataFrame(cells, columns=names).style.hide(axis="index")
    return styler.set_table_attributes('class="dataframe decisive"').set_uuid("t")


def _rely(found: Row) -> str:
    verdicts = {found.recomputed_verdict, found.replicated_verdict}
    return "no" if "differs" in verdicts else "yes" if verdicts == {"agrees"} else "not yet"


def table(*studies: BaseStudy) -> Filtered:
    """The ledgers as a table for a page: a row for each claim, linked to the page that shows it."""
    rows = [Row(*each) for each in every(*studies).itertuples(index=False)]
    by = {"paper": "Paper", "kind": "Kind", "own": "Its numbers", "run": "This run", "page": "Page"}
    keys = [dict(zip(by, (each.paper, each.kind, each.recomputed_verdict, each.replicated_verdict, each.page),
                     strict=True)) for each in rows]  # fmt: skip
    cells = [(link(each.id, f"{each.page}.html"), noted(each.statement, each.where), noted(each.printed or "", None),
              *map(found_html, _findings(each))) for each in rows]  # fmt: skip
    return Filtered(("Id", "Claim", "Printed", "Its numbers", "This run"), cells, by, keys)


def _source(function: Callable[..., Any] | None) -> str:
    """Where a function stands, and its text: what it computes from."""
    if function is None:
        return ""
    inner: Any = inspect.unwrap(function)
    given = f" of {', '.join(map(str, inner.args))}" if isinstance(inner, partial) else ""
    code = (inner.func if given else inner).__code__
    lines, first = inspect.getsourcelines(code)
    return f"{Path(code.co_filename).name}, line {first}{given}: {''.join(lines).strip()}"
