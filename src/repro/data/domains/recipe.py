"""How a built-in domain is made, as its module declares it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from repro.data.domains.items import Item
from repro.data.packages import Package
from repro.data.stdlib import PythonSource, check_library, library_digest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A built-in domain.

    packages: what it is made from; those of kind "text" are also its text for continual pretraining, in this order.
    library: whether the standard library is its text as well, and what its items are made from.
    items: what can be tuned on or asked, each once. benchmark: the one that asks them, a task of `repro/lm/tasks`.
    brings: other benchmarks, whose questions come with one of the packages.
    """

    name: str
    packages: Mapping[str, Package]
    library: bool = False
    items: Callable[[], Iterator[Item]]
    benchmark: str
    brings: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        """The hashes of what it is made from: of its packages, then of the standard library."""
        packages = tuple(package.sha256 for package in self.packages.values())
        return (*packages, library_digest()) if self.library else packages

    @property
    def licence(self) -> str:
        packages = [package.licence for package in self.packages.values()]
        return "; ".join([*packages, *([PythonSource.licence] if self.library else [])])

    def require(self, digests: tuple[str, ...]) -> None:
        """Raise ValueError unless these are the hashes of what it is made from on this machine."""
        if self.library:
            check_library(digests[-1])
        if digests != self.digests:
            raise ValueError(f"the built-in {self.name} domain is made from other data than the study was opened with")
