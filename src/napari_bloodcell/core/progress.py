"""The one hook for progress and cancel.

A long function ends with ``*, progress: Progress = silent`` and calls ``progress(stage, done, total)``
after each batch. The callee shows it, and may raise ``Cancelled``, which is how a Cancel button works.
"""

from typing import Protocol


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def within(progress: Progress, prefix: str) -> Progress:
    """The same hook with a prefix to each stage: one image among many."""

    def report(stage: str, done: int, total: int) -> None:
        progress(f"{prefix}: {stage}", done, total)

    return report
