"""Predicting, adapting and suggesting on tables, as the command line and scripts do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.adapt.adapting import NO_UPDATE, adapt
from napari_bloodcell.core.adapt.bundles import check_place, save_adapted
from napari_bloodcell.core.adapt.restaining import restain_of_results
from napari_bloodcell.core.adapt.suggesting import suggest
from napari_bloodcell.core.adapt.to_look_at import write_page
from napari_bloodcell.core.artifact import atomic_path
from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.cell_tables import (
    Correction,
    labels_for,
    read_cells,
    read_corrections,
    write_corrections,
)
from napari_bloodcell.core.classify import Classifier
from napari_bloodcell.core.config import AdaptConfig, ClassifyConfig, SuggestConfig
from napari_bloodcell.core.errors import DataError
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import UNIDENTIFIED, Embeddings, Predictions
from napari_bloodcell.core.rows import harmless_table
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy
from napari_bloodcell.core.words import how_many


def predict_tables(
    tables: Sequence[Path], out: Path, classifier: str, config: ClassifyConfig, *, embedder: str = ""
) -> str:
    """Writes one row a cell; returns what to tell."""
    import pandas as pd

    model = find_classifier(classifier)
    cells = read_cells(tables, embedder, wanted=model.embedder, labelled=False)
    predictions = model.predict(cells.embeddings, config)
    frame = pd.DataFrame({"image": cells.names(), "cell_id": cells.cell_id, **predictions.columns()})
    with atomic_path(out) as temporary:
        harmless_table(frame).to_csv(temporary, index=False, float_format="%.6g")
    unsure = int(np.sum(predictions.labels == UNIDENTIFIED))
    return (
        f"{len(cells)} cells in {out}, {unsure} of them unidentified.\n"
        f"Probabilities and sets rest on {model.calibration.basis}."
    )


def adapt_on_tables(  # noqa: PLR0913 (what is given, what is made, and how)
    tables: Sequence[Path],
    corrected: Path,
    out: Path,
    bundle: str,
    config: AdaptConfig,
    *,
    lab: str,
    embedder: str = "",
    taxonomy: Taxonomy = DEFAULT,
    progress: Progress = silent,
) -> tuple[str, bool]:
    """Writes the adapted bundle where an update was better; returns what to tell, and whether it was."""
    model = load_bundle(bundle)
    check_place(out, model)
    cells = read_cells(tables, embedder, taxonomy, wanted=model.classifier.embedder)
    looked_at, left_out = by_persons(corrected, taxonomy)
    labels = labels_for(cells, looked_at)
    _check_corrected(model.classifier, cells.embeddings, labels, looked_at)
    teaching = [label not in ("", UNIDENTIFIED) for label in labels]
    restained, why_not = restain_of_results(model, tables, cells, teaching, lab=lab, progress=progress)
    adaptation = adapt(
        model.classifier, cells.embeddings, labels, config, lab=lab, restained=restained, progress=progress
    )
    told = "\n".join(text for text in (left_out, unnamed(labels), adaptation.text(), why_not) if text)
    if adaptation.kept == NO_UPDATE:
        return f"{told}\nNothing was written to {out}: go on with {bundle}.", False
    made = save_adapted(out, model, adaptation)
    return f"{told}\n{out} ({made.hash[:12]})", True


def _check_corrected(
    model: Classifier, cells: Embeddings, labels: Sequence[str], looked_at: Sequence[Correction]
) -> None:
    """A table that names nobody and repeats the model's own answers may be those answers and no more."""
    rows = [row for row, label in enumerate(labels) if label]
    if not rows or any(one.person for one in looked_at):
        return
    part = replace(cells, cell_id=cells.cell_id[rows], values=cells.values[rows])
    answers = model.predict(part)
    said = [labels[row] for row in rows]
    if said == answers.top(0)[0].tolist() or said == answers.labels.tolist():
        raise DataError(
            f"All {len(rows)} corrected cells have the class that the model gives them, and no column person "
            "says who looked at them. If somebody did, add the column person with a name in each line."
        )


def suggest_from_tables(  # noqa: PLR0913 (what is given, what is made, and how)
    tables: Sequence[Path],
    out: Path,
    bundle: str,
    config: SuggestConfig,
    *,
    corrected: Path | None = None,
    embedder: str = "",
    taxonomy: Taxonomy = DEFAULT,
) -> str:
    """Writes a table to be corrected, with the model's guesses; returns what to tell."""
    model = load_bundle(bundle)
    cells = read_cells(tables, embedder, taxonomy, wanted=model.classifier.embedder)
    done = labels_for(cells, named(read_corrections(corrected, taxonomy)) if corrected is not None else [])
    rows = suggest(model.classifier, cells.embeddings, [label != "" for label in done], config)
    predictions = model.classifier.predict(cells.embeddings)
    names, guesses = cells.names(), predictions.top(0)[0]
    write_corrections(
        out,
        [Correction(names[row], int(cells.cell_id[row]), str(guesses[row])) for row in rows],
        _guessed(predictions, rows),
    )
    page = out.with_name(f"{out.stem}-pictures.html")  # a name that nobody else takes
    pictured = write_page(page, out, tables, [(names[row], int(cells.cell_id[row])) for row in rows])
    shown = f", their pictures in {page}" if pictured else ""
    return (
        f"{len(rows)} cells in {out}{shown}. Look at each, correct its cell_type, write your name under "
        "person, and give the table to `classify adapt --corrected`."
    )


def _guessed(predictions: Predictions, rows: NDArray[np.int32]) -> dict[str, list[str]]:
    """Columns beside the guess that is to be corrected."""
    (_, first), (second, next_) = predictions.top(0), predictions.top(1)
    return {
        "probability": [f"{first[row]:.2f}" for row in rows],
        "second": [str(second[row]) for row in rows],
        "second_prob": [f"{next_[row]:.2f}" for row in rows],
    }


def unnamed(labels: Sequence[str]) -> str:
    """What to tell of cells a person looked at and could not name."""
    left = how_many(sum(label == UNIDENTIFIED for label in labels), "cell")
    return f"{left} left unidentified by a person: no class is learned from them." if left[0] != "0" else ""


def by_persons(table: Path, taxonomy: Taxonomy = DEFAULT) -> tuple[list[Correction], str]:
    """Corrections with a name under person, and what to tell of the others: their class may be the model's
    guess and no more, which must not be learned as truth. A table without that column is a person's own,
    unless it says that a model named its cells, or holds the columns of a suggestion."""
    given = read_corrections(table, taxonomy)
    looked_at = named(given)
    missing = len(given) - len(looked_at)
    if not missing:
        return looked_at, ""
    told = f"{missing} of {len(given)} cells in {table} have no name under person: nobody looked at them."
    if not looked_at:
        raise DataError(f"{told} Look at each, correct its cell_type, and write your name under person.")
    return looked_at, f"{told} They were left out."


def named(given: Sequence[Correction]) -> list[Correction]:
    """Those with a name under person, or from a table without that column."""
    return [one for one in given if one.person != ""]


def find_classifier(name_or_path: str) -> Classifier:
    """A classifier file, or that of a bundle."""
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        return Classifier.read(path)
    return load_bundle(name_or_path).classifier
