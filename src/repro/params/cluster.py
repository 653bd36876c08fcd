"""Where a study runs, and what its runs need there: nothing here changes a number."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from repro.params.values import Count, Line, Positive, Section, instead, matches, text

# Kinds of stages, as `repro plan` lists them: those that train, which several devices can share; those that only get
# text, models and questions ready; and the rest.
TRAINING = ("pretrain", "continue", "cpt", "sft")
PREPARING = ("base", "text", "tokenizer", "tokens", "material", "pairtokens")
KINDS = (*TRAINING, *PREPARING, "evaluate", "programs", "heldout", "drift", "ratiodrift", "recovery", "peaks")


def _directive(value: str) -> str:
    if value.lstrip().startswith("#"):
        raise ValueError("must be without #SBATCH (or #PBS, #BSUB), which is put before it")
    return value


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"no kind of run; {instead(value, KINDS)}")
    return value


Address = Annotated[
    str, matches(r"(tcp|tls)://[\w.:\[\]-]{1,200}:[0-9]{1,5}", "an address such as tcp://10.0.0.1:8786")
]
WallTime = Annotated[str, matches(r"[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", 'hours:minutes:seconds, such as "24:00:00"')]
Directive = Annotated[Line, AfterValidator(_directive)]
Word = Annotated[str, matches(r"\w[\w.,:@/+-]{0,199}", "letters, digits and _ . , : @ / + -, at most 200 of them")]
Kind = Annotated[str, AfterValidator(_kind)]
MOST = 1024  # devices of a node: an upper bound
Cores = Annotated[Count, Field(le=2**16)]
Gib = Annotated[Positive, Field(le=2**20)]
BATCH_ONLY = ("queue", "account", "walltime", "cores", "memory_gib", "interface", "directives", "setup")


class ClusterParams(Section):
    """Workers on other machines: exactly one of batch and scheduler.

    batch: the batch system, which is given `workers` jobs of one worker each; scheduler: the address of a dask
    scheduler; gpus: of each worker; memory_gib: main memory of a job; interface: the network by which jobs reach this
    machine, such as ib0; directives: more lines for a job's header, without #SBATCH; setup: shell lines before the
    worker.
    """

    batch: Literal["slurm", "pbs", "lsf"] | None = None
    scheduler: Address | None = None
    gpus: Annotated[int, Strict(), Field(ge=0, le=MOST)] = 0
    queue: Word | None = None
    account: Word | None = None
    walltime: WallTime = "08:00:00"
    cores: Cores = 1
    memory_gib: Gib = 8.0
    interface: Word | None = None
    directives: tuple[Directive, ...] = ()
    setup: tuple[Line, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> "ClusterParams":
        kind = self.only("batch", "scheduler")
        for name in BATCH_ONLY:
            if kind == "scheduler" and name in self.model_fields_set:
                raise ValueError(f"{name} is an option of batch, not of scheduler")
        return self


class NeedsParams(Section):
    """What each run of a kind takes of a worker: devices that share the run, and main memory."""

    devices: Annotated[Count, Field(le=MOST)] = 1
    memory_gib: Gib | None = None


def _only_training_is_shared(needs: dict[Kind, NeedsParams]) -> dict[Kind, NeedsParams]:
    for kind, need in needs.items():
        if need.devices > 1 and kind not in TRAINING:
            raise ValueError(f"{kind}.devices must be 1: only {', '.join(TRAINING)} can be shared by several")
    return needs


ClusterField = Annotated[
    ClusterParams | None, text("where runs execute: a batch system or a dask scheduler; null: this machine")
]
ResourcesField = Annotated[
    dict[Kind, NeedsParams],
    AfterValidator(_only_training_is_shared),
    text("devices and memory for each run of a kind, such as {pretrain: {devices: 2, memory_gib: 40}}"),
]


def require_rows(resources: dict[Kind, NeedsParams], rows: dict[str, int]) -> None:
    """Refuse more devices for a run than have something to do; rows: of an optimiser step, by kind of run."""
    for kind, count in rows.items():
        if kind in resources and resources[kind].devices > count:
            raise ValueError(f"resources.{kind}.devices must be at most the {count} rows of one of its steps")


def require_consistent(
    device: str,
    workers: int | str,
    checkpoint_seconds: float,
    cluster: ClusterParams | None,
    resources: dict[Kind, NeedsParams],
) -> None:
    """Refuse what the cluster cannot give, before anything is submitted to it."""
    if cluster is None:
        return
    if cluster.batch and workers == "auto":
        raise ValueError("workers must be a number with cluster.batch: the number of jobs")
    hours, minutes, seconds = map(int, cluster.walltime.split(":"))
    if cluster.batch and 3600 * hours + 60 * minutes + seconds < 3 * checkpoint_seconds:
        raise ValueError(
            f"cluster.walltime must be at least three times checkpoint_seconds, {checkpoint_seconds:g}: "
            "a job that ends before it saves has done nothing"
        )
    if device == "cuda" and not cluster.gpus:
        raise ValueError("cluster.gpus must be 1 or more with device: cuda")
    if device == "cpu" and cluster.gpus:
        raise ValueError("cluster.gpus must be 0 with device: cpu")
    for kind, needs in resources.items():
        if cluster.gpus and needs.devices > cluster.gpus:
            raise ValueError(f"resources.{kind}.devices must be at most cluster.gpus, {cluster.gpus}")
        if cluster.batch and (needs.memory_gib or 0) > cluster.memory_gib:
            raise ValueError(f"resources.{kind}.memory_gib must be at most cluster.memory_gib, {cluster.memory_gib:g}")
