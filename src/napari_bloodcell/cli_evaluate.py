"""``napari-bloodcell evaluate``: methods compared across labs. Like ``cli.py``, no logic of its own."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.core.config.evaluate import EvaluateConfig


def evaluate(
    data: list[Path],
    /,
    *,
    methods: Annotated[list[str], Parameter(consume_multiple=True)],
    out: Path,
    config: Annotated[EvaluateConfig, Parameter(name="*", consume_multiple=True)] = EvaluateConfig(),
) -> int:
    """Compare methods on labelled cells of several labs, in the layout of the papers, with intervals.

    Writes table.md, table.csv, scores.csv, recalls.csv, predictions.csv (every answer), labels_to_check.csv
    and .html (labels the answers contradict), evaluation.json and figures. Run it again to go on where it
    stopped. Differences are to the first method named.

    Parameters
    ----------
    data: list[Path]
        Folders of labelled cells: public sets, WBC_DG, or any lab's own (see `datasets check`).
    methods: list[str]
        EMBEDDING/CLASSIFIER, for example measurements/svm_linear: fitted here, as the protocol says.
        measurements/all takes every classifier, measurements@per-lab/svm_linear standardises each lab by its
        own cells. A bundle alone (nano, or a folder or file) is scored as it is: nothing of it is fitted, and
        its own outlines are used. With few-shot it is adapted as `classify adapt` does it, from the cells
        that `classify suggest` names; BUNDLE@inductive keeps the scored cells from it. BUNDLE/CLASSIFIER
        takes only its vectors and fits a classifier to them.
    out: Path
        Folder for the results.
    """
    from napari_bloodcell.core.evaluate import evaluate as run
    from napari_bloodcell.core.evaluate import tables_of

    with progress_bar() as progress:
        evaluation = run(data, methods, out, config, progress=progress)
    for table in tables_of(evaluation):
        print(f"{table.title}\n{table.text()}\n")
    print("\n".join(f"note: {note}" for note in evaluation.notes))
    print(f"Everything is in {out}; begin with {out / 'table.md'}")
    return 0
