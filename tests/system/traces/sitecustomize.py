"""On the path of every process of a test's machine: SIGUSR2 writes the stacks of all threads to its log."""

import contextlib
import faulthandler
import signal

with contextlib.suppress(Exception):
    faulthandler.register(signal.SIGUSR2, all_threads=True)
