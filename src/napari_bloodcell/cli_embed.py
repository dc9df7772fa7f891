"""``napari-bloodcell embed``: cells as vectors, and what the vectors know."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from napari_bloodcell.cli_notes import tell, tell_of_sets
from napari_bloodcell.cli_progress import progress_bar
from napari_bloodcell.core.config import JudgeConfig
from napari_bloodcell.core.words import some_of

embed_app = App(name="embed", help="Embeddings: describe cells, and judge whether it is by class or by lab.")


@embed_app.command
def cells(
    paths: list[Path],
    /,
    *,
    out: Path,
    embedder: list[str] | None = None,
    labels: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    segmenter: str = "nano",
) -> int:
    """Describe cells by vectors and write one table.

    Parameters
    ----------
    paths: list[Path]
        Folders of labelled cells, or images of whole fields (their white cells are outlined first).
    out: Path
        .h5ad for scanpy and napari-spatialdata (takes the extra "anndata"), .parquet or .csv.
    embedder: list[str]
        measurements, details, sam, sam-parts, or the folder of a trained one; several may be given.
    labels: list[Path]
        A label image for each image, where the cells are outlined already.
    segmenter: str
        What outlines the other cells: nano, as in the model that ships; stain, which is faster and takes no
        network; or a checkpoint file. A classifier of these vectors fits a bundle with the same segmenter.
    """
    from napari_bloodcell.core.embed.collection import check_can_write, write
    from napari_bloodcell.core.embed.sources import embed_paths

    check_can_write(out)
    tell_of_sets(paths)
    with progress_bar() as progress:
        found = embed_paths(
            paths,
            embedder or ["measurements"],
            labels=labels or (),
            segmenter=segmenter,
            progress=progress,
        )
        write(out, found)
    print(f"{len(found)} cells in {out}: {', '.join(found.vectors)}")
    if found.provenance.get("cells_not_found"):
        print(f"{found.provenance['cells_not_found']} cells were not found in their pictures.")
    tell(f"left out: {reason}" for reason in some_of(found.provenance.get("left_out", ())))
    return 0


@embed_app.command
def align(
    paths: list[Path],
    /,
    *,
    out: Path,
    pool: Literal["whole", "parts"] = "whole",
    sam: str = "nano",
    add_to: Path | None = None,
) -> int:
    """Lay labs over each other without training: kinds of cell are found without classes, and each kind is
    moved to where it lies over all labs.

    Parameters
    ----------
    paths: list[Path]
        Folders of cells; classes are not used.
    out: Path
        Folder for the embedder.
    pool: Literal["whole", "parts"]
        The mean over the whole cell, or over nucleus and cytoplasm apart, which keeps more of the class.
    sam: str
        nano, a name that `models list` shows, or a checkpoint file.
    add_to: Path
        Folder of an embedder made so before: the labs join it, and its classifiers still fit.
    """
    from napari_bloodcell.core.embed.sources import align_paths

    tell_of_sets(paths)
    with progress_bar() as progress:
        made = align_paths(paths, out, pool, sam, add_to, progress=progress)
    print(f"{made.kind}: {', '.join(made.space.labs)}. {out}")
    return 0


@embed_app.command
def judge(
    paths: list[Path],
    /,
    *,
    embedder: list[str] | None = None,
    out: Path | None = None,
    how: str = "pca",
    config: Annotated[JudgeConfig, Parameter(name="*")] = JudgeConfig(),
) -> int:
    """Is it about the cell or about the lab? Figures with intervals for each embedding, side by side.

    Parameters
    ----------
    paths: list[Path]
        Folders of labelled cells of two labs at least.
    embedder: list[str]
        measurements, details, sam, sam-parts, or folders of trained ones. The first is the one to compare
        with.
    out: Path
        Picture to write (.png, .pdf, .svg): maps by class and by lab. The figures go beside it as .json.
    how: str
        pca, or umap where it is installed.
    """
    from napari_bloodcell.core.embed.judge import table
    from napari_bloodcell.core.embed.sources import check_maps, embed_paths, judge_cells, write_judgement

    if out is not None:
        check_maps(out, how)
    tell_of_sets(paths)
    with progress_bar() as progress:
        found = embed_paths(paths, embedder or ["measurements"], labelled=True, progress=progress)
        judgements = judge_cells(found, config, progress=progress)
    print(table(judgements))
    for one in judgements:
        print(one.words())
    if out is not None:
        with progress_bar() as progress:
            write_judgement(out, found, judgements, how, progress=progress)
        print(out)
    return 0
