"""A domain's files: pairs, questions and documents, kept apart from each other. What questions are asked about is kept
from training, and it is counted what training shows of the choices anyway.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repro.data import corpora
from repro.data.documents import LATER, Document, Documents, Questions, ngrams, words
from repro.data.domains import recipe_of
from repro.data.domains.coding import HUMANEVAL, problem_items, problems
from repro.data.domains.items import Item, plain, position
from repro.data.packages import PythonSource, library_digest
from repro.data.pairs import BuiltIn, PairSource
from repro.data.questions import OwnQuestions
from repro.data.sources import Source, package_source

REASONS = ("pairs", "documents", "pairs_of_choices", "documents_of_choices")
ANSWERS, TEXT, SUBJECTS = "SFT answers", "CPT text", "subjects of CPT documents"
PAIRS = "pairs.parquet"


class Contamination:
    """Which pairs and documents would teach the items asked, or the names of their choices. Right and wrong choices are
    held out alike: otherwise training would make the wrong ones familiar, and a model that learns more would answer
    more questions wrongly. Choices that other items have as well cannot be held out; see `Item.candidates`.
    """

    def __init__(self, asked: Iterable[Item], besides: Iterable[Item], threshold: float) -> None:
        """`asked`: the questions of the domain itself, whose groups are held out; `besides`: those of others."""
        own = list(asked)
        every = [*own, *besides]
        self._questions = Questions((item.body for item in every), threshold)
        self._groups = {item.group for item in own}
        unshared = [item for item in every if item.is_question and not item.candidates]
        self._choices = {plain(choice) for item in unshared for choice in item.choices}

    def reason(self, item: Item) -> str:
        """Why an item must not be tuned on: "pairs" (it holds a question), "pairs_of_choices" or "" (it may)."""
        if item.body in self._questions:
            return "pairs"
        return "pairs_of_choices" if plain(item.answer) in self._choices else ""

    def reason_of_text(self, document: Document) -> str:
        """Why a text must not be trained on: "documents" (it holds a question, or is of the group of one),
        "documents_of_choices" (a choice is its subject) or "" (it may be).
        """
        if document.topic in self._groups or document.text in self._questions:
            return "documents"
        return "documents_of_choices" if document.subject and plain(document.subject) in self._choices else ""


@dataclass(frozen=True)
class Decontaminated:
    """A source without the documents that would contaminate it. By the digests of texts, reasons: why each is dropped,
    "" if it is not; subjects: what each that is kept is about, "" where that is not known.
    """

    source: Documents
    contamination: Contamination
    reasons: dict[bytes, str] = field(default_factory=dict)
    subjects: dict[bytes, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.source.label

    def documents(self) -> Iterator[Document]:
        for document in self.source.documents():
            digest = document.digest
            if digest not in self.reasons:  # texts are read more than once, and looking for questions takes longest
                self.reasons[digest] = self.contamination.reason_of_text(document)
            if not self.reasons[digest]:
                self.subjects[digest] = document.subject
                yield document


def exposure(
    asked: Mapping[str, Sequence[Item]], answers: Iterable[str], texts: Iterable[str], subjects: Iterable[str]
) -> list[dict[str, Any]]:
    """The shares of right and of wrong choices that training shows: rows with "benchmark", "where" (`ANSWERS`, `TEXT`
    or `SUBJECTS`), "right" and "wrong", in [0, 1]; none of a benchmark that offers no choices.

    answers: of the pairs; texts, and their subjects, of continual pretraining. A choice is in the text if its words
    stand there one after the other; an answer, or a subject, must be the choice, capital letters aside.
    """
    choices = {choice for items in asked.values() for item in items for choice in item.choices}
    places = {
        ANSWERS: set(map(plain, answers)),
        TEXT: set(map(plain, mentioned(choices, texts))),
        SUBJECTS: set(map(plain, subjects)),
    }
    return [
        {
            "benchmark": benchmark,
            "where": where,
            "right": fmean(plain(item.answer) in familiar for item in items),
            "wrong": fmean(plain(c) in familiar for item in items for c in item.choices if c != item.answer),
        }
        for benchmark, items in asked.items()
        if all(item.distractors for item in items)
        for where, familiar in places.items()
    ]


def mentioned(names: Iterable[str], texts: Iterable[str]) -> set[str]:
    """The names whose words stand in one of the texts one after the other; each text is read once."""
    spelt = {name: words(name) for name in names}
    wanted, sizes = {" ".join(spelling) for spelling in spelt.values()}, set(map(len, spelt.values())) - {0}
    present: set[str] = set()
    for in_order in map(words, texts):
        for size in sizes:
            present |= wanted & ngrams(in_order, size)
    return {name for name, spelling in spelt.items() if " ".join(spelling) in present}


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a domain is made from: sources of text for continual pretraining; pairs for fine-tuning and, where they are
    built in, for its benchmarks; questions: the user's benchmarks; against: what else neither may repeat, such as the
    test split of a benchmark that is scored elsewhere, or the questions of another domain whose text overlaps.
    """

    sources: tuple[Source, ...]
    pairs: tuple[PairSource, ...]
    against: tuple["PairSource | OwnQuestions | Asked", ...] = ()
    questions: tuple[OwnQuestions, ...] = field(default=(), metadata=LATER)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The built-in benchmarks that `build` writes questions for."""
        return tuple(name for source in self.pairs if isinstance(source, BuiltIn) for name in source.benchmarks)

    @property
    def own(self) -> tuple[str, ...]:
        """The benchmarks of the user's own."""
        return tuple(source.name for source in self.questions)


