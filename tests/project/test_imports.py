"""What import contracts between rooms (pyproject.toml) do not see: circles among single modules."""

from graphlib import TopologicalSorter

import grimp


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Neither inside functions nor for types: graphlib names the circle that it finds."""
    graph = grimp.build_graph("repro", cache_dir=None)
    assert len(graph.modules) > 100
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()
