"""The kinds of value that parameters have, and what both papers' studies share: sources of text, and where runs go."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    model_validator,
)

LARGEST = 10**15  # of a number: a count is still an exact float, and a product of several still finite
MOST_RUNS = 10_000  # that train a model, or models that are scored, in one study
LONGEST = 200  # characters of a name
LONGEST_PART = 255  # bytes of a folder's name, as most file systems have it
LONGEST_SHOWN = 80  # characters of an unknown name that a message repeats
EXPONENT = re.compile(r"[0-9.]+[eE].*")
FRACTION = re.compile(r"[+-]?[0-9]{1,40}(/[0-9]{1,40}|\.[0-9]{0,40})?", re.ASCII)
# Words joined by single dots and by dashes, which excludes ".." and what starts with a dot or a dash.
WORDS = r"[A-Za-z0-9_]+(?:(?:[.+]|-+)[A-Za-z0-9_]+)*"
# Kinds of stages, as `repro plan` lists them: those that train, which several devices can share; those that only get
# text, models and questions ready; and the rest.
TRAINING = ("pretrain", "continue", "cpt", "sft")
PREPARING = ("base", "text", "tokenizer", "tokens", "material", "pairtokens")
KINDS = (*TRAINING, *PREPARING, "evaluate", "programs", "heldout", "drift", "ratiodrift", "recovery", "peaks")
# Which kinds of source options are for; all others are for the hub.
OPTIONS: dict[str, tuple[str, ...]] = {"topics": ("package",)} | dict.fromkeys(
    ("text_field", "licence", "form", "prompt_field", "answer_field", "separator", "turns"), ("folder", "hub")
)


class Section(BaseModel):
    """Base of every part of the schema: no unknown names, nothing changes once checked."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(f"unknown name {str(name)[:LONGEST_SHOWN]!r}; {instead(str(name), cls.model_fields)}")
        return values

    def only(self, *names: str) -> str:
        """The one of `names` that is given; ValueError if none or several are."""
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            allowed = f"{', '.join(names[:-1])} and {names[-1]}"
            raise ValueError(f"must have exactly one of {allowed}, not {' and '.join(given) or 'none'}")
        return given[0]

    def require_distinct(self, *names: str) -> None:
        """Refuse a list, among those called `names`, that has a value twice."""
        for name in names:
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} must not repeat a value")


def instead(name: str, allowed: Iterable[str]) -> str:
    """What may stand in place of an unknown name: the one that was probably meant, and all there are."""
    known = list(allowed)
    like = difflib.get_close_matches(name[:LONGEST_SHOWN], known, n=1)
    return f"{f'did you mean {like[0]}? ' if like else ''}allowed are {', '.join(known)}"


def text(description: str, **options: Any) -> Any:
    """A field and what it means, which a notebook's parameters cell shows."""
    return Field(description=description, **options)