@dataclass(frozen=True, kw_only=True)
class Division:
    """How a domain's material is divided, by hashes of the items and texts, so that order does not matter.

    benchmark: share of the built-in items (by group) that is set aside for questions; questions: how many of them each
    benchmark asks, except HumanEval, which asks all it has; validation: share of the text held out; near_duplicate:
    Jaccard similarity of two texts, or share of a question's word 5-grams in a text, that counts as a repeat.
    """

    benchmark: Fraction
    questions: int
    validation: Fraction
    near_duplicate: float


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The questions of another domain, for `Domain.against`, and HumanEval's problems if that domain brings them."""

    pairs: tuple[PairSource, ...]
    division: Division

    def items(self) -> Iterator[Item]:
        """The items that are asked there."""
        items, _ = distinct(self.pairs)
        for questions in divided(items, self.division)[0].values():
            yield from questions
        if HUMANEVAL in Domain(sources=(), pairs=self.pairs).benchmarks:
            yield from problem_items()


def built_in(name: str) -> Domain:
    """The built-in domain of this name, with the data of this installation; ValueError if there is no such domain."""
    made = recipe_of(name)
    sources: list[Source] = [package_source(n) for n, package in made.packages.items() if package.kind == "text"]
    if made.library:
        sources.append(PythonSource(digest=library_digest()))
    return Domain(sources=tuple(sources), pairs=(BuiltIn(builder=name, digests=made.digests),))


def distinct(sources: Iterable[PairSource]) -> tuple[list[Item], dict[str, int]]:
    """The items, each prompt once, ordered by a hash; and how many were "repeated" exactly, or "ambiguous"."""
    by_prompt: defaultdict[str, list[Item]] = defaultdict(list)
    count = 0
    for source in sources:
        for item in source.items():
            by_prompt[item.prompt].append(item)
            count += 1
    same = [items for items in by_prompt.values() if len({item.answer for item in items}) == 1]
    # Of repeats the one with the smallest name is kept, so that the order of the data does not matter.
    kept = sorted(
        (min(items, key=lambda item: item.name) for items in same),
        key=lambda item: (position("order", item.name), item.name),
    )
    ambiguous = count - sum(map(len, same))
    return kept, {"repeated": count - ambiguous - len(kept), "ambiguous": ambiguous}


