"""A domain's files: pairs, questions and documents, kept apart from each other."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repro.data import corpora
from repro.data.documents import Document
from repro.data.domains.decontamination import Apart, HeldOut, exposure
from repro.data.domains.items import Item, position
from repro.data.domains.pairs import HUMANEVAL, BuiltIn, PairSource, materials, problem_items, problems
from repro.data.sources import PythonSource, Source, library_digest, package_source

PAIRS = "pairs.parquet"


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a domain is made from.

    sources: text for continual pretraining; pairs: for fine-tuning, and, where they are built in, for the domain's own
    benchmarks; against: what neither pairs nor text may repeat besides, such as the test split of a
    benchmark that is scored elsewhere, or the questions of another domain whose text overlaps.
    """

    sources: tuple[Source, ...]
    pairs: tuple[PairSource, ...]
    against: tuple["PairSource | Asked", ...] = ()

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks that `build` writes questions for."""
        return tuple(name for source in self.pairs if isinstance(source, BuiltIn) for name in source.benchmarks)


@dataclass(frozen=True, kw_only=True)
class Division:
    """How a domain's material is divided, by hashes of the items and texts, so that order does not matter.

    benchmark: share of the built-in items (by group) that is set aside for questions; questions: how many of them are
    asked in each benchmark, HumanEval apart, which is asked whole; validation: share of the text held out;
    near_duplicate: share of a text's word 5-grams from which another repeats it.
    """

    benchmark: Fraction
    questions: int
    validation: Fraction
    near_duplicate: float


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The questions of another domain, for `Domain.against`: HumanEval's problems too, if it is scored on them."""

    pairs: tuple[PairSource, ...]
    division: Division

    def items(self) -> Iterator[Item]:
        """The items that are asked there."""
        items, _ = distinct(self.pairs)
        for questions in divided(items, self.division)[0].values():
            yield from questions
        if any(isinstance(source, BuiltIn) and HUMANEVAL in source.benchmarks for source in self.pairs):
            yield from problem_items()


def built_in(name: str) -> Domain:
    """The built-in domain of this name, with the data of this installation.

    Raises:
        ValueError: if there is none.

    """
    digests = materials(name)
    sources: dict[str, tuple[Source, ...]] = {
        "health": (package_source("hpo"),),
        "chemistry": (package_source("mendeleev"), package_source("wikipedia-chemistry")),
        "coding": (PythonSource(digest=library_digest()),),
        "general": (package_source("wikipedia-en"),),
    }
    return Domain(sources=sources[name], pairs=(BuiltIn(builder=name, digests=digests),))


def distinct(sources: Iterable[PairSource]) -> tuple[list[Item], dict[str, int]]:
    """The items with a prompt of their own, ordered by a hash; how many were exact repeats, or ambiguous."""
    by_prompt: defaultdict[str, list[Item]] = defaultdict(list)
    count = 0
    for source in sources:
        for item in source.items():
            by_prompt[item.prompt].append(item)
            count += 1
    same = [items for items in by_prompt.values() if len({item.answer for item in items}) == 1]
    # Of repeats, the one with the smallest name: which of them came first says nothing.
    kept = sorted((min(items, key=lambda item: item.name) for items in same), key=_order)
    ambiguous = count - sum(map(len, same))
    return kept, {"repeated": count - ambiguous - len(kept), "ambiguous": ambiguous}


def divided(items: list[Item], division: Division) -> tuple[dict[str, list[Item]], list[Item], int]:
    """The items asked in each benchmark, those to be tuned on, and how many were set aside and not asked."""
    able = {item.benchmark for item in items if item.is_question or item.rivals}
    aside = {item.group for item in items if able and position("benchmark", item.group) < division.benchmark}
    askable = [item.among(aside) for item in items if item.group in aside]
    asked: dict[str, list[Item]] = {}
    for benchmark in sorted(able):
        found = [item for item in askable if item.benchmark == benchmark and item.is_question]
        if len(found) < division.questions:
            raise ValueError(
                f"{benchmark}: {division.questions} questions are asked for, but there are {len(found)}; "
                "ask for fewer, or set a larger share aside"
            )
        asked[benchmark] = found[: division.questions]
    taught = [item for item in items if item.group not in aside]
    return asked, taught, len(askable) - sum(map(len, asked.values()))


