"""Paper A's printed tables put through its own method again, and compared with what it prints beside them."""

from repro.cmr.rederived import frames as frames, shown as shown
