"""``napari-bloodcell classify``: train, predict, adapt, suggest. Like ``cli.py``, no logic of its own."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.cli_report import OwnClasses
from napari_bloodcell.core.config import AdaptConfig, ClassifierConfig, ClassifyConfig, SuggestConfig
from napari_bloodcell.core.errors import ClassifyError

Tables = Annotated[
    list[Path],
    Parameter(help="Tables of `embed cells` (.h5ad, .parquet, .csv), or results folders of `analyse`."),
]
LabTables = Annotated[
    list[Path],
    Parameter(help="All cells of the lab: results folders of `analyse`, or tables of `embed cells`."),
]
Vectors = Annotated[str, Parameter(help="Which vectors, where a table holds several.")]

NOTHING_BETTER = 3  # exit code: no error, but there is no new model either
classify_app = App(name="classify", help="Classifiers: train, predict, adapt to a lab, what to look at next.")


@classify_app.command
def train(
    tables: Tables,
    /,
    *,
    out: Path,
    embedder: Vectors = "",
    classes: OwnClasses = None,
    select: bool = False,
    config: Annotated[ClassifierConfig, Parameter(name="*")] = ClassifierConfig(),
) -> int:
    """Train a classifier on cells with classes.

    Parameters
    ----------
    out: Path
        Classifier file to write (.safetensors).
    select: bool
        Try every kind and keep the best, by nested folds.
    """
    from napari_bloodcell.core.classify.files import train_on_tables
    from napari_bloodcell.core.datasets.own_classes import with_own

    with progress_bar() as progress:
        text = train_on_tables(
            tables,
            out,
            config,
            embedder=embedder,
            choose=select,
            taxonomy=with_own(classes),
            progress=progress,
        )
    print(text)
    return 0


@classify_app.command
def predict(
    tables: Tables,
    /,
    *,
    out: Path,
    classifier: Annotated[str, Parameter(name=("--classifier", "--bundle"))] = "nano",
    embedder: Vectors = "",
    config: Annotated[ClassifyConfig, Parameter(name="*")] = ClassifyConfig(),
) -> int:
    """Name the cells of tables: class, probability, possible classes, and the reason for doubt.

    Parameters
    ----------
    out: Path
        Table to write (.csv).
    classifier: str
        Classifier file, or a bundle: its name, folder or file.
    """
    from napari_bloodcell.core.adapt.files import predict_tables

    print(predict_tables(tables, out, classifier, config, embedder=embedder))
    return 0


@classify_app.command
def adapt(  # noqa: PLR0913 (each is a flag)
    tables: LabTables,
    /,
    *,
    corrected: Path,
    out: Path,
    bundle: str = "nano",
    lab: str = "new lab",
    embedder: Vectors = "",
    classes: OwnClasses = None,
    config: Annotated[AdaptConfig, Parameter(name="*")] = AdaptConfig(),
) -> int:
    """Make a model right on a lab, from cells a person has corrected (5 to 200). Where held-out ones speak
    against what it learnt, nothing is written, and the exit code is 3.

    Parameters
    ----------
    corrected: Path
        Table (.csv) with the columns image, cell_id, cell_type, person; only lines with a name under person
        count. A list of your own may do without that column; one that `classify suggest` wrote, or in which
        every class is the model's, may not: nobody may have looked at it.
    out: Path
        Folder of the adapted model; the one it comes from is not changed.
    bundle: str
        Model to adapt: its name, folder or file.
    lab: str
        Name of the lab, kept in the model.
    """
    from napari_bloodcell.core.adapt.files import adapt_on_tables
    from napari_bloodcell.core.datasets.own_classes import with_own

    with progress_bar() as progress:
        text, is_better = adapt_on_tables(
            tables,
            corrected,
            out,
            bundle,
            config,
            lab=lab,
            embedder=embedder,
            taxonomy=with_own(classes),
            progress=progress,
        )
    print(text)
    return 0 if is_better else NOTHING_BETTER


@classify_app.command
def export(classifier: str, file: Path, /, *, format: Literal["onnx", "ubj"] | None = None) -> int:  # noqa: A002 (a flag)
    """Write a classifier for other programs: as ONNX (logistic and ann), or as XGBoost's UBJSON (xgboost).

    Parameters
    ----------
    classifier: str
        Classifier file, or a bundle: its name, folder or file.
    file: Path
        File to write (.onnx, .ubj).
    format: str
        onnx or ubj. Empty: as the file's name ends.
    """
    from napari_bloodcell.core.adapt.files import find_classifier
    from napari_bloodcell.core.classify.onnx_file import export_onnx
    from napari_bloodcell.core.classify.ubj_file import export_ubj

    if format is None and file.suffix not in (".onnx", ".ubj"):
        raise ClassifyError(f"{file} ends in {file.suffix!r}; name it .onnx or .ubj, or give --format.")
    as_ubj = format == "ubj" or (format is None and file.suffix == ".ubj")
    (export_ubj if as_ubj else export_onnx)(find_classifier(classifier), file)
    print(file)
    return 0


@classify_app.command
def undo(bundle: Path, /) -> int:
    """Take back the last adaptation of a model.

    Parameters
    ----------
    bundle: Path
        Folder that `classify adapt` wrote.
    """
    from napari_bloodcell.core.adapt.bundles import undo as take_back

    print(f"{bundle} is as before: {take_back(bundle).title}")
    return 0


@classify_app.command
def suggest(  # noqa: PLR0913 (each is a flag)
    tables: LabTables,
    /,
    *,
    out: Path,
    bundle: str = "nano",
    corrected: Path | None = None,
    embedder: Vectors = "",
    classes: OwnClasses = None,
    config: Annotated[SuggestConfig, Parameter(name="*")] = SuggestConfig(),
) -> int:
    """Which cells to look at next: doubtful ones, unlike each other. Fill in the table and give it to adapt.

    Parameters
    ----------
    out: Path
        Table to write (.csv): the cells to look at, with the model's guess to be corrected. Of results of
        `analyse` a page with their pictures goes beside it (.html).
    bundle: str
        Model: its name, folder or file.
    corrected: Path
        Cells corrected before; they are not suggested again.
    """
    from napari_bloodcell.core.adapt.files import suggest_from_tables
    from napari_bloodcell.core.datasets.own_classes import with_own

    print(
        suggest_from_tables(
            tables,
            out,
            bundle,
            config,
            corrected=corrected,
            embedder=embedder,
            taxonomy=with_own(classes),
        )
    )
    return 0
