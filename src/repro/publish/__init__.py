"""Notebook -> executed notebook -> book: `notebooks.execute` and `site.build`.

What is published names no folder of this machine (`places`).
"""
