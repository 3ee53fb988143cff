"""Serving until it is over: the client has gone, or this process was told to end."""

import signal
import threading
from collections.abc import Callable


def serve(run: Callable[[], None], stop: Callable[[], None]) -> None:
    """Do `run`, on a thread, until it returns or this process gets SIGTERM or SIGINT; then `stop` it. Call it on the
    main thread. Raises what `run` raises.

    The thread is left behind when it does not end: what reads standard input cannot be told to. From the first signal
    on, and at the end, the next signal interrupts this process as Ctrl-C does."""
    over = threading.Event()
    told = threading.Event()
    failures: list[BaseException] = []

    def body() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again on the main thread
            failures.append(error)
        finally:
            over.set()

    def tell(_number: int, _frame: object) -> None:
        told.set()
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    thread = threading.Thread(target=body, name="mcp", daemon=True)
    thread.start()
    over.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    if told.is_set():
        stop()
    elif failures:
        raise failures[0]
