"""`repro fit cmr`: paper A's analysis of a reader's own losses, as text and JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from repro.fit import plausible
from repro.fit.report import Table, as_text, finite, fit_json, interval, number, pair, rough
from repro.fit.table import Column, Fault, WrongTable, numbered, read, repeated
from repro.laws import (
    DOMAIN_TOKEN_LAW,
    GENERAL_TOKEN_LAW,
    Analysis,
    Group,
    TokenLaws,
    TurningPoint,
    analyse,
    ratio_label,
)
from repro.laws.cmr.critical import Critical
from repro.laws.cmr.losses import ABOUT, Base, one_value_each

COLUMNS = (
    Column("ratio", low=0, high=1, blank=True, share=True),  # not read before continual pretraining
    Column("tokens", low=0),
    Column("general_loss"),
    Column("domain_loss"),
    Column("size", kind="text", required=False),
    Column("domain", kind="text", required=False),
    Column("seed", kind="text", required=False),
)
GROUP = ("size", "domain")
RUN = (*GROUP, "ratio", "tokens", "seed")
POINTS = max(len(DOMAIN_TOKEN_LAW.names), len(GENERAL_TOKEN_LAW.names))
NO_DRAWS = "--bootstrap is 0: there are no intervals, and Eq. 8 takes all turning points as equally well known"
MANY = 5_000  # rows from which on the command says how far it is
Result = TurningPoint | Critical


@dataclass(frozen=True)
class Options:
    """What the command line may set.

    t_max is in the unit of the file's tokens (None: their largest value), epsilon in the unit of its losses;
    bootstrap 0 is for no intervals; base is for groups without a row at 0 tokens.
    """

    t_max: float | None
    epsilon: float
    lagrange: float
    bootstrap: int
    seed: int
    base: Base | None


def fit(file: Path, options: Options) -> Answer:
    """Read a file of losses and do the whole of paper A's analysis on it.

    Raises WrongTable, with every fault, for a file that is not what is needed; ValueError for an option out of range.
    """
    losses, notes = _read_losses(file, options.t_max, options.base)
    if len(losses) > MANY:
        print(f"{file}: {len(losses):,} rows read; fitting the laws", file=sys.stderr, flush=True)
    analysis = analyse(
        losses,
        t_max=options.t_max,
        epsilon=options.epsilon,
        lagrange=options.lagrange,
        unit=1.0,
        bootstrap=options.bootstrap,
        seed=options.seed,
    )
    several = {"size": "size" in losses, "domain": len({group.domain for group in analysis.groups}) > 1}
    return Answer(file, options, analysis, tuple(notes), tuple(key for key, named in several.items() if named))


@dataclass(frozen=True)
class Answer:
    """The analysis of one file, T in the unit of its tokens. As text it is what the command prints."""

    file: Path
    options: Options
    analysis: Analysis
    notes: tuple[str, ...]  # how the file was read
    keys: tuple[str, ...]  # of size and domain, those that tell groups apart

    @property
    def drawn(self) -> bool:
        """Whether there are intervals."""
        return self.options.bootstrap > 0

    def name(self, group: Group) -> str:
        """A group's size, domain or both, whichever tell it from the others; "" where there is only one group."""
        return ", ".join(str(getattr(group, key)) for key in self.keys)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning, each naming its group where there are several."""
        of_groups = (
            f"{self.name(group)}: {warning}" if self.keys else warning
            for group in self.analysis.groups
            for warning in (
                *group.warnings,
                *plausible.patterns(group),
                *(self._without_interval(group) if self.drawn else ()),
            )
        )
        return (*self.notes, *rough(self.options.bootstrap), *(() if self.drawn else (NO_DRAWS,)), *of_groups)

    def _without_interval(self, group: Group) -> Iterator[str]:
        """Why an interval of something that exists is null, or one of its ends."""
        results: list[tuple[str, Result]] = [
            *((f"T0 at R = {ratio_label(laws.ratio)}", laws.turning_point) for laws in group.token_laws),
            ("the critical ratio by turning point", group.critical_ratio.turning_point),
            ("the critical ratio by tolerance", group.critical_ratio.tolerance),
        ]
        for what, result in results:
            limits = pair(_ends(result))
            if result.value is not None and limits is None:
                yield f"{what} has no interval: too few bootstrap draws have one, or a curve has no point to spare"
            elif limits is not None and None in limits:
                yield f"{what} has an interval that is open above: in some bootstrap draws there is no turn"

    def as_json(self) -> dict[str, Any]:
        """The contract of the command: groups and warnings, and the settings that they came from."""
        settings = {
            "t_max": self.analysis.t_max,
            "epsilon": self.analysis.epsilon,
            "lagrange": self.analysis.lagrange,
            "bootstrap": self.options.bootstrap,
            "seed": self.options.seed,
            "intervals": self.analysis.method if self.drawn else None,
        }
        groups = [self._group(group) for group in self.analysis.groups]
        return {"groups": groups, "warnings": list(self.warnings), "settings": settings}

    def _group(self, group: Group) -> dict[str, Any]:
        turning, tolerance = group.critical_ratio.turning_point, group.critical_ratio.tolerance
        return {
            "size": group.size,
            "domain": group.domain,
            "base": group.base._asdict(),
            "ratio_law": {loss: fit_json(fit, drawn=self.drawn) for loss, fit in group.ratio_law.items()},
            "token_laws": [self._token_laws(laws) for laws in group.token_laws],
            "feasible": list(group.feasible),
            "critical_ratio": {
                "turning_point": _value(turning) | {"law": fit_json(turning.law, drawn=self.drawn)},
                "tolerance": {"epsilon": tolerance.epsilon} | _value(tolerance),
                "both": _value(group.critical_ratio.both),
            },
            "runs": group.runs,
        }

    def _token_laws(self, laws: TokenLaws) -> dict[str, Any]:
        return {
            "ratio": laws.ratio,
            "domain": fit_json(laws.domain, drawn=self.drawn),
            "general": fit_json(laws.general, drawn=self.drawn),
            "turning_point": _value(laws.turning_point) | {"status": laws.turning_point.status},
        }

    def turning_points(self, group: Group) -> Table:
        """Every ratio's turning point, with interval and status."""
        points = [(ratio_label(laws.ratio), laws.turning_point) for laws in group.token_laws]
        rows = [(ratio, number(at.value), interval(_ends(at)), at.status) for ratio, at in points]
        of = f"({self.name(group)}), in the file's tokens" if self.keys else "in the file's tokens"
        head = ("R", "T0", "95% interval", "status")
        return Table(f"Turning points of the general loss {of}", head, tuple(rows))

    def critical_ratios(self) -> Table:
        """The critical mixture ratio of every group, by both routes, with intervals."""
        epsilon = f"by tolerance {self.analysis.epsilon:g}"
        routes = [cell for route in ("by turning point", epsilon, "both") for cell in (route, "95% interval")]
        head = ("", *routes, "feasible of those measured")
        rows = []
        for group in self.analysis.groups:
            found = group.critical_ratio
            every = (found.turning_point, found.tolerance, found.both)
            cells = [cell for route in every for cell in (_bounded(route), interval(_ends(route), 3))]
            rows.append((self.name(group) or "all", *cells, ", ".join(map(ratio_label, group.feasible)) or "none"))
        scopes = dict.fromkeys(group.scope for group in self.analysis.groups) if self.drawn else {}
        of = f" (intervals: {', '.join(scopes)})" if scopes else ""
        return Table(f"Critical mixture ratio at T_max = {self.analysis.t_max:,.10g}{of}", head, tuple(rows))

    def goodness(self) -> Table:
        """How well Equation 6 fits: the worst of a group's ratios, for each loss."""
        rows = []
        for group in self.analysis.groups:
            losses = [[laws.general for laws in group.token_laws], [laws.domain for laws in group.token_laws]]
            ends = [(max(fit.rse for fit in fits), min(fit.r2 for fit in fits)) for fits in losses if fits]
            rows.append((self.name(group) or "all", *(number(value, 3) for both in ends for value in both)))
        head = ("", "general residual s.e.", "R\u00b2", "domain residual s.e.", "R\u00b2")
        return Table("How well Eq. 6 fits, at the ratio where it fits worst", head, tuple(rows))

    def __str__(self) -> str:
        turning = map(self.turning_points, self.analysis.groups)
        return as_text([*turning, self.critical_ratios(), self.goodness()], self.warnings)


