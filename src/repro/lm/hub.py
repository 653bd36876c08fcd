"""Text of the Hugging Face hub, streamed through `datasets`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from repro.lm.documents import WHOLE, Document, kept, part_label

CARD = "see the data set's card"
CLIMBLAB, GPT2 = "nvidia/ClimbLab", "openai-community/gpt2"


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A data set of the Hugging Face hub, streamed; `revision` pins what it holds.

    characters_limit: stop after the document that reaches it.
    """

    dataset: str
    revision: str
    config: str | None = None
    split: str = "train"
    text_field: str = "text"
    licence: str = field(default=CARD, metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    characters_limit: int | None = None

    @property
    def label(self) -> str:
        return self.dataset + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the data set's order."""
        found = texts(self.dataset, self.text_field, config=self.config, split=self.split, revision=self.revision)
        yield from limited(kept(found, (), self.part), self.characters_limit)


@dataclass(frozen=True, kw_only=True)
class HubFolderSource:
    """One folder of a data set of the hub, streamed, as text or as token ids that are decoded.

    text_field holds the text; where `tokenizer` names a tokenizer (of the hub, or a folder), it holds token ids.
    characters_limit: stop after the document that reaches it.
    """

    dataset: str
    revision: str
    folder: str
    split: str = "train"
    text_field: str = "text"
    tokenizer: str | None = None
    licence: str = field(default=CARD, metadata={"identity": False}, compare=False)
    part: tuple[Fraction, Fraction] = WHOLE
    characters_limit: int | None = None

    @property
    def label(self) -> str:
        return f"{self.dataset}: {self.folder}" + part_label(self.part)

    def documents(self) -> Iterator[Document]:
        """The documents, in the order of the folder's files."""
        where = {"data_dir": self.folder, "split": self.split, "revision": self.revision}
        if self.tokenizer is None:
            found = texts(self.dataset, self.text_field, **where)
        else:
            found = decoded(self.dataset, self.text_field, self.tokenizer, **where)
        yield from limited(kept(found, (), self.part), self.characters_limit)


def climblab(cluster: int, revision: str, characters_limit: int | None = None) -> HubFolderSource:
    """One cluster of ClimbLab as its authors publish it: folders `cluster_1` to `cluster_20` of Parquet files whose
    `tokens` are ids of GPT-2's tokenizer. The allocation paper (Table A.4) uses 17 for health, 11 for coding and 7
    for chemistry.
    """
    return HubFolderSource(
        dataset=CLIMBLAB,
        revision=revision,
        folder=f"cluster_{cluster}",
        text_field="tokens",
        tokenizer=GPT2,
        licence="CC BY-NC 4.0",
        characters_limit=characters_limit,
    )


def limited(documents: Iterator[Document], characters_limit: int | None) -> Iterator[Document]:
    """The documents up to and including the one that reaches the limit."""
    characters = 0
    for document in documents:
        if characters_limit is not None and characters >= characters_limit:
            return
        characters += len(document.text)
        yield document


def texts(dataset: str, text_field: str, **options: Any) -> Iterator[Document]:
    """A document per row, from one of its fields."""
    for value in values(dataset, text_field, **options):
        yield Document(text=str(value or ""))


def decoded(dataset: str, tokens_field: str, tokenizer: str, **options: Any) -> Iterator[Document]:
    """A document per row, from a field of token ids."""
    # Imported here: a study that reads no tokens should not wait for transformers.
    from transformers import AutoTokenizer

    coder = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)  # by default it asks
    for ids in values(dataset, tokens_field, **options):
        # As it was written: neither special tokens nor "cleaned up" spaces are text.
        text = coder.decode(ids or [], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield Document(text=str(text))


def values(dataset: str, wanted: str, **options: Any) -> Iterator[Any]:
    """One field of every row.

    Raises:
        ValueError: if the rows have no such field; the message names those they have.

    """
    for row in rows(dataset, **options):
        if wanted not in row:
            raise ValueError(f"{dataset} has no field {wanted!r}; it has {', '.join(map(repr, row))}")
        yield row[wanted]


def rows(dataset: str, *, config: str | None = None, **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of a data set, streamed; options as for `datasets.load_dataset`, split "train" unless given."""
    # Imported here: `datasets` takes longer to import than a package source takes to read.
    import datasets

    if dataset == "text":
        options["sample_by"] = "document"
    yield from datasets.load_dataset(dataset, config, streaming=True, **{"split": "train"} | options)
