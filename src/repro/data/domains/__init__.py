"""The built-in domains, a module each, and every data package there is. To add a domain, write a module with a
`RECIPE`, name it in `MODULES`, and add a task in `lm/tasks` and a preset ("Adding to it" in the book).
"""

from repro.data.domains import chemistry, coding, general, health
from repro.data.domains.items import Recipe
from repro.data.packages import SMOLLM2, Kind, Package

MODULES = (health, chemistry, coding, general)

RECIPES: dict[str, Recipe] = {module.RECIPE.name: module.RECIPE for module in MODULES}
MADE_HERE = tuple(recipe.benchmark for recipe in RECIPES.values())
"""The benchmarks whose questions are made here, from the items of a domain."""

PACKAGES: dict[str, Package] = (
    general.WIKIPEDIA
    | {"wikipedia-chemistry": chemistry.SUBSTANCES}  # listed beside the others of Wikipedia
    | {name: package for recipe in RECIPES.values() for name, package in recipe.packages.items()}
    | {"smollm2": SMOLLM2}
)


def names(kind: Kind) -> list[str]:
    """The packages of one kind, in the order of `PACKAGES`."""
    return [name for name, package in PACKAGES.items() if package.kind == kind]


def text_package(name: str) -> Package:
    """The package of this name; ValueError if there is no such package, or it holds no text."""
    if name not in PACKAGES:
        raise ValueError(f"no package {name!r}; there are {', '.join(names('text'))}")
    if PACKAGES[name].kind != "text":
        raise ValueError(f"{name!r} holds a {PACKAGES[name].kind}, not text; text: {', '.join(names('text'))}")
    return PACKAGES[name]


def recipe_of(name: str) -> Recipe:
    """The recipe of the built-in domain of this name; ValueError if there is no such domain."""
    if name not in RECIPES:
        raise ValueError(f"no built-in domain {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