def _ends(result: Result) -> tuple[float, float] | None:
    """The interval of what exists; what does not exist has none."""
    return None if result.value is None else result.interval


def _value(result: Result) -> dict[str, Any]:
    bound = {"bound": result.bound} if isinstance(result, Critical) else {}
    return {"value": finite(result.value), "ci": pair(_ends(result))} | bound


def _bounded(critical: Critical) -> str:
    text = number(critical.value, 3)
    return f"{critical.bound} {text}" if critical.bound else text


def _read_losses(path: Path, t_max: float | None, base: Base | None) -> tuple[pd.DataFrame, list[str]]:
    """The losses as `repro.laws.analyse` takes them, and what the reader should know of how they were read; raises
    WrongTable with every fault of the file.
    """
    frame, faults = read(path, COLUMNS)
    frame = frame.assign(ratio=one_value_each(frame["ratio"]))
    blank = frame[frame["ratio"].isna() & ~(frame["tokens"] == 0)]
    reported = {fault.line for fault in faults if fault.column in ("ratio", "tokens")}
    faults += [Fault(int(line), COLUMNS[0].fault(""), "ratio") for line in blank["line"] if line not in reported]
    faults += repeated(frame.assign(ratio=frame["ratio"].fillna(-1)), faults, RUN)
    frame, impossible = plausible.possible(frame)
    if not faults:
        faults = _too_little(frame, float(frame["tokens"].max()) if t_max is None else t_max, base)
    if faults:
        raise WrongTable(path, faults)
    read_as, notes = _with_base(frame, base)
    end = float(frame["tokens"].max()) if t_max is None else t_max
    doubts = [
        f"{name}: {text}" if name else text for name, rows in _groups(read_as) for text in plausible.doubts(rows, end)
    ]
    return read_as, [*impossible, *doubts, *notes]


