"""What is compared: a way to describe a cell and a classifier, named ``EMBEDDING[@HOW]/CLASSIFIER``; or a
whole bundle as it is, by its name, folder or file alone (``frozen``).

An embedding is a kind of ``core.embed``, the folder of a trained one or of a bundle, or one that is trained
for the comparison (``learned``). ``@per-lab`` standardises each lab by its own cells, which needs the
unlabelled cells of the target; ``@inductive`` trains a learned one without the target, and adapts a bundle
(few-shot) without the cells that are scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.bundle import is_bundle, load_bundle, shipped
from napari_bloodcell.core.config.classify import ClassifierConfig, ClassifierKind
from napari_bloodcell.core.config.evaluate import EvaluateConfig
from napari_bloodcell.core.embed import EMBEDDERS, Embedder
from napari_bloodcell.core.embed.choose import FILE, find_embedder
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.core.evaluate.learned import INDUCTIVE, LEARNED, scope_of
from napari_bloodcell.core.evaluate.protocols import Trial
from napari_bloodcell.core.records import Embeddings

if TYPE_CHECKING:
    from napari_bloodcell.core.classify import Classifier

PER_LAB = "per-lab"
FROZEN = ""  # in the place of a classifier
# The shipped encoder learned to outline (no classes) on cells of these labs.
TAUGHT_ON = {"nano": ("jtsc", "cellavision")}
CLASSIFIERS: tuple[str, ...] = get_args(ClassifierKind)


@dataclass(frozen=True)
class Method:
    embedding: str
    classifier: str
    how: str = ""  # "", "per-lab" or "inductive"

    @property
    def name(self) -> str:
        return self.described if self.frozen else f"{self.described}/{self.classifier}"

    @property
    def frozen(self) -> bool:
        """A bundle as it is, or adapted as the product does it: its own classifier answers."""
        return self.classifier == FROZEN

    @property
    def refits_bundle(self) -> bool:
        """The vectors of a bundle under a classifier fitted here: not that bundle."""
        return not self.frozen and self.embedding not in EMBEDDERS and is_bundle(self.embedding)

    @property
    def described(self) -> str:
        return f"{self.embedding}@{self.how}" if self.how else self.embedding

    @property
    def learned(self) -> bool:
        return self.embedding in LEARNED

    @property
    def sees_target(self) -> bool:
        """Transductive: it needs unlabelled cells of the lab it is tried on."""
        if self.learned:
            return not LEARNED[self.embedding].needs_classes and self.how != INDUCTIVE
        return self.how == PER_LAB

    @property
    def brought(self) -> str:
        """The name of its vectors where nothing is trained for them."""
        return f"{self.embedding} as it is" if self.frozen else self.described

    def features(self, trial: Trial, protocol: str) -> str:
        """The name of the vectors it uses in a trial."""
        if not self.learned:
            return self.brought
        scope = scope_of(LEARNED[self.embedding], self.how, trial, protocol)
        return f"{self.described} {scope}".rstrip()


def known_embeddings() -> str:
    names = dict.fromkeys([*EMBEDDERS, *LEARNED])
    return f"{', '.join(names)}; or the folder of a trained embedder, or a bundle"


def method_of(text: str) -> Method:
    """``all`` as classifier is read by ``methods_of``."""
    whole = text.removesuffix(f"@{INDUCTIVE}")
    for bundle, how in ((text, ""), (whole, INDUCTIVE)):
        if is_bundle(bundle):
            return Method(bundle, FROZEN, how)
    described, slash, classifier = text.rpartition("/")
    embedding, at, how = described.partition("@")
    if not slash or not embedding:
        raise ConfigError(
            f"{text!r} is no method. Write EMBEDDING/CLASSIFIER, for example measurements/svm_linear, or the "
            f"name or folder of a bundle ({', '.join(shipped())}) to score it as it is. "
            f"Embeddings: {known_embeddings()}. Classifiers: {', '.join(CLASSIFIERS)}, all."
        )
    if classifier not in CLASSIFIERS:
        raise ConfigError(
            f"There is no classifier {classifier!r}. Known: {', '.join(CLASSIFIERS)}; all takes every one."
        )
    if not (
        embedding in EMBEDDERS or embedding in LEARNED or Path(embedding).is_dir() or is_bundle(embedding)
    ):
        raise ConfigError(f"There is no embedding {embedding!r}. Known: {known_embeddings()}.")
    wanted = INDUCTIVE if embedding in LEARNED else PER_LAB
    if at and how != wanted:
        raise ConfigError(f"{text!r} asks for {how!r}; after {embedding}@ only {wanted} is known.")
    return Method(embedding, classifier, how)


def methods_of(texts: Sequence[str]) -> list[Method]:
    found: list[Method] = []
    for text in texts:
        head, _, last = text.rpartition("/")
        every = head and last == "all" and not is_bundle(text)
        found += [method_of(f"{head}/{kind}") for kind in CLASSIFIERS] if every else [method_of(text)]
    return list(dict.fromkeys(found))


def embedder_of(name: str) -> Embedder:
    """A kind that is ready, or what a folder holds."""
    if name in EMBEDDERS or (Path(name) / FILE).is_file():
        return find_embedder(name)
    return load_bundle(name).embedder


def labs_seen(embedder: Any) -> frozenset[str]:
    """The labs an embedder was trained on, where it tells: their figures are no figures of a new lab."""
    training = getattr(embedder, "training", None) or {}
    labs = [lab for lab in training.get("labs", ()) if lab != "not aligned"]
    labs += getattr(getattr(embedder, "model", None), "lab_names", ())
    if getattr(getattr(embedder, "sam", None), "source", "") in TAUGHT_ON:
        labs += TAUGHT_ON[embedder.sam.source]
    return frozenset(labs)


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