def _order(item: Item) -> tuple[Fraction, str]:
    return position("order", item.name), item.name


def build(folder: Path, domain: Domain, division: Division, seen: Path | None = None) -> dict[str, Any]:
    """Write a domain's files into `folder`: pairs.parquet, a file of questions per benchmark, training.parquet and
    validation.parquet, statistics.json.

    No item is in two of them. Pairs and documents that hold nearly all of a question are dropped, and so are documents
    of a group (a module of code, say) that questions are asked about, and pairs and documents that are about one of
    the choices, be it right or wrong (`HeldOut`). `seen` is as for `corpora.split_text`.

    Returns:
        What statistics.json holds: "items" found; "pairs"; "questions" per benchmark; "spare", items set aside for
        questions beyond those asked; "text", as `corpora.split_text` counts it; "dropped", with the numbers of
        "repeated" and "ambiguous" items (one prompt, two answers), of "pairs" and of "documents" that hold a question,
        and of the other "pairs_of_choices" (a choice is the answer) and "documents_of_choices" (it is their subject);
        "exposure", what training shows of right and of wrong choices, see `exposure`.

    Raises:
        ValueError: if there are fewer questions than `division` asks for, no pair, or no document in a part.

    """
    items, dropped = distinct(domain.pairs)
    asked, taught, spare = divided(items, division)
    is_programming = HUMANEVAL in domain.benchmarks
    others = [item for source in domain.against for item in source.items()]
    held_out = HeldOut(
        [item for questions in asked.values() for item in questions],
        [*others, *(problem_items() if is_programming else ())],
        division.near_duplicate,
    )
    reasons = [held_out.reason(item) for item in taught]
    clean = [item for item, reason in zip(taught, reasons, strict=True) if not reason]
    if not clean:
        raise ValueError("no pair is left to be tuned on; give more of them, or set fewer aside for the benchmarks")
    _write_pairs(folder / PAIRS, clean)
    counts = _write_questions(folder, asked, problems() if is_programming else [])
    apart = [Apart(source, held_out) for source in domain.sources]
    split = corpora.Split(validation=division.validation, replay=Fraction(0), near_duplicate=division.near_duplicate)
    text = corpora.split_text(apart, split, folder, seen)
    statistics = {
        "items": len(items),
        "pairs": len(clean),
        "questions": counts,
        "spare": spare,
        "text": text,
        "dropped": dropped | _dropped(reasons, apart),
        "exposure": _exposure(asked, clean, folder, apart),
    }
    corpora.write_statistics(folder, statistics)
    return statistics


def _dropped(reasons: Iterable[str], apart: Iterable[Apart]) -> dict[str, int]:
    found = sum((source.dropped for source in apart), Counter(reasons))
    return {name: found[name] for name in ("pairs", "documents", "pairs_of_choices", "documents_of_choices")}


def _exposure(
    asked: Mapping[str, Sequence[Item]], pairs: Iterable[Item], folder: Path, apart: Iterable[Apart]
) -> list[dict[str, Any]]:
    if not asked:
        return []
    texts = list(corpora.read_texts(folder, corpora.TRAINING))
    known = {digest: subject for source in apart for digest, subject in source.subjects.items() if subject}
    found = (known.get(Document(text=text).digest) for text in texts)
    return exposure(asked, (item.answer for item in pairs), texts, filter(None, found))


def _write_questions(
    folder: Path, asked: Mapping[str, Sequence[Item]], programs: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Write a file for each benchmark; returns how many questions each has."""
    rows = {name: [asdict(item.question) for item in items] for name, items in asked.items()}
    rows |= {HUMANEVAL: list(programs)} if programs else {}
    for name, questions in rows.items():
        _write_lines(folder / f"{name}.jsonl", questions)
    return {name: len(questions) for name, questions in rows.items()}


def _write_pairs(file: Path, items: list[Item]) -> None:
    pairs = [item.pair for item in items]
    columns = {name: [getattr(pair, name) for pair in pairs] for name in ("item", "prompt", "answer")}
    pq.write_table(pa.table(columns), file)


def _write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