def _groups(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each group under the name that messages give it: "" where there is only one without a name."""
    keys = [key for key in GROUP if key in frame]
    if not keys:
        return [("", frame)]
    return [(", ".join(map(str, key)), rows) for key, rows in frame.groupby(keys, sort=False)]


def _too_little(frame: pd.DataFrame, t_max: float, base: Base | None) -> list[Fault]:
    """What the file as a whole lacks, each fault at the first line of the rows concerned."""
    faults = []
    for name, rows in _groups(frame):
        of = f"{name}: " if name else ""
        if base is None and not (rows["tokens"] == 0).any():
            what = "no row with tokens 0 tells the losses before continual pretraining; add one, or give them with"
            faults.append(Fault(_first(rows), f"{of}{what} --base-general and --base-domain"))
        trained = rows[rows["tokens"] > 0]
        if trained.empty:
            faults.append(Fault(_first(rows), f"{of}no row with tokens above 0"))
        for _, run in trained.groupby("ratio"):
            count = run.loc[run["tokens"] <= t_max * ABOUT, "tokens"].nunique()
            if count < POINTS:
                ratio = ratio_label(float(run["ratio"].iloc[0]))
                what = f"ratio {ratio} has {count} different tokens above 0 and up to T_max"
                faults.append(Fault(_first(run), f"{of}{what} ({t_max:g}); Equation 6 needs at least {POINTS}"))
    return faults


def _first(rows: pd.DataFrame) -> int:
    return int(rows["line"].iloc[0])


def _with_base(frame: pd.DataFrame, base: Base | None) -> tuple[pd.DataFrame, list[str]]:
    """The frame with numbered seeds and a base in each group."""
    frame = numbered(frame).assign(ratio=frame["ratio"].fillna(0.0))
    if base is None:
        return frame, []
    lacking = [rows.head(1) for _, rows in _groups(frame) if not (rows["tokens"] == 0).any()]
    added = [row.assign(ratio=0.0, tokens=0.0, general_loss=base.general, domain_loss=base.domain) for row in lacking]
    notes = [] if added else ["--base-general and --base-domain were not needed: the file has rows with tokens 0"]
    return pd.concat([*added, frame], ignore_index=True), notes
