"""Paper A's printed tables put through its own method again, and compared with what it prints beside them."""

from repro.cmr.rederived import facts, figures, frames, tables

__all__ = ["facts", "figures", "frames", "tables"]
