"""Notebook -> executed notebook -> book: `notebooks.execute` and `site.build`."""
