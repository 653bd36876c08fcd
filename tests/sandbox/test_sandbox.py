"""Programs are executed inside walls: what they can do there, what they cannot, and whose verdict counts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro.sandbox import Limits, Sandbox, SandboxBroken, SandboxMissing, probe
from repro.sandbox.inside import decode, encode
from repro.sandbox.walls import seccomp_filter

REASON = probe()
walled = pytest.mark.skipif(REASON is not None, reason=f"no sandbox: {REASON}")

GOOD = "def f(x):\n    return x * x\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-3) == 9\n"


def fast(**options: float) -> Sandbox:
    return Sandbox(Limits(**({"seconds": 1.0, "memory_mib": 256} | options)))


@walled
def test_refused_system_calls() -> None:
    program = """
import ctypes, platform
def f(calls):
    library = ctypes.CDLL(None, use_errno=True)
    refused = {}
    for name, arguments in calls.items():
        ctypes.set_errno(0)
        library.syscall(*arguments)
        refused[name] = ctypes.get_errno()
    return refused
"""
    numbers = {"x86_64": (272, 29, 319, 41, 56, 435), "aarch64": (97, 194, 279, 198, 220, 435)}[os.uname().machine]
    user = 0x10000000
    arguments = [(user,), (0, 1 << 20, 0o1600), (0, 0), (16, 3, 0), (user | 17, 0, 0, 0, 0), (0, 0)]
    names = ["unshare", "shmget", "memfd_create", "socket", "clone", "clone3"]
    calls = {name: (number, *rest) for name, number, rest in zip(names, numbers, arguments, strict=True)}
    expected = dict.fromkeys(names[:-1], 1) | {"clone3": 38}
    test = f"def check(candidate):\n    found = candidate({calls})\n    assert found == {expected}, found"
    outcome = fast().check(program, "f", test)
    assert outcome.status == "passed", outcome.detail
    with pytest.raises(ValueError, match="no filter of system calls for riscv64"):
        seccomp_filter("riscv64")


@walled
def test_a_program_sees_only_what_python_needs() -> None:
    program = """
import os, sys
def f(_):
    handles = []
    for number in range(64):
        try:
            os.fstat(number)
            handles.append(number)
        except OSError: pass
    folders = [os.listdir('/'), os.listdir('/tmp')]
    return [list(os.environ), *folders, os.getcwd(), os.getuid(), sys.path, handles]
"""
    test = """
def check(candidate):
    names, root, files, folder, user, path, handles = candidate(0)
    assert not set(names) - {'PYTHONHASHSEED', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'PWD', 'LC_CTYPE'}, names
    assert 'proc' not in root and 'sys' not in root, root
    assert (folder, user, files) == ('/tmp', 65534, [])
    assert not any('packages' in part for part in path), path
    assert len(handles) == 5, handles
"""
    outcome = fast().check(program, "f", test)
    assert outcome.status == "passed", outcome.detail


VALUES = [None, True, 0, -1, 1 << 62, -(1 << 63), 10**5000, 0.1, -0.0, float("inf"), "", "é\ud800\0", b"\0\xff", 1j]
VALUES += [complex("nan-infj"), [], [[1], (2, [3])], (), ((),), {}, {1: {"a": (1, 2)}, (1, "b"): None}, set(), {1, "a"}]
VALUES += [frozenset({(1,)}), {"tuple": [1]}, {"int": ["0x1"]}, [{"dict": []}]]


def test_plain_values_travel_unchanged() -> None:
    for value in VALUES:
        back = decode(json.loads(json.dumps(encode(value))))
        assert type(back) is type(value)
        assert repr(back) == repr(value) if value != 10**5000 else back == value
    assert repr(decode(encode(float("nan")))) == "nan"
    with pytest.raises(TypeError, match="range is no plain value"):
        encode([range(3)])


@pytest.mark.parametrize(
    "coded", [{}, {"a": []}, {"tuple": 1}, {"int": [[]]}, {"set": [[]]}, {"dict": [1]}, {"bytes": ["x"]}, {"int": []}]
)
def test_what_stands_for_no_value_is_refused(coded: object) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        decode(coded)


@walled
def test_calls_pass_values_and_exceptions() -> None:
    program = "from collections import Counter\ndef f(x, *, count=False):\n    return Counter(x) if count else [x][0]\n"
    test = """
def check(candidate):
    for value in VALUES + [10 ** 5000, float("inf")]:
        assert candidate(value) == value and type(candidate(value)) is type(value)
    counts = candidate("aab", count=True)
    assert counts == {"a": 2, "b": 1} and type(counts) is dict
    try:
        candidate()
    except TypeError as error:
        assert "missing" in str(error)
    else:
        assert False