def must_be(allowed: str, holds: Callable[[Any], object]) -> AfterValidator:
    """A check that something holds of a value; `allowed` says in words what that is."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"must be {allowed}")
        return value

    return AfterValidator(check)


def matches(pattern: str, allowed: str) -> AfterValidator:
    """A check that a text is like `pattern` from end to end; `allowed` says in words what that is."""
    return must_be(allowed, re.compile(pattern, re.ASCII).fullmatch)


def _name(pattern: str, allowed: str) -> AfterValidator:
    return matches(rf"(?=.{{1,{LONGEST}}}\Z)(?:{pattern})", f"{allowed}, at most {LONGEST} characters")


def _exponent(value: str) -> str:
    return " (YAML reads 1e-4 as text: write 1.0e-4)" if EXPONENT.fullmatch(value) else ""


def _fraction(value: object) -> Fraction:
    number = isinstance(value, (int, float, Fraction)) and not isinstance(value, bool)
    # 1e-999999999 would be computed, digit by digit.
    if number or (isinstance(value, str) and FRACTION.fullmatch(value)):
        with suppress(ValueError, ZeroDivisionError):
            return Fraction(str(value))
    raise ValueError(f"must be a number or a fraction such as 1/3{_exponent(str(value))}")


def _number(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"must be a number, not text{_exponent(value)}")
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value + 0.0 if isinstance(value, float) else value  # -0.0 would give runs another key than 0.0


def _workers(value: object) -> object:
    if value != "auto" and (type(value) is not int or not 1 <= value <= 10_000):
        raise ValueError("must be auto or a whole number from 1 to 10,000")
    return value


def _is_title(value: str) -> bool:
    letters = {unicodedata.category(letter)[0] for letter in value if letter not in " _-"}
    return 0 < len(value) <= 41 and value == value.strip() and value[0] not in "_-" and letters <= set("LMN")


def _folder(value: str) -> str:
    parts = Path(value).parts
    if ".." in parts:
        raise ValueError("must be a folder without ..: absolute, from ~, or from the project's folder")
    if value.startswith("~") and parts[0] != "~":
        raise ValueError("must be absolute, from ~, or from the project's folder; of users only ~ itself is allowed")
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        raise ValueError(f"must have no name longer than {LONGEST_PART} bytes in it")
    if parts == ("/",):
        raise ValueError("must be a folder, not the whole file system")
    return value


_Ratio = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str)]
Share = Annotated[_Ratio, must_be("between 0 and 1", lambda share: 0 <= share <= 1)]
InnerShare = Annotated[Share, must_be("between 0 and 1, and neither", lambda share: 0 < share < 1)]
Count = Annotated[int, Strict(), Field(gt=0, le=LARGEST)]
Whole = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, BeforeValidator(_number), Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
Name = Annotated[
    str, matches(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}", "letters, digits, _ and -, at most 41, a letter or digit first")
]
Line = Annotated[str, must_be("one line of printable text", lambda line: line.strip() and line.isprintable())]
Title = Annotated[str, must_be("letters, digits, spaces, _ and -, at most 41, a letter or digit first", _is_title)]
Folder = Annotated[Line, AfterValidator(_folder)]
HubId = Annotated[str, _name(rf"(?:{WORDS}/)?{WORDS}", "a name of the hub such as owner/name")]
Revision = Annotated[str, _name(rf"{WORDS}(?:/{WORDS})*", "a commit, tag or branch such as main or refs/pr/1")]
Config = Annotated[str, _name(rf"{WORDS}(?: {WORDS})*", "a configuration's name such as 20231101.en")]
Split = Annotated[str, _name(r"\w+(?:\.\w+)*", "a split's name such as train")]
Directory = Annotated[
    str, _name(r"\w[\w.=+, -]*(?:/\w[\w.=+, -]*)*", "a folder of the data set such as data/en, without .. in it")
]

Preset = Annotated[Name, text("name of this set of parameters")]
Draws = Annotated[Count, Field(le=10**6)]
Sets = Annotated[Count, Field(le=10**5)]


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"no kind of run; {instead(value, KINDS)}")
    return value


Address = Annotated[
    str, matches(r"(tcp|tls)://[\w.:\[\]-]{1,200}:[0-9]{1,5}", "an address such as tcp://10.0.0.1:8786")
]
WallTime = Annotated[str, matches(r"[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", 'hours:minutes:seconds, such as "24:00:00"')]
Directive = Annotated[
    Line, must_be("without #SBATCH (or #PBS, #BSUB), which is put before it", lambda line: line.lstrip()[0] != "#")
]
Word = Annotated[str, matches(r"\w[\w.,:@/+-]{0,199}", "letters, digits and _ . , : @ / + -, at most 200 of them")]
Kind = Annotated[str, AfterValidator(_kind)]
MOST = 1024  # devices of a node: an upper bound
Cores = Annotated[Count, Field(le=2**16)]
Gib = Annotated[Positive, Field(le=2**20)]
BATCH_ONLY = ("queue", "account", "walltime", "cores", "memory_gib", "interface", "directives", "setup")


class ClusterParams(Section):
    """Workers on other machines: exactly one of batch and scheduler. Nothing here changes a number.

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


def require_few(runs: int, names: str) -> None:
    """Refuse values that together ask for more than `MOST_RUNS`, before any of these is listed."""
    if runs > MOST_RUNS:
        raise ValueError(f"{names} ask for {runs:,} runs together; must be at most {MOST_RUNS:,}")


