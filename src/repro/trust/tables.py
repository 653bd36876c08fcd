"""Tables on the trust that fits deserve, as pandas Stylers: pure functions of frames. Captions are left to the page."""

from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pandas.io.formats.style import Styler

from repro.laws import CMR_LAW, DOMAIN_TOKEN_LAW, GENERAL_TOKEN_LAW, RATIO_LAW
from repro.show.tables import Format, listed, styled
from repro.show.words import between
from repro.trust.recovered import SHARES

OWN = {
    RATIO_LAW.name: "power of R (the paper's)",
    GENERAL_TOKEN_LAW.name: "two powers of T (the paper's)",
    DOMAIN_TOKEN_LAW.name: "power of T (the paper's)",
    CMR_LAW.name: "power of T (the paper's)",
}
# Titles and formats of columns, and words for names.
_SAYS = yaml.safe_load((resources.files("repro.trust") / "tables.yaml").read_text(encoding="utf-8"))
KINDS, REACH = _SAYS["kinds"], _SAYS["reach"]


def nist(frame: pd.DataFrame) -> Styler:
    """The certified problems; from `recorded`, as ``benchmarks/nist.py`` makes it."""
    return listed(frame, _SAYS["nist"], "an exact sum: its residuals are rounding")


def alternatives(frame: pd.DataFrame) -> Styler:
    """Laws beside their alternatives; from `frames.alternatives`."""
    table = pd.DataFrame({
        "what": frame["kind"].map(KINDS),
        "law": frame["law"].replace(OWN),
        "parameters": frame["parameters"],
        "best by AICc": _of(frame["aicc_wins"], frame["aicc_judged"]),
        "best prediction": _of(frame["held_out_wins"], frame["held_out_judged"]),
        "median error": frame["median_held_out"],
    })  # fmt: skip
    formats: dict[str, Format] = {"median error": "{:.4f}"}
    return styled(table.set_index(["what", "law"]), formats, "too few points to judge every law", index=True)


def _of(wins: pd.Series, judged: pd.Series) -> list[str | None]:
    return [f"{won} of {of}" if of else None for won, of in zip(wins, judged, strict=True)]


def coverage(frame: pd.DataFrame) -> Styler:
    """Coverage and widths; from `recovered.coverage`, or a summary of several designs."""
    words: dict[str, Any] = {
        "interval": between(frame["low"], frame["high"], "{:.1%}".format),
        "error": list(map(_error, frame["quantity"], frame["error"])),
        "width": list(map(_width, frame["quantity"], frame["width"])),
    }
    why = "no study has an interval, or no law alone holds the truth as often"
    return listed(frame.assign(**words), _SAYS["coverage"], why)


def refused(frame: pd.DataFrame) -> Styler:
    """How often an answer is refused; from the summary of that name."""
    ends: Any = between(frame["low"], frame["high"], "{:.1%}".format)
    return listed(frame.assign(reach=frame["reach"].map(REACH), ends=ends), _SAYS["refused"], "")


def _width(quantity: str, width: float) -> str | None:
    if np.isnan(width):
        return None
    if quantity in SHARES:
        return f"{100 * width:.1f} points"
    return "open" if np.isinf(width) else f"a factor of {width:.2f}"


def _error(quantity: str, error: float) -> str | None:
    return None if np.isnan(error) else f"{round(100 * error, 1) + 0:+.1f}{' points' if quantity in SHARES else '%'}"
