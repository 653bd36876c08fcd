"""`repro fit`: the papers' laws on a reader's own numbers. Nothing heavy is imported before the flags are right."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

WRONG_INPUT = 2
DRAWS = 1000
FEW_DRAWS = 100  # below it the 2.5% at either end are no more than two draws
MOST_DRAWS = 100_000


class Outcome(NamedTuple):
    """What a command found: for the terminal, for ``--json``, and a function that makes the page of ``--html``."""

    text: str
    content: dict[str, Any]
    page: Callable[[], str]


def add(commands: Any, output: Callable[[str], Path]) -> None:
    """Add the command to the front door's; ``output`` checks where a file is to be written."""
    text = "fit the papers' laws to your own losses or scores, from a CSV file"
    papers = commands.add_parser("fit", help=text, description=text).add_subparsers(metavar="PAPER", required=True)

    text = """The critical mixture ratio from losses. Columns: ratio (0 to 1), tokens, general_loss, domain_loss; where
    there are several, size, domain, seed. Rows with tokens 0 are the model before continual pretraining."""
    cmr = papers.add_parser("cmr", help="the critical mixture ratio, from losses by ratio and tokens", description=text)
    cmr.add_argument("file", type=Path, metavar="LOSSES.csv")
    cmr.add_argument(
        "--t-max", type=_number(above=0), metavar="T", help="end of training (the most tokens in the file)"
    )
    cmr.add_argument("--epsilon", type=_number(least=0), default=0.05, metavar="E", help="tolerated rise (0.05)")
    cmr.add_argument("--lagrange", type=_number(above=0), default=7000.0, metavar="L", help="multiplier (7000)")
    for loss in ("general", "domain"):
        words = f"{loss} loss before continual pretraining, where the file has no rows with tokens 0"
        cmr.add_argument(f"--base-{loss}", type=_number(), metavar="LOSS", help=words)
    cmr.set_defaults(command=lambda options: _told(options, _cmr))

    text = """The best number of SFT tokens from scores. Columns: score, and sft_tokens or cpt_fraction; where there are
    such, n_items (score is then a proportion of so many items) and seed."""
    help_ = "the best split between CPT and SFT tokens, from scores"
    allocation = papers.add_parser("allocation", help=help_, description=text)
    allocation.add_argument("file", type=Path, metavar="SCORES.csv")
    allocation.add_argument("--budget", type=_number(above=0), required=True, metavar="N", help="tokens in all")
    words = "predict the best split of another budget; may be repeated"
    allocation.add_argument("--predict", type=_number(above=0), action="append", default=[], metavar="N", help=words)
    allocation.set_defaults(command=lambda options: _told(options, _allocation))

    for command in (cmr, allocation):
        words = f"bootstrap draws for the intervals ({DRAWS}); 0 for none"
        command.add_argument("--bootstrap", type=_draws, default=DRAWS, metavar="N", help=words)
        command.add_argument("--seed", type=_count, default=0, metavar="N", help="of the bootstrap (0)")
        command.add_argument("--json", type=output, metavar="OUT", help="write it there as JSON as well")
        command.add_argument("--html", type=output, metavar="OUT", help="write a report there, with figures")


def _number(*, above: float = -math.inf, least: float = -math.inf) -> Callable[[str], float]:
    limit = f" above {above:g}" if math.isfinite(above) else f", {least:g} or more" if math.isfinite(least) else ""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > above and value >= least):
            raise argparse.ArgumentTypeError(f"{text!r}: must be a number{limit}")
        return value

    return read


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, 0 or more")
    return int(text)


def _draws(text: str) -> int:
    count = _count(text)
    if count > MOST_DRAWS:
        raise argparse.ArgumentTypeError(f"{text!r}: must be at most {MOST_DRAWS:,}")
    return count


def _rough(draws: int) -> tuple[str, ...]:
    """A note where there are intervals from few draws."""
    if not 0 < draws < FEW_DRAWS:
        return ()
    return (f"95% intervals from {draws} draw{'s' if draws > 1 else ''} are rough; {DRAWS:,} is the default",)


def _told(options: argparse.Namespace, fit: Callable[[argparse.Namespace], Outcome]) -> int:
    """Run a fit and hand out what it found; files are written only once everything is there to be written."""
    problem = _clash(options)
    if problem:
        print(f"repro fit: {problem}", file=sys.stderr)
        return WRONG_INPUT
    from repro.fit import report
    from repro.fit.table import WrongTable

    try:
        found = fit(options)
    except WrongTable as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    page = found.page() if options.html else None
    print(found.text)
    if options.json:
        report.write(options.json, found.content)
    if options.html and page is not None:
        options.html.write_text(page, encoding="utf-8")
    return 0


def _clash(options: argparse.Namespace) -> str | None:
    """What is wrong with flags that are each right by themselves."""
    files = [path.resolve() for path in (options.file, options.json, options.html) if path]
    if len(set(files)) < len(files):
        return "the file read and the files written must be different ones"
    if (getattr(options, "base_general", None) is None) != (getattr(options, "base_domain", None) is None):
        return "--base-general and --base-domain must be given together"
    return None


def _cmr(options: argparse.Namespace) -> Outcome:
    from repro.fit.cmr import Base, Options, fit

    base = None if options.base_general is None else Base(options.base_general, options.base_domain)
    chosen = Options(options.t_max, options.epsilon, options.lagrange, options.bootstrap, options.seed, base)
    found = fit(options.file, chosen)
    found = replace(found, notes=(*found.notes, *_rough(options.bootstrap)))

    def page() -> str:
        from repro.fit.cmr_report import report

        return report(found).html()

    return Outcome(str(found), found.as_json(), page)


def _allocation(options: argparse.Namespace) -> Outcome:
    from repro.fit.allocation import Options, fit

    chosen = Options(options.budget, options.bootstrap, options.seed, tuple(options.predict))
    found = fit(options.file, chosen)
    found = replace(found, notes=(*found.notes, *_rough(options.bootstrap)))

    def page() -> str:
        from repro.fit.allocation import report

        return report(found).html()

    return Outcome(str(found), found.as_json(), page)
