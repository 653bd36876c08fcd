"""Runs as frozen values, kept in a store of finished folders, done here or on a cluster. Knows no machine learning."""

from repro.runs.cluster import Local as Local
from repro.runs.engine import run as run
from repro.runs.spec import Machine as Machine, Stage as Stage, Work as Work
from repro.runs.store import Store as Store
