"""Llama-architecture models with standard multi-head attention, as in Table 1 of the CMR paper."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from repro.lm.size import Shape

logging.disable_progress_bar()  # a bar for every file loaded or saved would break up the study's own


def new_model(shape: Shape, vocabulary: int, context: int, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model in fp32; the same seed gives the same weights."""
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
