"""Commands on the runs of studies, `repro plan`, `train`, `runs` and `verify`, and how options become studies."""

import argparse
import json
import random
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from repro import params as parameters
from repro.params import AllocationParams, Params, ParamsError
from repro.params.cluster import PREPARING
from repro.runs.engine import StudyFailed

if TYPE_CHECKING:
    from repro.runs import Stage
    from repro.study.base import BaseStudy
    from repro.study.submission import Submission

FAILED = 1  # exit status


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


def identities(values: Mapping[str, Any]) -> dict[frozenset[str], str]:
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


def train(options: argparse.Namespace) -> int:
    """Do every run that is missing, without the pages; or only what takes no GPU and no job, on this machine."""
    values = values_of(options)
    identities(values)
    if not all_runs(_here(values) if options.prepare else values, PREPARING if options.prepare else ()):
        return FAILED
    print("text and models are ready" if options.prepare else "every run is done")
    return 0


def _here(values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values, without the cluster, the GPUs and the jobs that they ask for."""
    own = {kind: needs for kind, needs in (values.get("resources") or {}).items() if kind in PREPARING}
    return dict(values) | {"cluster": None, "device": "cpu", "workers": "auto", "resources": own}


def plan(options: argparse.Namespace) -> int:
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
    from repro.study.submission import Paper, submission

    studies = [study_of(params) for params in given]
    # Only a cluster is asked for: what devices are here takes torch to find out.
    cluster = studies[0].where.cluster if given[0].cluster else None
    header = cluster.script_words() if isinstance(cluster, Batch) else []
    papers = [Paper.of(study.params, study.stages, each) for study, each in zip(studies, hours, strict=True)]
    return submission(papers, header)


def runs(options: argparse.Namespace) -> int:
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
    from repro.runs.space import spare

    stages = [stage for study in studies for stage in study.stages]
    found = spare(studies[0].store, stages, _begun_elsewhere({stage.key for stage in stages}))
    print(f"\n{found}", flush=True)
    if not found:
        return 0
    if not unasked and not _agreed("Free them? [y/N] "):
        print("nothing was freed")
        return 0
    found.free()
    print(f"{found.told} freed")
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


def verify(options: argparse.Namespace) -> int:
    """Retrain finished runs by themselves, in a new store, and compare."""
    studies = [study_of(params) for params in checked(values_of(options))]
    from repro.runs.spec import closure
    from repro.runs.verify import verify_again

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