def divided(items: list[Item], division: Division) -> tuple[dict[str, list[Item]], list[Item], int]:
    """The items that each benchmark asks, those to tune on, and how many were set aside and not asked. ValueError if
    there are too few questions.
    """
    benchmarks = {item.benchmark for item in items if item.is_question or item.candidates}
    aside = {item.group for item in items if benchmarks and position("benchmark", item.group) < division.benchmark}
    askable = [item.among(aside) for item in items if item.group in aside]
    asked: dict[str, list[Item]] = {}
    for benchmark in sorted(benchmarks):
        questions = [item for item in askable if item.benchmark == benchmark and item.is_question]
        if len(questions) < division.questions:
            raise ValueError(
                f"{benchmark}: {division.questions} questions are asked for, but there are {len(questions)}; "
                "ask for fewer, or set a larger share aside"
            )
        asked[benchmark] = questions[: division.questions]
    taught = [item for item in items if item.group not in aside]
    return asked, taught, len(askable) - sum(map(len, asked.values()))


def build(folder: Path, domain: Domain, division: Division, seen: Path | None = None) -> dict[str, Any]:
    """Write pairs.parquet, a file of questions per benchmark, training.parquet and validation.parquet, statistics.json
    into `folder`; no item is in two of them.

    Dropped are pairs and documents that hold nearly all of a question, documents of a group (a module of code, say)
    that questions are asked about, and pairs and documents that are about one of the choices, right or wrong
    (`Contamination`). `seen` is as for `corpora.split_text`.

    Returns what statistics.json holds. "items": how many there are; "pairs": how many are tuned on; "questions": how
    many each benchmark has; "spare": items set aside beyond those asked; "text": as `corpora.split_text` counts it;
    "dropped": numbers of "repeated" and "ambiguous" items (one prompt, two answers), of "pairs" and of "documents" that
    hold a question, and of other "pairs_of_choices" (the answer is a choice) and "documents_of_choices" (the subject is
    one); "exposure": as `exposure` has it. Raises ValueError if there are too few questions, no pair, or no document in
    a part.
    """
    items, dropped = distinct(domain.pairs)
    asked, taught, spare = divided(items, division)
    asked |= {source.name: source.items() for source in domain.questions}
    programs = problems() if HUMANEVAL in domain.benchmarks else []
    others = [item for source in domain.against for item in source.items()]
    contamination = Contamination(
        [item for questions in asked.values() for item in questions],
        [*others, *(problem_items() if programs else ())],
        division.near_duplicate,
    )
    reasons = [contamination.reason(item) for item in taught]
    pairs = [item for item, reason in zip(taught, reasons, strict=True) if not reason]
    if not pairs:
        raise ValueError("no pair is left to be tuned on; give more of them, or set fewer aside for the benchmarks")
    rows = [{"item": item.name, "prompt": item.prompt, "answer": item.answer} for item in pairs]
    pq.write_table(pa.Table.from_pylist(rows), folder / PAIRS)
    questions = {name: [item.question for item in items] for name, items in asked.items()}
    questions |= {HUMANEVAL: programs} if programs else {}
    for name, listed in questions.items():
        lines = "".join(json.dumps(question, ensure_ascii=name in domain.own) + "\n" for question in listed)
        (folder / f"{name}.jsonl").write_text(lines)
    sources = [Decontaminated(source, contamination) for source in domain.sources]
    split = corpora.Split(validation=division.validation, replay=Fraction(0), near_duplicate=division.near_duplicate)
    text = corpora.split_text(sources, split, folder, seen)
    by_reason = Counter([*reasons, *(reason for source in sources for reason in source.reasons.values())])
    texts = list(corpora.read_texts(folder, corpora.TRAINING)) if asked else []
    subjects = {digest: subject for source in sources for digest, subject in source.subjects.items()}
    about = (subjects.get(Document(text=text).digest) for text in texts)
    statistics = {
        "items": len(items),
        "pairs": len(pairs),
        "questions": {name: len(listed) for name, listed in questions.items()},
        "spare": spare,
        "text": text,
        "dropped": dropped | {name: by_reason[name] for name in REASONS},
        "exposure": exposure(asked, [pair.answer for pair in pairs], texts, filter(None, about)),
    }
    corpora.write_statistics(folder, statistics)
    return statistics
