"""Pretrained models as parameters name them, made into stages: what both papers' studies can start from."""

import json

from repro.data.domains import PACKAGES, names
from repro.lm.models import FolderModel, HubModel, PackageModel, count_weights, digest_model, require_held
from repro.params import ParamsError, PretrainedParams
from repro.stages.texts import Base
from repro.study.base import local


def pretrained(given: PretrainedParams, field: str) -> Base:
    """The stage of the pretrained model that the parameter `field` names; ParamsError if there is none."""
    if given.package is not None:
        if given.package not in names("model"):
            allowed = ", ".join(names("model"))
            raise ParamsError(f"{field}.package: no model {given.package!r}; there are {allowed}")
        package = PACKAGES[given.package]
        source = PackageModel(package=given.package, sha256=package.sha256)
        return Base(source=source, parameters=given.parameters or package.parameters)
    if given.folder is not None:
        with local(given.folder, f"{field}.folder") as folder:
            model = FolderModel(digest=digest_model(folder), folder=folder)
            require_held(folder)
            return Base(source=model, parameters=given.parameters or count_weights(folder))
    hub = HubModel(model=str(given.hub), revision=str(given.revision))
    return Base(source=hub, parameters=int(given.parameters or 0))


def require_tokenizer(base: Base, *, chat: bool = False) -> None:
    """Refuse the tokenizer of a model in a folder, before anything runs, that text cannot be trained on with, or, for a
    chat, has no template. Raises ParamsError naming the folder.
    """
    if isinstance(base.source, FolderModel):
        from repro.lm.sequences import load_tokenizer  # which imports torch

        try:
            tokenizer = load_tokenizer(base.source.folder)
        except ValueError as error:
            raise ParamsError(str(error)) from None
        if chat and tokenizer.chat_template is None:
            raise ParamsError(f"chat_template: must be false: {base.source.folder} has no chat template")


def require_context(base: Base, length: int, field: str) -> None:
    """ParamsError if sequences, as `field` has them, are longer than the context of a model in a folder."""
    if isinstance(base.source, FolderModel):
        config = json.loads((base.source.folder / "config.json").read_text())
        context = config.get("max_position_embeddings")
        if isinstance(context, int) and length > context:
            raise ParamsError(f"{field}: must be at most {context}, the context of {base.name}, not {length}")
