"""A time limit for code that may never end, such as a template that came with a model."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TimeLimitError(BaseException):
    """The time is up. No `except Exception` of the limited code can hold it back."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupts the Python code inside, in whatever thread it runs.

    Raises:
        TimeLimitError: the time was up.
    """
    thread, lock, state = threading.get_ident(), threading.Lock(), {"running": True, "late": False}

    def interrupt() -> None:
        with lock:
            if state["running"]:
                state["late"] = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(TimeLimitError)
                )

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except TimeLimitError:
        raise TimeLimitError(f"{seconds:g} s") from None
    finally:
        timer.cancel()
        with lock:
            state["running"] = False
            if state["late"]:  # what was not raised yet must not be raised later
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
