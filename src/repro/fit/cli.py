"""`repro fit`: the papers' laws on a reader's own numbers. Nothing heavy is imported before the flags are right."""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.fit.numbers import LARGEST, TOKENS, written
from repro.output import same_file, shown, write

if TYPE_CHECKING:
    from repro.fit import allocation, cmr
    from repro.fit.logs import Logs

WRONG_INPUT = 2
MOST_DRAWS = 100_000
LARGEST_SEED = 2**63 - 1


def add(commands: Any, output: Callable[[str], Path]) -> None:
    """Add the command to the front door's; ``output`` checks where a file is to be written."""
    text = "fit the papers' laws to your own losses or scores, from a CSV file or the logs of a training tool"
    fit = commands.add_parser("fit", help=text, description=f"{text[0].upper()}{text[1:]}.")
    papers = fit.add_subparsers(metavar="PAPER", required=True)
    declared = tomllib.loads(Path(__file__).with_name("flags.toml").read_text(encoding="utf-8"))
    readers = {
        "above 0": _number(above=0), "at least 0": _number(least=0), "tokens": _number(above=0, units=TOKENS),
        "draws": whole(most=MOST_DRAWS), "whole": whole(), "path": Path, "output": output,
    }  # fmt: skip
    for name, answer in (("cmr", _cmr), ("allocation", _allocation)):
        own = declared[name]
        command = papers.add_parser(name, help=own["help"], description=own["description"])
        command.add_argument("file", type=Path, metavar=own["file"])
        add_flags(command, {flag: declared["flags"][flag] for flag in own["flags"]}, readers)
        command.set_defaults(command=partial(_answer, answer))


def add_flags(command: Any, flags: Mapping[str, Mapping[str, Any]], readers: Mapping[str, Any]) -> None:
    """Add the flags that a TOML file declares: how argparse takes them, and how their values are read."""
    for flag, how in flags.items():
        options = dict(how)
        names = options.pop("names", [f"--{flag}"])
        if "read" in options:
            options["type"] = readers[options.pop("read")]
        if isinstance(options.get("metavar"), list):
            options["metavar"] = tuple(options["metavar"])
        command.add_argument(*names, **options)


def _number(*, above: float = -math.inf, least: float = -math.inf, units: str = "") -> Callable[[str], float]:
    limit = f" above {above:g}" if math.isfinite(above) else f", {least:g} or more"

    def read(text: str) -> float:
        value = written(text.strip(), units)
        if not (value > above and value >= least and value < math.inf):
            raise argparse.ArgumentTypeError(f"'{shown(text)}': must be a number{limit}")
        if value > LARGEST:
            raise argparse.ArgumentTypeError(f"'{shown(text)}': must be at most {LARGEST:g}")
        return value

    return read


def whole(least: int = 0, most: int = LARGEST_SEED) -> Callable[[str], int]:
    """How a flag reads a whole number."""

    def read(text: str) -> int:
        # No more than 20 digits are made a number: Python refuses thousands, and all are too many here.
        value = int(text.lstrip("0")[:20] or "0") if text.isascii() and text.isdigit() else -1
        if value < least:
            raise argparse.ArgumentTypeError(f"'{shown(text)}': must be a whole number, {least} or more")
        if value > most:
            raise argparse.ArgumentTypeError(f"'{shown(text)}': must be at most {most:,}")
        return value

    return read


def _answer(fit: Callable[[argparse.Namespace], cmr.Answer | allocation.Answer], options: argparse.Namespace) -> int:
    """Run a fit, print the answer and write the files asked for, once everything that goes into them is there."""
    if problem := _clash(options):
        print(f"repro fit: {problem}", file=sys.stderr)
        return WRONG_INPUT
    from repro.fit.table import WrongTable

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers that overflow: what comes of them is checked
            answer = fit(options)
            page = answer.html() if options.html else None
    except WrongTable as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    print(answer, flush=True)
    if options.json:
        write(options.json, answer.as_json())
    if page is not None:
        write(options.html, page)
    return 0


def _clash(options: argparse.Namespace) -> str | None:
    """What is wrong with flags that are each right by themselves."""
    if same_file(path for path in (options.file, options.runs, options.table, options.json, options.html) if path):
        return "the table, --json and --html: must be different files, and so must --runs and --table"
    if (getattr(options, "base_general", None) is None) != (getattr(options, "base_domain", None) is None):
        return "--base-general and --base-domain must be given together"
    return None


def _logs(options: argparse.Namespace) -> Logs:
    from repro.fit.logs import MEASURED, Logs

    named = {name: getattr(options, name) for name in MEASURED if getattr(options, name, None)}
    return Logs(named, getattr(options, "tokens_per_step", None), options.runs, options.table)


def _cmr(options: argparse.Namespace) -> cmr.Answer:
    from repro.fit.cmr import fit
    from repro.laws.cmr.losses import Base

    base = None if options.base_general is None else Base(options.base_general, options.base_domain)
    chosen = {name: getattr(options, name) for name in ("epsilon", "lagrange", "bootstrap", "seed")}
    return fit(options.file, options.t_max, base, _logs(options), **chosen)


def _allocation(options: argparse.Namespace) -> allocation.Answer:
    from repro.fit.allocation import fit

    return fit(options.file, options.budget, options.bootstrap, options.seed, options.predict, _logs(options))
