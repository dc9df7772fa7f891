"""The progress line of the command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from napari_bloodcell.core.progress import Progress

EACH_IMAGE = "Image "  # how a batch names its stages


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
