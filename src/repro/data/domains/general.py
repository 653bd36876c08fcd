"""General knowledge: which Wikipedia article a first sentence opens."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from repro.data.domains.health import first_sentence
from repro.data.domains.items import Item, distractors, shuffled
from repro.data.records import Article, articles

BENCHMARK = "wikipedia_titles"
SHORTEST, LONGEST, LONGEST_TITLE = 40, 150, 30  # characters
SUBJECT = re.compile(r"^.{0,80}?\b(?=(?:is|are|was|were|refers to)\s)")
VERB = re.compile(r"^(?:is|are|was|were|refers to)\s+")


def items() -> Iterator[Item]:
    """First sentence without its subject -> title; distractors have the same topic and a like description."""
    yield from titles(articles(), BENCHMARK, "article", "Who or what is this?")


def titles(found: Iterable[Article], benchmark: str, kind: str, asked: str) -> Iterator[Item]:
    """Items for those of the articles whose first sentence is short and does not name the subject twice."""
    askable = [(article, sentence) for article in found if (sentence := definition(article))]
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
            prompt=f"Question: {asked} {sentence}\nAnswer:",
            answer=f" {article.title}",
            distractors=distractors(name, f" {article.title}", (tiers[key] for key in _keys(article))),
            benchmark=benchmark,
        )


def definition(article: Article) -> str:
    """What the first sentence says of the title, such as "A soft metal."; "" if it is too long, or says the title."""
    if len(article.title) > LONGEST_TITLE or re.search(r"[(,:]", article.title):
        return ""
    sentence = first_sentence(article.summary)
    subject = SUBJECT.match(sentence)
    if subject is None or article.title.lower() not in subject[0].lower():
        return ""
    rest = VERB.sub("", sentence[subject.end() :])
    rest = rest[:1].upper() + rest[1:]
    told = set(re.findall(r"\w{3,}", article.title.lower())) & set(re.findall(r"\w{3,}", rest.lower()))
    return rest if SHORTEST <= len(rest) <= LONGEST and not told else ""


def _keys(article: Article) -> list[tuple[str, ...]]:
    """What an article shares with those like it, the most telling first."""
    first = tuple(re.findall(r"\w+", article.description.lower())[:2])
    return [(article.topic, *first), (article.topic, *first[:1]), (article.topic,)]
