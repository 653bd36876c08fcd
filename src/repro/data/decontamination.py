"""What is kept from training because questions are asked about it, and what training shows of the choices anyway."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from repro.data.documents import Document, Documents
from repro.data.domains.items import Item, plain
from repro.data.duplicates import Questions, words

REASONS = ("pairs", "documents", "pairs_of_choices", "documents_of_choices")
ANSWERS, TEXT, SUBJECTS = "SFT answers", "CPT text", "subjects of CPT documents"


class Contamination:
    """Which pairs and documents would teach the items asked, or the names of their choices.

    Right and wrong choices are held out alike: if only the right ones were, training would make the wrong ones
    familiar, and a model that learns more would answer more questions wrongly. Choices of a closed set of answers,
    which other items have as well, cannot be held out; see `Item.candidates`.
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


class Decontaminated:
    """A source without the documents that would contaminate it; counts what it has dropped.

    subjects: what each text that is kept is about, by its digest; "" where that is not known.
    """

    def __init__(self, source: Documents, contamination: Contamination) -> None:
        self._source, self._contamination = source, contamination
        self._reasons: dict[bytes, str] = {}
        self.subjects: dict[bytes, str] = {}

    @property
    def label(self) -> str:
        return self._source.label

    @property
    def dropped(self) -> Counter[str]:
        """How many different texts were dropped, by reason."""
        return Counter(filter(None, self._reasons.values()))

    def documents(self) -> Iterator[Document]:
        for document in self._source.documents():
            digest = document.digest
            if digest not in self._reasons:  # texts are read more than once, and looking for questions takes longest
                self._reasons[digest] = self._contamination.reason_of_text(document)
            if not self._reasons[digest]:
                self.subjects[digest] = document.subject
                yield document


def exposure(
    asked: Mapping[str, Sequence[Item]], answers: Iterable[str], texts: Iterable[str], subjects: Iterable[str]
) -> list[dict[str, Any]]:
    """The shares of right and of wrong choices that training shows, a row per benchmark and place.

    answers: of the pairs; texts, and their subjects, of continual pretraining. A choice is in the text if its words
    stand there one after the other; an answer, or a subject, must be the choice, capital letters aside.

    Returns:
        Rows of "benchmark", "where" (`ANSWERS`, `TEXT` or `SUBJECTS`) and the shares "right" and "wrong", in [0, 1].

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
            "right": _share([item.answer for item in items], familiar),
            "wrong": _share([choice for item in items for choice in item.choices if choice != item.answer], familiar),
        }
        for benchmark, items in asked.items()
        for where, familiar in places.items()
    ]


def mentioned(names: Iterable[str], texts: Iterable[str]) -> set[str]:
    """The names whose words stand in one of the texts one after the other; each text is read once."""
    starting: defaultdict[tuple[str, ...], dict[str, tuple[str, ...]]] = defaultdict(dict)
    for name in names:
        if in_order := tuple(words(name)):
            starting[in_order[:2]][name] = in_order
    present: set[str] = set()
    for text in texts:
        in_order = tuple(words(text))
        # Two words tell most names apart; a name of one word is looked up by that word.
        starts = [*enumerate(pairwise(in_order)), *enumerate((word,) for word in in_order)]
        for place, start in starts:
            if start in starting:
                present |= {n for n, name in starting[start].items() if in_order[place : place + len(name)] == name}
    return present


def _share(choices: Sequence[str], familiar: set[str]) -> float:
    return sum(plain(choice) in familiar for choice in choices) / len(choices)
