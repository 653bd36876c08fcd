"""What the tasks of this folder call: where their questions lie, and how a question becomes text.

lm-eval loads this file by its path, so that it stands on its own. A task's questions are looked for, in this order,
in `files` (task file name without its ending -> path) and `folder`, both from lm-eval's metadata
(`--metadata '{"folder": "..."}'` on its command line), and last in the task's own data set on the hub.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets, load_dataset

Document = Mapping[str, Any]


def questions(*, file: str, hub: str = "", revision: str | None = None, **metadata: Any) -> dict[str, Dataset]:
    """The questions of one benchmark, as lm-eval wants them: the split "test".

    file, hub, revision: from the task's `dataset_kwargs`; hub: "" where no data set of the hub holds them.

    Raises:
        FileNotFoundError: if the file is not there. ValueError: if nothing says where it is, or it is empty.

    """
    path = _path(file, metadata)
    if path is not None:
        return {"test": read(path)}
    if not hub:
        name = Path(file).stem
        raise ValueError(f'{name}: say in which folder {file} lies, as with --metadata \'{{"folder": "..."}}\'')
    return {"test": load_dataset(hub, split="test", revision=revision)}


def chembench(*, file: str, hub: str, revision: str, subjects: list[str], **metadata: Any) -> dict[str, Dataset]:
    """ChemBench4k's questions, each with its subject where they come from the hub (there: one file a subject)."""
    path = _path(file, metadata)
    if path is not None:
        return {"test": read(path)}
    files = {subject: f"test/{subject}_benchmark.json" for subject in subjects}
    found = load_dataset(hub, data_files=files, revision=revision)
    parts = [found[subject].add_column("subject", [subject] * len(found[subject])) for subject in subjects]
    return {"test": concatenate_datasets(parts)}


def _path(file: str, metadata: Mapping[str, Any]) -> Path | None:
    given = (metadata.get("files") or {}).get(Path(file).stem)
    if given:
        return Path(given)
    folder = metadata.get("folder")
    return Path(folder) / file if folder else None


def read(path: Path) -> Dataset:
    """A file of JSON lines.

    Raises:
        ValueError: if it holds none, or a line is not JSON.

    """
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not rows:
        raise ValueError(f"{path} holds no question")
    return Dataset.from_list([_parsed(row, path, number) for number, row in enumerate(rows, 1)])


def _parsed(row: str, path: Path, number: int) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(row)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
    return document


def choices(document: Document) -> list[str]:
    """The choices without spaces around them: the space before an answer is the task's `target_delimiter`.

    lm-eval leaves that out where a chat template ends the prompt, as the template itself ends in a separator.
    """
    return [str(choice).strip() for choice in document["choices"]]


def stripped_prompt(document: Document) -> str:
    """The opening of a program without the line break it ends in.

    With it, the model must begin with the indentation, which its tokenizer joins with the line break; SmolLM2 then
    solves none of HumanEval's problems instead of some.
    """
    return str(document["prompt"]).rstrip()


def solution(document: Document) -> str:
    """What has to follow the stripped prompt: the rest of the prompt and the canonical solution."""
    prompt = str(document["prompt"])
    return prompt[len(prompt.rstrip()) :] + str(document["canonical_solution"]).rstrip()


def response_size(document: Document, results: list[str]) -> dict[str, float]:  # noqa: ARG001 (lm-eval's signature)
    """Bytes of the response: all that can be said of a program that is not executed here."""
    return {"response_bytes": float(len(results[0].encode()))}


def solution_likelihood(document: Document, results: list[tuple[float, bool]]) -> dict[str, float]:
    """Log-likelihood of the canonical solution, in nats and in nats per byte."""
    logprob = results[0][0]
    return {"logprob": logprob, "logprob_per_byte": logprob / len(solution(document).encode())}
