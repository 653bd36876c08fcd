"""Runs as frozen values, kept in a store of finished folders, done here or on a cluster. Knows no machine learning."""

from repro.runs.cluster import Local
from repro.runs.engine import run
from repro.runs.spec import Machine, Stage, Work
from repro.runs.store import Store

__all__ = ["Local", "Machine", "Stage", "Store", "Work", "run"]
