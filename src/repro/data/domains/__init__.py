"""Domains: text for continual pretraining, pairs for fine-tuning and questions for benchmarks, kept apart."""

from repro.data.domains.build import (
    PAIRS as PAIRS,
    Asked as Asked,
    Division as Division,
    Domain as Domain,
    build as build,
    built_in as built_in,
)
from repro.data.domains.items import Item as Item, Pair as Pair, Question as Question
from repro.data.domains.pairs import (
    BuiltIn as BuiltIn,
    FolderPairs as FolderPairs,
    HubPairs as HubPairs,
    PairSource as PairSource,
    Problems as Problems,
    materials as materials,
    pair_files as pair_files,
)
