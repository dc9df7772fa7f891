"""Now and then Python looks through all objects for garbage: half a second with those of napari and torch, in
which the window stands still. While a run works it does so far more seldom."""

import gc

SELDOM = 100  # times

_working: set[int] = set()
_usual = gc.get_threshold()


def hold(run: int) -> None:
    """``run``: any number that is its own."""
    global _usual  # noqa: PLW0603 (Python has one collector)
    if not _working:
        _usual = gc.get_threshold()
        gc.set_threshold(*_usual[:2], SELDOM * _usual[2])
    _working.add(run)


def let_go(run: int) -> None:
    if run in _working:
        _working.remove(run)
        if not _working:
            gc.set_threshold(*_usual)
