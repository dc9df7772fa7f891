"""How fast the machine is now: limits in seconds were set on one of usual speed."""

import time

import numpy as np

USUAL_S = 0.22  # of computing for the work below, where the limits were set


def slowness() -> float:
    """1, or more where this machine is slower than usual: a shared one may be, by half and more."""
    return max(1.0, min(_seconds() for _ in range(2)) / USUAL_S)


def _seconds() -> float:
    """Steps, small objects and arrays, as a window has them."""
    begin = time.process_time()
    total = 0
    for step in range(1_000_000):
        total += step
    sorted(({str(i): [i]} for i in range(100_000)), key=lambda one: next(iter(one)))
    array = np.ones((1000, 1000, 3), np.float32)
    for _ in range(5):
        array = np.clip(np.exp(-array) * 0.5 + array, 0, 1)
    return time.process_time() - begin
