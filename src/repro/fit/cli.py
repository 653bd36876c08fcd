"""`repro fit`: the papers' laws on a reader's own numbers. Nothing heavy is imported before the flags are right."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.fit import DRAWS
from repro.fit.numbers import LARGEST, TOKENS, written
from repro.output import same_file, shown, write

if TYPE_CHECKING:
    from repro.fit import allocation, cmr

WRONG_INPUT = 2
MOST_DRAWS = 100_000
LARGEST_SEED = 2**63 - 1


def add(commands: Any, output: Callable[[str], Path]) -> None:
    """Add the command to the front door's; ``output`` checks where a file is to be written."""
    text = "fit the papers' laws to your own losses or scores, from a CSV file"
    fit = commands.add_parser("fit", help=text, description=f"{text[0].upper()}{text[1:]}.")
    papers = fit.add_subparsers(metavar="PAPER", required=True)

    text = """Find the critical mixture ratio. Columns of the file: ratio (0 to 1), tokens, general_loss, domain_loss;
    also size, domain or seed if there are several. Rows with tokens 0 are the model before continual pretraining."""
    cmr = papers.add_parser("cmr", help="the critical mixture ratio, from losses by ratio and tokens", description=text)
    cmr.add_argument("file", type=Path, metavar="LOSSES.csv")
    words = "end of training, in the file's tokens (the most tokens in the file)"
    cmr.add_argument("--t-max", type=_number(above=0, units=TOKENS), metavar="T", help=words)
    words = "largest rise of the general loss that is tolerated (0.05)"
    cmr.add_argument("--epsilon", type=_number(least=0), default=0.05, metavar="E", help=words)
    words = "Lagrange multiplier: weight of the general loss against the domain loss (7000)"
    cmr.add_argument("--lagrange", type=_number(above=0), default=7000.0, metavar="L", help=words)
    for loss in ("general", "domain"):
        words = f"{loss} loss before continual pretraining, if the file has no rows with tokens 0"
        cmr.add_argument(f"--base-{loss}", type=_number(above=0), metavar="LOSS", help=words)
    cmr.set_defaults(command=lambda options: _answer(options, _cmr))

    text = """Find the best split of a token budget between CPT and SFT. Columns of the file: score, and sft_tokens or
    cpt_fraction; also n_items (the score is then a proportion of so many items), and seed if there are several."""
    help_ = "the best split between CPT and SFT tokens, from scores"
    allocation = papers.add_parser("allocation", help=help_, description=text)
    allocation.add_argument("file", type=Path, metavar="SCORES.csv")
    words = "tokens of CPT and SFT together"
    tokens = _number(above=0, units=TOKENS)
    allocation.add_argument("--budget", type=tokens, required=True, metavar="N", help=words)
    words = "predict the best split of another budget; may be repeated"
    allocation.add_argument("--predict", type=tokens, action="append", default=[], metavar="N", help=words)
    allocation.set_defaults(command=lambda options: _answer(options, _allocation))

    for command in (cmr, allocation):
        words = f"bootstrap draws for the intervals ({DRAWS}); 0 for no intervals"
        command.add_argument("--bootstrap", type=whole(most=MOST_DRAWS), default=DRAWS, metavar="N", help=words)
        command.add_argument("--seed", type=whole(), default=0, metavar="N", help="seed of the bootstrap (0)")
        command.add_argument("--json", type=output, metavar="OUT", help="write this file as well, as JSON")
        command.add_argument("--html", type=output, metavar="OUT", help="write a report with figures to this file")


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


def _answer(options: argparse.Namespace, fit: Callable[[argparse.Namespace], cmr.Answer | allocation.Answer]) -> int:
    """Run a fit, print the answer and write the files asked for, once everything that goes into them is there."""
    if problem := _clash(options):
        print(f"repro fit: {problem}", file=sys.stderr)
        return WRONG_INPUT
    from repro.fit.report import as_json
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
        write(options.json, as_json(answer.as_json()))
    if page is not None:
        write(options.html, page)
    return 0


def _clash(options: argparse.Namespace) -> str | None:
    """What is wrong with flags that are each right by themselves."""
    if same_file(path for path in (options.file, options.json, options.html) if path):
        return "the table, --json and --html: must be different files"
    if (getattr(options, "base_general", None) is None) != (getattr(options, "base_domain", None) is None):
        return "--base-general and --base-domain must be given together"
    return None


def _cmr(options: argparse.Namespace) -> cmr.Answer:
    from repro.fit.cmr import fit
    from repro.laws.cmr.losses import Base

    base = None if options.base_general is None else Base(options.base_general, options.base_domain)
    chosen = {name: getattr(options, name) for name in ("epsilon", "lagrange", "bootstrap", "seed")}
    return fit(options.file, options.t_max, base, **chosen)


def _allocation(options: argparse.Namespace) -> allocation.Answer:
    from repro.fit.allocation import fit

    return fit(options.file, options.budget, options.bootstrap, options.seed, options.predict)
