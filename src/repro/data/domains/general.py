"""General knowledge: which Wikipedia article a first sentence opens."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from repro.data.documents import Document
from repro.data.domains.items import Item, Recipe, distractors, first_sentence, shuffled
from repro.data.packages import Package, contents, pinned

BENCHMARK = "wikipedia_titles"
SHORTEST, LONGEST, LONGEST_TITLE = 40, 150, 30  # characters
SUBJECT = re.compile(r"^.{0,80}?\b(?=(?:is|are|was|were|refers to)\s)")
VERB = re.compile(r"^(?:is|are|was|were|refers to)\s+")


@dataclass(frozen=True, kw_only=True)
class Article:
    """The summary of a Wikipedia article."""

    title: str
    summary: str
    description: str
    topic: str


def articles(package: Package) -> list[Article]:
    """The articles of a Wikipedia package, in its order."""
    return [
        Article(
            title=entry["title"],
            summary=entry["extract"].strip(),
            description=entry["description"] or "",
            topic=entry["topic"],
        )
        for entry in json.loads(contents(package)).values()
    ]


def document_of(article: Article) -> Document:
    return Document(text=article.summary, topic=article.topic, subject=article.title)


def items() -> Iterator[Item]:
    """First sentence without its subject -> title; distractors have the same topic and a similar description."""
    yield from titles(articles(ENGLISH), BENCHMARK, "article", "Who or what is this?")


def titles(chosen: Iterable[Article], benchmark: str, kind: str, question: str) -> Iterator[Item]:
    """Items for those of the articles whose first sentence is short and does not name the subject twice."""
    askable = [(article, sentence) for article in chosen if (sentence := definition(article))]
    alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for article, _ in askable:
        for key in _keys(article):
            alike[key].append(f" {article.title}")
    tiers = {key: shuffled(names) for key, names in alike.items()}
    for article, sentence in askable:
        name = f"{kind}: {article.title}"
        yield Item(
            name=name,
            group=name,
            body=sentence,
            prompt=f"Question: {question} {sentence}\nAnswer:",
            answer=f" {article.title}",
            distractors=distractors(name, f" {article.title}", (tiers[key] for key in _keys(article))),
            benchmark=benchmark,
        )


def definition(article: Article) -> str:
    """What the first sentence says of the title, such as "A soft metal."; "" if it is too long, or names the title."""
    if len(article.title) > LONGEST_TITLE or re.search(r"[(,:]", article.title):
        return ""
    sentence = first_sentence(article.summary)
    subject = SUBJECT.match(sentence)
    if subject is None or article.title.lower() not in subject[0].lower():
        return ""
    rest = VERB.sub("", sentence[subject.end() :])
    rest = rest[:1].upper() + rest[1:]
    named = set(re.findall(r"\w{3,}", article.title.lower())) & set(re.findall(r"\w{3,}", rest.lower()))
    return rest if SHORTEST <= len(rest) <= LONGEST and not named else ""


def _keys(article: Article) -> list[tuple[str, ...]]:
    """What an article shares with similar ones, the most specific first."""
    first = tuple(re.findall(r"\w+", article.description.lower())[:2])
    return [(article.topic, *first), (article.topic, *first[:1]), (article.topic,)]


WIKIPEDIA: dict[str, Package] = {
    name: pinned(name, reader=lambda name=name: map(document_of, articles(WIKIPEDIA[name])))
    for name in ("wikipedia-en", "wikipedia-fr", "wikipedia-es")
}
ENGLISH = WIKIPEDIA["wikipedia-en"]
RECIPE = Recipe(name="general", packages={"wikipedia-en": ENGLISH}, items=items, benchmark=BENCHMARK)
