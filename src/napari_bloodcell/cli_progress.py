"""The progress line of the command line."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from napari_bloodcell.core.errors import Cancelled
from napari_bloodcell.core.progress import Progress

EACH_IMAGE = "Image "  # how a batch names its stages
INTERRUPTED = 130  # exit code after Ctrl-C
STOPPED = "Stopped. What was finished is kept: run the same command again to go on."


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """One line on the error stream; where that is no terminal, a line for each image."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        said = ""

        def report(stage: str, done: int, total: int) -> None:
            nonlocal said
            is_new = stage.startswith(EACH_IMAGE) and stage != said  # workers are asked again and again
            if not console.is_terminal and is_new and total > 1:
                print(stage, file=sys.stderr, flush=True)
                said = stage
            bar.update(task, description=stage, completed=done, total=total)

        yield report


@contextmanager
def stopped_by_ctrl_c(progress: Progress) -> Iterator[Progress]:
    """Ctrl-C cancels at the next report, as a Cancel button does, so that what is best so far can still be
    written; a second Ctrl-C ends at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def report(stage: str, done: int, total: int) -> None:
        progress(stage, done, total)
        if asked:
            raise Cancelled(STOPPED)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # started in the background
        yield progress
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield report
    finally:
        signal.signal(signal.SIGINT, before)