class StudyParams(Section):
    """What both papers' studies have, so that a preset says it once, and where their runs go."""

    near_duplicate: Positive = text("Jaccard similarity from which two documents count as the same", le=1)
    domain_validation_share: InnerShare = text("share of a domain's documents held out")
    weight_decay: NotNegative = text("weight decay of matrices")
    clip: Positive = text("largest norm of the gradient")
    seeds: tuple[Annotated[int, Strict(), Field(ge=0, lt=2**63)], ...] = text("seeds of weights and data", min_length=1)
    bootstrap: Draws = text("bootstrap draws for intervals")
    device: Literal["auto", "cpu", "cuda"] = text("where to train: auto, cpu or cuda", default="auto")
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = text(
        "runs at a time; auto: one for each GPU, or else core", default="auto"
    )
    cluster: ClusterParams | None = text(
        "where runs execute: a batch system or a dask scheduler; null: this machine", default=None
    )
    resources: Annotated[dict[Kind, NeedsParams], AfterValidator(_only_training_is_shared)] = text(
        "devices and memory for each run of a kind, such as {pretrain: {devices: 2, memory_gib: 40}}",
        default_factory=dict,
    )
    micro_batch: Count | None = text("sequences in a forward pass; null: the whole batch", default=None)
    checkpoint_seconds: Positive = text("seconds between saves of what a run needs to resume", default=60.0)

    @model_validator(mode="after")
    def _given_by_the_cluster(self) -> "StudyParams":
        """Refuse what the cluster cannot give, before anything is submitted to it."""
        if self.cluster is None:
            return self
        cluster, device = self.cluster, self.device
        if cluster.batch and self.workers == "auto":
            raise ValueError("workers must be a number with cluster.batch: the number of jobs")
        hours, minutes, seconds = map(int, cluster.walltime.split(":"))
        if cluster.batch and 3600 * hours + 60 * minutes + seconds < 3 * self.checkpoint_seconds:
            raise ValueError(
                f"cluster.walltime must be at least three times checkpoint_seconds, {self.checkpoint_seconds:g}: "
                "a job that ends before it saves has done nothing"
            )
        if device == "cuda" and not cluster.gpus:
            raise ValueError("cluster.gpus must be 1 or more with device: cuda")
        if device == "cpu" and cluster.gpus:
            raise ValueError("cluster.gpus must be 0 with device: cpu")
        for kind, needs in self.resources.items():
            if cluster.gpus and needs.devices > cluster.gpus:
                raise ValueError(f"resources.{kind}.devices must be at most cluster.gpus, {cluster.gpus}")
            if cluster.batch and (needs.memory_gib or 0) > cluster.memory_gib:
                most = f"{cluster.memory_gib:g}"
                raise ValueError(f"resources.{kind}.memory_gib must be at most cluster.memory_gib, {most}")
        return self

    def require_rows(self, **rows: int) -> None:
        """Refuse more devices for a run than have something to do; rows: of an optimiser step, by kind of run."""
        for kind, count in rows.items():
            if kind in self.resources and self.resources[kind].devices > count:
                raise ValueError(f"resources.{kind}.devices must be at most the {count} rows of one of its steps")


class PretrainedParams(Section):
    """A pretrained model to adapt: exactly one of package, folder and hub.

    package: a model in a data package; folder: a local folder in Hugging Face format, absolute, from ~, or from the
    project's folder; hub: a Hugging Face id, with its revision and its number of parameters (for plans).
    """

    kinds: ClassVar[tuple[str, ...]] = ("package", "folder", "hub")
    package: Line | None = None
    folder: Folder | None = None
    hub: HubId | None = None
    revision: Revision | None = None
    parameters: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "PretrainedParams":
        kind = self.only(*self.kinds)
        if (kind == "hub") != (self.revision is not None):
            raise ValueError("a hub model needs a revision, so that it stays the same model, and nothing else has one")
        if kind == "hub" and self.parameters is None:
            raise ValueError(
                "a hub model needs parameters, the number of its weights, so that its cost can be estimated"
            )
        return self


class OriginParams(Section):
    """What text and pairs come from: exactly one of package, folder (or a file, absolute, from ~, or from the project's
    folder) and hub; directory: the folder of a hub data set to read alone.
    """

    package: Line | None = None
    folder: Folder | None = None
    hub: HubId | None = None
    revision: Revision | None = None
    config: Config | None = None
    split: Split = "train"
    directory: Directory | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "OriginParams":
        kind = self.only("package", "folder", "hub")
        for name in self.model_fields_set - {kind, "part"}:
            if kind not in (kinds := OPTIONS.get(name, ("hub",))):
                raise ValueError(f"{name} is an option of {' and '.join(kinds)}, not of {kind}")
        if self.hub and not self.revision:
            raise ValueError("a hub data set needs a revision, so that it stays the same")
        return self


class SourceParams(OriginParams):
    """One source of documents, and what to take of it; tokenizer: of the hub, if text_field holds its token ids (with
    directory only).
    """

    topics: tuple[Line, ...] = ()
    part: tuple[Share, Share] = (Fraction(0), Fraction(1))
    text_field: Line = "text"
    licence: Line | None = None
    tokenizer: HubId | None = None
    characters_limit: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "SourceParams":
        if self.part[0] >= self.part[1]:
            raise ValueError("part must be [from, to] with from < to")
        if self.tokenizer and not self.directory:
            raise ValueError("tokenizer needs a directory")
        if self.directory and self.config:
            raise ValueError("config and directory cannot both be given")
        return self
