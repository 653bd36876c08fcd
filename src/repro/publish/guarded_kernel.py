"""A Jupyter kernel (``python guarded_kernel.py -f CONNECTION_FILE``) that ends, with every process it started, when the
process that started it is gone; by itself a kernel would leave its children running.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


def main() -> None:
    """Start the guard and then the kernel."""
    sys.path.pop(0)  # this file's folder, whose modules nobody may import by their bare names
    import logging
    import os
    import signal
    import threading

    signal.signal(signal.SIGINT, lambda *_: os._exit(1))  # quietly, until the kernel has a handler of its own
    from ipykernel import kernelapp

    parent = int(os.environ["JPY_PARENT_PID"])
    if hasattr(os, "pidfd_open"):  # else the kernel's own watch must be enough
        threading.Thread(target=_guard, args=(parent,), daemon=True).start()
    for logger in ("IPKernelApp", "tornado.general"):
        logging.getLogger(logger).addFilter(_news)
    kernelapp.launch_new_instance()


def _news(record: "logging.LogRecord") -> bool:
    """Whether a message says more than that the kernel is ending. Jupyter interrupts a kernel to end it, busy or not,
    and one of its threads may close a socket that another is about to use; neither is an error.
    """
    import zmq

    error = record.exc_info[1] if record.exc_info else None
    closed = isinstance(error, zmq.ZMQError) and error.errno == zmq.ENOTSOCK
    return not closed and "KeyboardInterrupt caught" not in str(record.msg)


def _guard(parent: int) -> None:
    import os
    import select
    import signal

    try:
        alive = select.poll()
        alive.register(os.pidfd_open(parent), select.POLLIN)
        alive.poll()
    except ProcessLookupError:  # gone before we looked
        pass
    if os.getpgrp() == os.getpid():  # the group is ours: the kernel was started in a session of its own
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
