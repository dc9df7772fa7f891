"""What is compared: a way to describe a cell and a classifier, named ``EMBEDDING/CLASSIFIER``.

``measurements/svm_linear`` is one; ``measurements@per-lab/svm_linear`` standardises each lab by its own
cells first, which needs the unlabelled cells of the target. An embedding is a kind of ``core.embed``, or the
folder of a bundle, whose embedder is taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.config.classify import ClassifierConfig, ClassifierKind
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.embed import EMBEDDERS, Embedder
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.records import Embeddings

if TYPE_CHECKING:
    from napari_bloodcell.core.classify import Classifier

PER_LAB = "per-lab"
CLASSIFIERS: tuple[str, ...] = get_args(ClassifierKind)


@dataclass(frozen=True)
class Method:
    """``sees_target``: it needs unlabelled cells of the lab it is tried on (transductive)."""

    embedding: str
    classifier: str
    per_lab: bool = False

    @property
    def name(self) -> str:
        return f"{self.described}/{self.classifier}"

    @property
    def described(self) -> str:
        return f"{self.embedding}@{PER_LAB}" if self.per_lab else self.embedding

    @property
    def sees_target(self) -> bool:
        return self.per_lab

    @property
    def protocol_word(self) -> str:
        return "transductive" if self.sees_target else "inductive"


def method_of(text: str) -> Method:
    """``embedding[@per-lab]/classifier``; the classifier ``all`` is read by ``methods_of``."""
    embedding, slash, classifier = text.rpartition("/")
    described, at, how = embedding.partition("@")
    if not slash or not described:
        raise ConfigError(
            f"{text!r} is no method. Write EMBEDDING/CLASSIFIER, for example measurements/svm_linear. "
            f"Embeddings: {', '.join(EMBEDDERS)}, or the folder of a bundle. "
            f"Classifiers: {', '.join(CLASSIFIERS)}, all."
        )
    if at and how != PER_LAB:
        raise ConfigError(f"{text!r} asks for {how!r}; after @ only {PER_LAB} is known.")
    if classifier not in CLASSIFIERS:
        raise ConfigError(
            f"There is no classifier {classifier!r}. Known: {', '.join(CLASSIFIERS)}; all takes every one."
        )
    if described not in EMBEDDERS and not Path(described).is_dir():
        raise ConfigError(
            f"There is no embedding {described!r}. Known: {', '.join(EMBEDDERS)}; or the folder of a bundle."
        )
    return Method(described, classifier, per_lab=bool(at))


def methods_of(texts: Sequence[str]) -> list[Method]:
    found: list[Method] = []
    for text in texts:
        head, _, last = text.rpartition("/")
        found += [method_of(f"{head}/{kind}") for kind in (CLASSIFIERS if last == "all" else (last,))]
    return list(dict.fromkeys(found))


def embedder_of(name: str) -> Embedder:
    if name in EMBEDDERS:
        maker: Callable[[], Embedder] = EMBEDDERS[name]
        return maker()
    from napari_bloodcell.core.bundle import load_bundle

    return load_bundle(name).embedder


def standardised_per_lab(values: NDArray[np.float32], lab: NDArray[np.str_]) -> NDArray[np.float32]:
    """Mean 0 and spread 1 in each lab. Takes what differs between labs, and the shares of classes with it."""
    result = np.array(values, np.float32)
    for name in np.unique(lab):
        rows = lab == name
        spread = values[rows].std(axis=0)
        result[rows] = (values[rows] - values[rows].mean(axis=0)) / np.where(spread > 1e-6, spread, 1)
    return result


def fit(
    method: Method,
    embeddings: Embeddings,
    labels: Sequence[str],
    groups: Sequence[str] | None,
    config: EvaluateConfig,
) -> "Classifier":
    from napari_bloodcell.core.classify import fit as fit_classifier
    from napari_bloodcell.core.classify import published

    kind: ClassifierKind = method.classifier  # type: ignore[assignment]
    if config.settings == "published":
        settings = replace(published(kind), seed=config.seed, keep_cells=0)
    else:
        settings = ClassifierConfig(kind=kind, seed=config.seed, keep_cells=0)
    return fit_classifier(embeddings, labels, settings, groups=groups)
