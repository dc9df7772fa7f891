"""``napari-bloodcell bundle``: models as folders or files. Like ``cli.py``, no logic of its own."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

bundle_app = App(name="bundle", help="Models: what is in them, and making one.")


@bundle_app.command(name="list")
def list_bundles() -> int:
    """The models that ship."""
    from napari_bloodcell.core.bundle import load_bundle, shipped

    for name in shipped():
        model = load_bundle(name)
        print(f"{name}  {model.hash[:12]}  {model.title}")
    return 0


@bundle_app.command
def info(bundle: str = "nano", /) -> int:
    """What it is made of, from what, and its card.

    Parameters
    ----------
    bundle: str
        Name of a shipped model, or the folder or file of another.
    """
    from napari_bloodcell.core.bundle import load_bundle
    from napari_bloodcell.core.bundle.describe import describe

    model = load_bundle(bundle)
    print(describe(model))
    print()
    print(model.card)
    return 0


@bundle_app.command
def card(bundle: str = "nano", /) -> int:
    """The model card: what it is, how good, and where not to use it.

    Parameters
    ----------
    bundle: str
        Name of a shipped model, or the folder or file of another.
    """
    from napari_bloodcell.core.bundle import load_bundle

    print(load_bundle(bundle).card)
    return 0


@bundle_app.command
def verify(bundle: str, /) -> int:
    """Read everything in it anew and compare every hash.

    Parameters
    ----------
    bundle: str
        Name of a shipped model, or the folder or file of another.
    """
    from napari_bloodcell.core.bundle import verify_bundle

    for name, sha256 in verify_bundle(bundle).items():
        print(f"{sha256[:12]}  {name}")
    print("Every file is the one that was written.")
    return 0


@bundle_app.command
def pack(bundle: str, file: Path, /) -> int:
    """Make one file (.bloodcell) of a bundle's folder.

    Parameters
    ----------
    bundle: str
        Name of a shipped model, or the folder of another.
    file: Path
        File to write.
    """
    from napari_bloodcell.core.bundle import pack_bundle

    print(pack_bundle(bundle, file))
    return 0


@bundle_app.command
def build(  # noqa: PLR0913 (each is a flag)
    folder: Path,
    /,
    *,
    title: str,
    card: Path,
    classifier: Path | None = None,
    base: str = "nano",
    segmenter: str | None = None,
    adapter: Path | None = None,
    embedder: str | None = None,
    stains: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
) -> int:
    """Put a bundle together from a classifier or a segmenter of yours and the parts of another bundle.

    Parameters
    ----------
    folder: Path
        Folder of the new bundle; its name is the bundle's name.
    title: str
        What it is, honestly, in one line.
    card: Path
        Its model card (.md): what it is, how good, and where not to use it.
    classifier: Path
        Classifier file of `classify train`.
    base: str
        Bundle from which all that is not named is taken.
    segmenter: str
        What outlines the cells: "nano", "vit_b" and the like, or a checkpoint file.
    adapter: Path
        Folder of `train adapter`, for that segmenter ("nano" where none is named).
    embedder: str
        Kind of an embedder, or the folder of a trained one.
    stains: list[Path]
        Stain profiles (.json) of the labs its cells come from.
    """
    from napari_bloodcell.core.bundle.describe import build as put_together
    from napari_bloodcell.core.bundle.describe import describe

    model = put_together(
        folder,
        classifier,
        title=title,
        card=card,
        base=base,
        segmenter=segmenter or "",
        adapter=adapter,
        embedder=embedder or "",
        stains=stains or (),
    )
    print(describe(model))
    return 0
