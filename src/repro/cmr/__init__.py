"""Paper A, the CMR scaling law: its published numbers, our study of it, and the figures and tables of both."""

from repro.cmr import display, facts, figures, frames, published, tables
from repro.cmr.study import Study, open_study, study

__all__ = ["Study", "display", "facts", "figures", "frames", "open_study", "published", "study", "tables"]
