"""Runs as frozen values, kept in a store of finished folders. Knows no machine learning."""

from repro.runs.engine import run
from repro.runs.spec import Machine, Stage, Work
from repro.runs.store import Store

__all__ = ["Machine", "Stage", "Store", "Work", "run"]
