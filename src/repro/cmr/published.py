"""What paper A prints: its Tables 1-5, the numbers in its text, and `paper`, the results that these define.

The tables are in ``published/*.csv``, one tidy file each, digit for digit; mixture ratios are written there
as the exact fractions meant (the paper's "33%" and "33.3%" are 1/3). Model sizes are named as in Table 2.

Names. Table 4 heads its columns alpha1 s1 alpha2 s2 beta1 (general) and alpha3 s3 beta2 (domain),
which is not the naming of its Equation 6. ``table4.csv`` and everything here use the names of Equation 6:

* domain: alpha1 T^s1 + beta1 (printed as alpha3, s3, beta2);
* general: alpha2 T^s2 + alpha3 T^s3 + beta2 (printed as alpha1, s1, alpha2, s2, beta1).

T counts units of 0.2B tokens, so a run of 20B tokens ends at T = 100. Losses are in nats per token.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repro.cmr import frames
from repro.cmr.frames import HeldOut, Results
from repro.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, increments, turning_point
from repro.lm.models import Shape


def table(number: str) -> pd.DataFrame:
    """Table "1" to "5", in columns that the head of its CSV names.

    "2" has a row for each loss measured or predicted (``kind``), with the difference printed (percent); "3" one for
    each metric, loss, size and ratio; "4" the coefficients of Equation 6; "5" those of Equation 8 on Finance.
    """
    return _read(f"table{number}").copy()


@cache
def _read(name: str) -> pd.DataFrame:
    with (resources.files("repro.cmr") / "published" / f"{name}.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype={"size": str, "ratio": str})
    if "ratio" in frame:
        frame["ratio"] = [float(Fraction(text)) for text in frame["ratio"]]
    if "printed_difference" in frame:
        frame["printed_difference"] = frame["printed_difference"].str.rstrip("%").astype(float)
    return frame


def value(name: str) -> float:
    """One number that the prose prints, by its ``name`` in ``text.csv``. Raises KeyError if there is no such name."""
    frame = _read("text").set_index("name")["value"]
    if name not in frame:
        raise KeyError(f"no number {name!r} in text.csv; there are {', '.join(frame.index)}")
    return float(frame[name])


def critical_ratio(size: str, domain: str = "finance") -> float:
    """The critical mixture ratio printed in Section 5.3, as a share between 0 and 1."""
    return value(f"cmr_{size}" if domain == "finance" else f"cmr_{domain}_{size}") / 100


class Paper(Results):
    """What the instance `paper` is of: its curves are those of printed coefficients, and no interval is printed."""

    t_title = "T (units of 0.2B tokens)"
    last_t = 250
    epsilon = None  # 0.05, but its figures do not show it

    @property
    def sizes(self) -> tuple[str, ...]:
        return tuple(_read("table1")["size"])

    def shapes(self) -> pd.DataFrame:
        """Table 1 with ``parameters``, which are computed from the shapes and not printed there."""
        frame = table("1")
        rows = frame.drop(columns="size").astype(int).itertuples(index=False)
        sizes = [Shape(hidden=h, intermediate=i, heads=a, layers=n).parameters(v) for h, i, a, n, v in rows]
        return frame.assign(parameters=sizes)

    def equation_6(self, size: str, ratio: float) -> tuple[dict[str, float], dict[str, float]]:
        """(domain, general) coefficients from Table 4. Raises KeyError if the paper has no such size and ratio."""
        frame = _read("table4")
        rows = frame[(frame["size"] == size) & np.isclose(frame["ratio"], ratio)]
        if rows.empty:
            raise KeyError(f"Table 4 has no size {size!r} with ratio {ratio}")
        row = rows.iloc[0]
        return _pick(row, DOMAIN_TOKEN_LAW.names), _pick(row, GENERAL_TOKEN_LAW.names)

    def equation_8(self) -> dict[str, dict[str, float]]:
        """Coefficients on Finance by size, from Table 5."""
        return {str(row["size"]): _pick(row, CMR_LAW.names) for _, row in _read("table5").iterrows()}

    def trajectories(self) -> Iterator[tuple[str, float, dict[str, float], dict[str, float]]]:
        """Every size and ratio of Table 4, both ascending, and the coefficients of Equation 6: domain, general."""
        frame = _read("table4")
        for size in self.sizes:
            for ratio in sorted(frame.loc[frame["size"] == size, "ratio"]):
                yield size, ratio, *self.equation_6(size, ratio)

    def curves(self, t: ArrayLike, *, band: bool = False) -> pd.DataFrame:  # noqa: ARG002
        at = np.atleast_1d(np.asarray(t, dtype=float))
        kind = frames.kind_at(at)
        curves = [
            pd.DataFrame({"size": size, "ratio": ratio, "t": at, **increments(domain, general, at), "kind": kind})
            for size, ratio, domain, general in self.trajectories()
        ]
        return pd.concat(curves, ignore_index=True)

    def turning_points(self, lagrange: float | None = None) -> pd.DataFrame:
        """As `Results.turning_points`: roots of Equation 27 by ``lagrange``, or the largest the paper used."""
        weight = value("lagrange_high") if lagrange is None else lagrange
        return frames.turning_points(
            (*trajectory, turning_point(*trajectory[2:], lagrange=weight, t_max=frames.T_MAX))
            for trajectory in self.trajectories()
        )

    def ratio_curves(self, t: ArrayLike) -> pd.DataFrame:
        return frames.ratio_curves(self.equation_8().items(), t)

    def end_losses(self) -> pd.DataFrame:
        """The domain losses measured in Table 2: columns size, ratio, loss, value."""
        rows = table("2").query("kind == 'measured'")
        return rows.assign(loss="domain", value=rows["loss"])[["size", "ratio", "loss", "value"]]

    def held_out(self, loss: str | None = None) -> HeldOut:
        """As `Results.held_out`, of the losses in Table 2, those of the domain, fitted to all other ratios as there.

        General losses are not printed by ratio; for these, the increments at T = 100 follow from Table 4.
        """
        if loss == "general":
            end = self.curves([frames.T_MAX])
            end = end.assign(loss="general", value=end["general"])
            return frames.held_out(end[["size", "ratio", "loss", "value"]])._replace(seen="from Table 4")
        ends = self.end_losses()
        printed = table("2").query("kind == 'predicted'")[["size", "ratio", "loss", "printed_difference"]]
        return frames.held_out(ends, among=tuple(ends["ratio"]))._replace(printed=printed.reset_index(drop=True))

    def coefficients(self) -> pd.DataFrame:
        return table("4")

    def fit_quality(self) -> pd.DataFrame:
        return table("3")

    def critical_ratios(self) -> pd.DataFrame:
        """As `Results.critical_ratios`, and ``printed``, the ratio that Section 5.3 states."""
        frame = table("5")
        share = frame["alpha4"] * frames.T_MAX ** frame["s4"] + frame["beta3"]
        return frame.assign(critical_ratio=share, printed=frame["size"].map(critical_ratio))


def _pick(row: pd.Series, names: Sequence[str]) -> dict[str, float]:
    return {name: float(row[name]) for name in names}


paper = Paper()
