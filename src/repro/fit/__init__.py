"""`repro fit`: the laws of both papers fitted to a reader's own losses or scores."""
