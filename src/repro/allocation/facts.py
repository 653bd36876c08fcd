"""What pages on paper B say of the parameters and the runs in words of their own: set-up, programs and drift."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from repro.lm.evaluation import PROGRAMS
from repro.params import AllocationParams
from repro.show.words import join

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


def execution(params: AllocationParams, not_executed: str) -> str:
    """A sentence on programs that models write; "" where no benchmark asks for any. not_executed: why they are not."""
    if not {name for domain in params.domains for name in domain.benchmarks} & set(PROGRAMS):
        return ""
    if not_executed:
        return f"Programs that models write were not executed (their benchmark is not run): {not_executed}."
    where = "without a sandbox, as was asked for" if params.unsafe_no_sandbox else "inside a sandbox"
    return f"Programs that models write were executed, {where}."


def correlation(phases: pd.DataFrame, scores: pd.DataFrame) -> str:
    """The rank correlation of each phase's drift with `StudyResults.score_line`, of the first domain, in words."""
    both = phases.merge(scores, on=["domain", "sft_tokens"], suffixes=("", "_score")).dropna(subset=["drift", "score"])
    words = []
    for phase, part in both[both["domain"] == scores["domain"].iloc[0]].groupby("phase", sort=False):
        if len(part) > 3 and np.ptp(part["score"]) > 0 and np.ptp(part["drift"]) > 0:
            rank = float(spearmanr(part["drift"], part["score"]).statistic)
            words.append(f"{rank:+.2f} for {phase} ({len(part)} allocations)")
    return join(words) or "too few allocations to say"


def floor(drifts: pd.DataFrame) -> str:
    """From `Study.drift_floor`: how far models drift apart of which only the seed differs."""
    told = zip(drifts["drift"], drifts["phase"], strict=True)
    return join(f"{drift:.4f} ({phase})" for drift, phase in told) or "this preset does not measure it"
