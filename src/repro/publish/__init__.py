"""Notebook -> executed notebook (`notebooks`) -> book (`site`); it names no folder of this machine (`places`)."""
