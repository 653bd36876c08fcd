"""The set-up of CPT and SFT: as Tables A.2 and A.3 print it, and as parameters have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from repro.allocation import published
from repro.params import AllocationParams
from repro.show.tables import DASH, styled, two_lines

MODES = {
    "continue": "goes on with CPT's adapter",
    "merge": "a new adapter, CPT's merged into the weights",
    "second": "a new adapter on top of CPT's, which is frozen",
}


def recipes(params: AllocationParams) -> tuple[dict[str, str], dict[str, str]]:
    """The set-up of CPT and of SFT, aspect by aspect; an aspect is spelt as the tables spell it."""
    shared = {
        "Optimiser": "AdamW",
        "Weight decay": f"{params.weight_decay:g}",
        "LoRA dropout": "0.0",
        "Gradient clipping": f"Max norm {params.clip:g}",
        "Random seed": ", ".join(map(str, params.seeds)),
        "Precision": params.lora_precision,
    }
    cpt = {
        "Dataset": "; ".join(domain.name for domain in params.domains),
        "Sequence length": f"{params.cpt_length:,}",
        "Global batch size": f"{params.cpt_batch} sequences",
        "Total training steps": f"{params.budget // (params.cpt_batch * params.cpt_length):,} at most",
        "Learning rate": f"{params.cpt_lr:g} (constant)",
        "Learning rate schedule": f"Linear warmup (first {params.cpt_warmup_steps} steps)",
        "LoRA rank": f"{params.cpt_rank}",
        "LoRA scaling factor": f"{params.cpt_alpha}",
        "Replay": f"{float(params.lora_replay_share):.0%} of sequences are {params.replay.name}",
    }
    sft = {
        "Dataset": "pairs of each domain",
        "Sequence length": f"one pair, {params.sft_longest:,} at most",
        "Global batch size": f"{params.sft_batch} pairs",
        "Total training steps": "as many as the tokens allow",
        "Learning rate": f"{params.sft_lr:g} (constant)",
        "Learning rate schedule": f"Linear warmup (first {params.sft_warmup_steps} steps)",
        "LoRA rank": f"{params.sft_rank}",
        "LoRA scaling factor": f"{params.sft_alpha}",
        "Replay": f"{float(params.lora_replay_share):.0%} of pairs are {params.replay.name}",
        "Adapter": MODES[params.sft_adapter],
        "Prompt": "the model's chat template" if params.chat_template else "plain",
    }
    return cpt | shared, sft | shared


def set_up(cpt: Mapping[str, str], sft: Mapping[str, str]) -> Styler:
    """Tables A.2 and A.3, and beside each of them what is done here: our set-up by the paper's aspects ("LoRA rank");
    other aspects get a row of their own at the end.
    """
    columns: dict[str, Mapping[str, str]] = {}
    for name, printed, ours in (("CPT", published.table("A.2"), cpt), ("SFT", published.table("A.3"), sft)):
        columns[f"{name}, the paper's"] = {row["aspect"]: _noted(row) for row in printed.to_dict("records")}
        columns[f"{name}, here"] = ours
    aspects = list(dict.fromkeys(aspect for column in columns.values() for aspect in column))
    table = pd.DataFrame(
        {"aspect": aspects} | {name: [column.get(aspect) for aspect in aspects] for name, column in columns.items()}
    )
    return styled(table, dict.fromkeys(columns, two_lines), "not printed, or does not apply here", index=False)


def _noted(row: Mapping[Any, Any]) -> str:
    """The value, its note beneath; the value is a dash where the text at hand has lost it."""
    value, note = (text if isinstance(text, str) else None for text in (row["value"], row["note"]))
    return f"{value or DASH}\n{note}" if note else value or DASH
