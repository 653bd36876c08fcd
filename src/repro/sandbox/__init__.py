"""Runs programs that a language model wrote, against tests that it did not write, inside walls.

`Sandbox().check(program, entry_point, test)` gives an `Outcome`. `walls` describes the walls, `judging` how the verdict
is kept out of the program's reach, `inside` is what is executed on the far side.

Not promised: protection from bugs of the kernel or of bubblewrap, and secrecy against side channels (timing, load).
Seconds depend on the machine: a program near its time limit may pass on one machine and fail on another.
"""

from repro.sandbox.judging import (
    Outcome as Outcome,
    Sandbox as Sandbox,
    SandboxMissing as SandboxMissing,
    probe as probe,
)
from repro.sandbox.walls import Limits as Limits, SandboxBroken as SandboxBroken
