"""Domains: text for continual pretraining, pairs for fine-tuning and questions for benchmarks, kept apart."""

from repro.data.domains.build import PAIRS, Asked, Division, Domain, build, built_in
from repro.data.domains.items import Item, Pair, Question
from repro.data.domains.pairs import BuiltIn, FolderPairs, HubPairs, PairSource, Problems, materials, pair_files

__all__ = [
    "PAIRS",
    "Asked",
    "BuiltIn",
    "Division",
    "Domain",
    "FolderPairs",
    "HubPairs",
    "Item",
    "Pair",
    "PairSource",
    "Problems",
    "Question",
    "build",
    "built_in",
    "materials",
    "pair_files",
]