"""
    literals = [
        value for value in VALUES if value != 10**5000 and not {"nan", "inf"} & {repr(value)[-3:], repr(value)[1:4]}
    ]
    outcome = fast().check(program, "f", test.replace("VALUES", repr(literals)))
    assert outcome.status == "passed", outcome.detail


@walled
def test_the_same_program_answers_the_same_each_time() -> None:
    program = "import random\ndef f(words):\n    return [list(set(words)), random.random()]\n"
    test = "def check(f):\n    raise ValueError(f('the quick brown fox jumps over a lazy dog'.split()))\n"
    first, second = (fast().check(program, "f", test).detail for _ in range(2))
    assert first == second and "fox" in first


@walled
def test_the_last_line_says_what_failed() -> None:
    assert fast().check("def f(x):\n    return 1", "f", TEST).detail == "AssertionError: assert candidate(2) == 4"
    assert fast().check("def f(x):\n    return 1 / 0", "f", TEST).detail == "ZeroDivisionError: division by zero"
    assert fast().check("def f(x:", "f", TEST).detail.startswith("SyntaxError: ")
    assert fast().check("def g(x): pass", "f", TEST).detail == "KeyError: 'f'"
    assert fast().check("import os; os._exit(0)", "f", TEST).detail == "the program ended before it answered"
    assert fast(output_kib=1).check("def f(x): return 'x' * 2000", "f", TEST).detail.endswith("more than 1 KiB")
    late = fast(seconds=0.3).check("while True: pass", "f", TEST)
    assert late.detail == "no verdict within 0.3 s" and late.seconds >= 0.3


@walled
def test_a_test_that_does_not_run_is_no_verdict() -> None:
    with pytest.raises(ValueError, match=r"prompt and test of f do not run: ZeroDivisionError: division by zero"):
        fast().check(GOOD, "f", "1 / 0")
    with pytest.raises(ValueError, match="prompt and test of f do not run: KeyError: 'check'"):
        fast().check(GOOD, "f", "")


@walled
def test_a_test_may_compare_with_numpy() -> None:
    test = "import numpy as np\ndef check(f):\n    assert np.allclose(f(0.1), 0.01, rtol=1e-7)\n"
    assert Sandbox().check(GOOD, "f", test).status == "passed"
    assert Sandbox().check("import numpy\n" + GOOD, "f", test).detail == "ModuleNotFoundError: No module named 'numpy'"


def test_a_missing_or_forbidden_sandbox_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe() == "the sandbox does not start: bwrap is not installed (Debian package bubblewrap)"
    with pytest.raises(SandboxMissing, match="bwrap is not installed"):
        Sandbox()
    for tool in ("bwrap", "setpriv"):
        (tmp_path / tool).write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    assert probe() == "the sandbox does not start: No permissions to create new namespace"


@walled
def test_walls_with_a_hole_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.sandbox.walls.ENVIRONMENT", {"HOME": "/tmp"})
    assert probe() == "the sandbox does not hold: AssertionError: it does not keep a program from the environment"


@walled
def test_a_sandbox_that_breaks_later_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = fast()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxBroken, match="bwrap is not installed"):
        sandbox.check(GOOD, "f", TEST)


def test_unsafe_runs_the_same_without_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    unsafe = Sandbox(Limits(seconds=1), unsafe=True)
    assert unsafe.check(GOOD, "f", TEST).status == "passed"
    assert unsafe.check("def f(x): return 0", "f", TEST).status == "failed"
    assert unsafe.check("import os\ndef f(x): os._exit(0)", "f", TEST).status == "failed"
    assert unsafe.check("def f(x): return len(bytearray(4 << 30))", "f", TEST).detail == "MemoryError"
    assert unsafe.check("while True: pass", "f", TEST).status == "timed out"
    assert (
        unsafe.check("import os\ndef f(x): return x * x if not os.environ.get('PATH') else 0", "f", TEST).status
        == "passed"
    )
    numpy = "import numpy\ndef check(f): assert numpy.isclose(f(2.0), 4)"
    assert unsafe.check(GOOD, "f", numpy).status == "passed"


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"memory_mib": -1}, {"seconds": float("inf")}, {"processes": 0}])
def test_limits_must_be_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be positive and finite"):
        Limits(**wrong)


ALONE = "from repro.sandbox import probe; print(probe())"


@walled
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can be mapped to root")
def test_root_alone_in_a_user_namespace_is_refused_in_a_line_that_says_what_helps() -> None:
    made = subprocess.run(["unshare", "-r", "true"], capture_output=True)
    if made.returncode:
        pytest.skip(f"no user namespace: {made.stderr.decode()}")
    done = subprocess.run(["unshare", "-r", sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    says = "root needs the ids 2000000000 to 2000999999 for programs, and this user namespace maps none"
    assert done.stdout == f"the sandbox does not start: {says}: run as another user than root\n"
