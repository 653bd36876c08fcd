"""Runs programs that a language model wrote, against tests that it did not write, inside walls.

`Sandbox().check(program, entry_point, test)` gives an `Outcome`. What the walls are is told in `walls`, how the
verdict is kept out of the program's reach in `judging`, and what is executed on the far side in `inside`.

Not promised: protection from bugs of the kernel or of bubblewrap, and secrecy against side channels (timing, load).
Time is the machine's: a program near its limit of seconds may pass on one machine and not on another.
"""

from repro.sandbox.judging import (
    Outcome as Outcome,
    Sandbox as Sandbox,
    SandboxMissing as SandboxMissing,
    probe as probe,
)
from repro.sandbox.walls import Limits as Limits, SandboxBroken as SandboxBroken
