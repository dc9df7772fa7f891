"""A bundle in words, and one put together from parts on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_bloodcell.core.bundle import Bundle, load_bundle, save_bundle
from napari_bloodcell.core.bundle.members import MANIFEST, check_free
from napari_bloodcell.core.classify import Classifier
from napari_bloodcell.core.embed import Embedder
from napari_bloodcell.core.embed.choose import find_embedder
from napari_bloodcell.core.embed.measurements import OF_TABLES
from napari_bloodcell.core.embed.restained import RestainedEmbedder
from napari_bloodcell.core.errors import ArtifactError
from napari_bloodcell.core.segment.choose import SHIPPED, find_segmenter
from napari_bloodcell.core.stain.profile import load_profile

MAX_CARD_BYTES = 2**20


def describe(bundle: Bundle) -> str:
    classifier = bundle.classifier
    known = classifier.known
    cells = "none kept" if known is None else f"{len(known)} kept, of {', '.join(sorted(set(known.labs)))}"
    rows: list[tuple[str, Any]] = [
        ("name", bundle.name),
        ("title", bundle.title),
        ("hash", bundle.hash),
        ("segmenter", f"{bundle.segmenter.kind} {bundle.segmenter.hash[:12]}"),
        ("embedder", f"{bundle.embedder.kind} {bundle.embedder.hash[:12]}"),
        *_restaining(bundle),
        ("classifier", f"{classifier.kind} {classifier.hash[:12]}"),
        ("classes", ", ".join(classifier.class_names)),
        ("calibration", classifier.calibration.basis),
        ("training vectors", cells),
        ("stains of labs", ", ".join(profile.name for profile in bundle.stains) or "none"),
    ]
    rows += [("note", note) for note in classifier.notes]
    rows += [(f"made: {key}", value) for key, value in bundle.provenance.items() if key != "adapted"]
    return "\n".join(f"{name:<17} {value}" for name, value in rows)


def _fitting(trained: Classifier, start: Bundle) -> Embedder:
    of_tables = [kind() for kind in OF_TABLES]
    return next((one for one in of_tables if one.hash == trained.embedder), start.embedder)


def _restaining(bundle: Bundle) -> list[tuple[str, Any]]:
    """What happens to every cell before it is described; nothing in most bundles."""
    if not isinstance(bundle.embedder, RestainedEmbedder):
        return []
    return [("stain transfer", str(bundle.embedder))]


def build(  # noqa: PLR0913 (each is one part of the bundle)
    folder: Path,
    classifier: Path | None = None,
    *,
    title: str,
    card: Path,
    base: str = "nano",
    segmenter: str = "",
    adapter: Path | None = None,
    embedder: str = "",
    stains: Sequence[Path] = (),
) -> Bundle:
    """``base`` gives what is not named: the classifier, the segmenter, and the embedder where the
    classifier's vectors are not plain columns of a table. ``adapter``: of the segmenter named, or of nano."""
    if classifier is None and not segmenter and adapter is None:
        raise ArtifactError(
            f"Nothing in it would differ from {base}. Name a classifier, a segmenter or an adapter."
        )
    if (folder / MANIFEST).exists():
        raise ArtifactError(
            f"{folder} holds a model already, which may know your corrections. Give the new one another "
            "folder, or remove that one first."
        )
    check_free(folder)
    start = load_bundle(base)
    try:
        if card.stat().st_size > MAX_CARD_BYTES:
            raise ArtifactError(f"{card} is larger than {MAX_CARD_BYTES:,} bytes: it is no model card.")
        text = card.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{card} cannot be read as text ({error}). Write a model card in .md.") from error
    trained = start.classifier if classifier is None else Classifier.read(classifier)
    finder = start.segmenter
    made: dict[str, Any] = {"segmenter_from": start.hash}
    if segmenter or adapter is not None:
        finder = find_segmenter(segmenter or SHIPPED, adapter)
        made = {"segmenter": segmenter or SHIPPED, "adapter": "" if adapter is None else adapter.name}
    save_bundle(
        folder,
        title=title,
        segmenter=finder,
        embedder=find_embedder(embedder) if embedder else _fitting(trained, start),
        classifier=trained,
        scores={},
        card=text,
        stains=[load_profile(path) for path in stains] or (start.stains if classifier is None else ()),
        provenance=(dict(start.provenance) if classifier is None else {})
        | made
        | {"classifier": trained.hash},
    )
    return load_bundle(folder)
