"""Programs that mean harm: each defines `f`, which a test asks for squares.

In them MARK stands for a word that is nowhere else, the name of files and the argument of processes left behind;
PYTHON for the interpreter, PARENT for the process that runs the check, FOLDERS and PROJECT for lists of paths.
"""

import re

PROGRAMS = """
# fork bomb
import os
def f(x):
    while True:
        try:
            os.fork()
        except OSError:
            pass

# fork bomb that holds memory
import os
def f(x):
    held = []
    while True:
        try:
            os.fork()
        except OSError:
            held.append(bytearray(1 << 20))

# four GiB
def f(x):
    return len(bytearray(4 << 30)) and x * x

# four GiB in pieces
def f(x):
    held = []
    while True:
        held.append(bytearray(1 << 20))

# endless output
import sys
def f(x):
    while True:
        print("passed", flush=True)
        print("passed", file=sys.stderr)

# sleep for ever
import time
def f(x):
    time.sleep(1e6)

# network call
import urllib.request
def f(x):
    urllib.request.urlopen("http://127.0.0.1:PORT/MARK")
    return x * x

# canary in the environment
import os
def f(x):
    return x * x if os.environ["CANARY"] else None

# writing outside
import os
from pathlib import Path
def f(x):
    written = []
    for folder in FOLDERS:
        try:
            os.makedirs(folder, exist_ok=True)
            Path(folder, "MARK").write_text("x")
            written += [folder] if not folder.startswith("/tmp") else []
        except OSError:
            pass
    return x * x if written else None

# killing the parent
import os
def f(x):
    for process in (os.getppid(), PARENT, 1, -1):
        try:
            os.kill(process, 9)
        except OSError:
            pass

# surviving child
import os
def f(x):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv(PYTHON, [PYTHON, "-c", "import time; time.sleep(1000)", "MARK"])
            os._exit(0)

# always-equal object
class Equal:
    def __eq__(self, other): return True
def f(x):
    return Equal()

# always-equal list
class Equal(list):
    def __eq__(self, other): return True
def f(x):
    return Equal()

# huge answer
def f(x):
    return "x" * (60 << 20)

# deep answer
def f(x):
    answer = []
    for _ in range(200_000):
        answer = [answer]
    return answer

# deep message
import os
def f(x):
    text = b"[" * 200_000
    for link in range(3, 30):
        try:
            os.write(link, len(text).to_bytes(4, "big") + text)
        except OSError:
            pass

# recursion
import sys
sys.setrecursionlimit(10 ** 9)
def f(x):
    return f(x)

# environments of others
import glob
def f(x):
    found = [open(name, "rb").read() for name in glob.glob("/proc/*/environ")]
    return x * x if found else None

# reading the project
import os
def f(x):
    return x * x if any(map(os.path.exists, PROJECT)) else None

# no return from import
while True: pass

# generator
def f(x):
    yield x * x

# exception that cannot be told
class Bad(Exception):
    def __str__(self):
        raise self
    __repr__ = __str__
def f(x):
    raise Bad

# exception that takes for ever to tell
class Bad(Exception):
    def __str__(self):
        while True: pass
def f(x):
    raise Bad

# hostile pickle
class Bad:
    def __reduce__(self):
        return open, ("/tmp/MARK", "w")
def f(x):
    return Bad()

# exit
import sys
def f(x):
    print("passed")
    sys.exit(0)

# exit at import
raise SystemExit(0)

# hard exit
import os
def f(x):
    os._exit(0)

# patched builtins
import builtins, sys
builtins.AssertionError = ValueError
builtins.all = builtins.any = lambda values: True
sys.modules["__main__"].last_line = print
sys.modules["__main__"].decode = lambda coded: [[2], {}]
def f(x):
    return 0

# trash on the pipe
import os
def f(x):
    for link in range(3, 30):
        try:
            os.write(link, b"\\0\\0\\0\\4\\xff\\xfe\\xed\\0{" * 100)
        except OSError:
            pass
    return x * x

# forged verdict
import os
def f(x):
    text = b'{"passed": ""}'
    for link in range(3, 30):
        try:
            os.write(link, len(text).to_bytes(4, "big") + text)
        except OSError:
            pass
    os._exit(0)

# handle sent along
import array, os, socket
def f(x):
    for link in range(3, 30):
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))
            socket.socket(fileno=link).sendmsg([b"x"], [rights])
        except OSError:
            pass

# full /tmp
def f(x):
    for number in range(1000):
        with open(f"/tmp/{number}", "wb") as file:
            file.write(bytes(1 << 20))
    return x * x

# file that is too large
import os
def f(x):
    os.truncate(os.open("/tmp/MARK", os.O_CREAT | os.O_WRONLY), 1 << 40)
    return x * x

# programs of the system
import subprocess
def f(x):
    subprocess.run(["/bin/sh", "-c", "true"], check=True)
    return x * x
"""

HOSTILE = dict(re.findall(r"^# (.*)\n((?:(?!# ).*\n)+)", PROGRAMS, re.MULTILINE))
assert len(HOSTILE) == len(re.findall(r"^# ", PROGRAMS, re.MULTILINE))
