"""The kernel that notebooks run in: the interpreter that is running us, whatever kernels are installed."""

from __future__ import annotations

import shutil
import sys

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager


class _OnlyThisInterpreter(KernelSpecManager):
    """Looks in no folder: a ``python3`` kernel of the user's would win over this environment's."""

    def _kernel_dirs_default(self) -> list[str]:
        return []

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        spec = super().get_kernel_spec(kernel_name)
        # It warns at every start that a local socket is not encrypted, right above the progress bar.
        spec.argv = [*spec.argv, "--log-level=ERROR"]
        if sys.stderr.isatty():  # a progress bar in the kernel cannot ask the terminal for its width
            spec.env = {**spec.env, "COLUMNS": str(shutil.get_terminal_size().columns)}
        return spec


class ThisInterpreter(AsyncKernelManager):
    """A kernel manager for nbclient that starts ``sys.executable -m ipykernel_launcher``."""

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _OnlyThisInterpreter()
