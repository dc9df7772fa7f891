"""A trained classifier: standardise, score, calibrate, decide. Its file holds numbers only."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.artifact import hash_arrays, read_arrays, write_arrays
from napari_bloodcell.core.classify.heads import HEADS, Head
from napari_bloodcell.core.classify.heads.linear import LinearHead
from napari_bloodcell.core.config import ClassifierConfig, ClassifyConfig
from napari_bloodcell.core.errors import ArtifactError, BloodcellError, ClassifyError
from napari_bloodcell.core.records import Embeddings, Predictions, freeze
from napari_bloodcell.core.uncertainty.calibration import Calibration
from napari_bloodcell.core.uncertainty.cloud import Cloud
from napari_bloodcell.core.uncertainty.rule import decide

FILE = "classifier.safetensors"
UNCALIBRATED = Calibration()
MOST_CLASSES = 1_000
FURTHEST = 60_000  # standardised vectors are kept as 16-bit floats, which end soon after
SECOND = "second_"  # before the names of a second opinion's arrays in the file
EXTREME = 10.0  # standard deviations: further out a straight line is no opinion

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Vectors a classifier was trained on, with their class and lab: what adapting to another lab starts
    from. Never an image."""

    ready: NDArray[np.float16]  # N x D, standardised
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    labels: NDArray[np.str_]
    labs: NDArray[np.str_]

    def __post_init__(self) -> None:
        freeze(self, "ready", np.float16, (None, len(self.mean)))
        freeze(self, "labels", np.str_, (len(self.ready),))
        freeze(self, "labs", np.str_, (len(self.ready),))

    @classmethod
    def of(cls, values: NDArray[Any], labels: Any, labs: Any) -> "Known":
        mean, scale = centre_and_scale(values)
        return cls(
            ready=cls.standardised(values, mean, scale), mean=mean, scale=scale, labels=labels, labs=labs
        )

    @staticmethod
    def standardised(values: NDArray[Any], mean: Any, scale: Any) -> NDArray[np.float16]:
        """As they are kept."""
        ready: NDArray[np.float16] = np.clip((values - mean) / scale, -FURTHEST, FURTHEST).astype(np.float16)
        return ready

    @property
    def values(self) -> NDArray[np.float32]:
        return self.ready.astype(np.float32) * self.scale + self.mean

    def __len__(self) -> int:
        return len(self.ready)


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """``embedder`` is the hash of the vectors it takes; others are refused."""

    class_names: tuple[str, ...]
    embedder: str
    config: ClassifierConfig
    mean: NDArray[np.float32]  # D
    scale: NDArray[np.float32]  # D
    head: Head
    cloud: Cloud
    calibration: Calibration = UNCALIBRATED
    second: LinearHead | None = None  # of one lab's cells: adapt/second_opinion.py
    known: Known | None = None
    notes: tuple[str, ...] = ()  # what training had to decide

    @property
    def kind(self) -> str:
        return self.config.kind

    @cached_property
    def hash(self) -> str:
        return hash_arrays(self._arrays(), self._settings(), {"embedder": self.embedder})

    def predict(self, embeddings: Embeddings, config: ClassifyConfig = ClassifyConfig()) -> Predictions:
        if embeddings.embedder != self.embedder:
            raise ClassifyError(
                f"This classifier was trained on vectors of embedder {self.embedder[:12]}; these come from "
                f"{embeddings.embedder[:12]}. Embed the cells with the classifier's own bundle."
            )
        check_finite(embeddings)
        ready = self.standardise(embeddings.values)
        probabilities = self.calibration.probabilities(self.scores(ready))
        distance = self.cloud.distance(ready)
        sets = self.calibration.sets(probabilities, config.coverage)
        labels, doubt = decide(self.class_names, probabilities, distance, sets, config)
        return Predictions(
            cell_id=embeddings.cell_id,
            class_names=self.class_names,
            probabilities=probabilities,
            labels=labels,
            doubt=doubt,
            distance=distance,
            classifier=self.hash,
            sets=sets,
        )

    def standardise(self, values: NDArray[Any]) -> NDArray[np.float32]:
        ready: NDArray[np.float32] = ((values - self.mean) / self.scale).astype(np.float32)
        return ready

    def scores(self, ready: NDArray[np.float32]) -> NDArray[np.float32]:
        """N x C, of standardised vectors; a softmax makes probabilities of them."""
        first = self.head.scores(ready)
        if self.second is None:
            return first
        return first + self.second.scores(np.clip(ready, -EXTREME, EXTREME))

    def save(self, folder: Path) -> list[str]:
        self.write(folder / FILE)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        return cls.read(folder / FILE)

    def write(self, path: Path) -> str:
        """One file of one's own choice; returns its hash."""
        return write_arrays(
            path, "classifier", self._arrays(), config=self._settings(), parents={"embedder": self.embedder}
        )

    @classmethod
    def read(cls, path: Path) -> "Classifier":
        header, arrays = read_arrays(path, "classifier")
        try:
            return cls(embedder=header.parents["embedder"], **_from_file(header.config, arrays))
        except (BloodcellError, KeyError, ValueError, TypeError, IndexError) as error:
            raise ArtifactError(
                f"{path} is no complete classifier: {error}. Take the original file again."
            ) from error

    def _arrays(self) -> Arrays:
        arrays = {"mean": self.mean, "scale": self.scale, **self.head.arrays, **self.cloud.to_arrays()}
        if self.second is not None:
            arrays |= {SECOND + name: array for name, array in self.second.arrays.items()}
        if not self.calibration.is_nothing:
            arrays |= self.calibration.to_arrays()
        return arrays | _known_to_arrays(self.known)

    def _settings(self) -> dict[str, Any]:
        labs = [] if self.known is None else sorted({str(lab) for lab in self.known.labs})
        classes = [] if self.known is None else sorted({str(name) for name in self.known.labels})
        return {
            "kind": self.kind,
            "class_names": list(self.class_names),
            "settings": self.config.to_json(),
            "calibration": {} if self.calibration.is_nothing else self.calibration.to_json(),
            "known_labs": labs,
            "known_classes": classes,
            "notes": list(self.notes),
        }


def check_finite(embeddings: Embeddings) -> None:
    bad = np.asarray(~np.isfinite(embeddings.values).all(axis=1))
    if bad.any():
        cells = ", ".join(map(str, embeddings.cell_id[bad][:5]))
        raise ClassifyError(
            f"{int(bad.sum())} of {len(bad)} vectors hold NaN or infinite numbers (cells {cells}). "
            "Embed these cells again, or leave them out."
        )


def _from_file(settings: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    names = tuple(str(name) for name in settings["class_names"])
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
        raise ArtifactError(f"it names {len(names)} classes, or one twice")
    config = ClassifierConfig.from_json(settings["settings"])
    width, classes = len(arrays["mean"]), len(names)
    shapes = {"mean": (width,), "scale": (width,), "centres": (classes, width), "reach": (classes,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ArtifactError(f"{name!r} has shape {arrays[name].shape}, not {shape}")
    if arrays["whitening"].ndim != 2 or len(arrays["whitening"]) != width or not (arrays["scale"] > 0).all():
        raise ArtifactError("its arrays do not fit each other")
    calibration = Calibration.from_parts(arrays, settings["calibration"])
    if not calibration.fits(classes):
        raise ArtifactError("its calibration does not fit its classes")
    return {
        "class_names": names,
        "config": config,
        "mean": arrays["mean"],
        "scale": arrays["scale"],
        "head": HEADS[config.kind].from_arrays(arrays, width, classes),
        "cloud": Cloud.from_arrays(arrays),
        "calibration": calibration,
        "second": _second_from_arrays(arrays, width, classes),
        "known": _known_from_arrays(settings, arrays),
        "notes": tuple(str(note) for note in settings["notes"]),
    }


def _second_from_arrays(arrays: Arrays, width: int, classes: int) -> LinearHead | None:
    own = {name.removeprefix(SECOND): array for name, array in arrays.items() if name.startswith(SECOND)}
    return LinearHead.from_arrays(own, width, classes) if own else None


def _known_to_arrays(known: Known | None) -> Arrays:
    if known is None or not len(known):
        return {}
    return {
        "known_mean": known.mean,
        "known_scale": known.scale,
        "known_values": known.ready,
        "known_classes": np.unique(known.labels, return_inverse=True)[1].astype(np.int32),
        "known_labs": np.unique(known.labs, return_inverse=True)[1].astype(np.int32),
    }


def _known_from_arrays(settings: Mapping[str, Any], arrays: Arrays) -> Known | None:
    if "known_values" not in arrays:
        return None
    classes = np.asarray(settings["known_classes"], dtype=np.str_)[arrays["known_classes"]]
    labs = np.asarray(settings["known_labs"], dtype=np.str_)[arrays["known_labs"]]
    return Known(
        ready=arrays["known_values"],
        mean=arrays["known_mean"],
        scale=arrays["known_scale"],
        labels=classes,
        labs=labs,
    )


def centre_and_scale(values: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread of each column; a column that never changes is left as it is."""
    wide = np.asarray(values, np.float64)
    spread = wide.std(axis=0)
    steady = spread <= 1e-9 * np.maximum(1, np.abs(wide).max(axis=0, initial=0))
    return wide.mean(axis=0).astype(np.float32), np.where(steady, 1, spread).astype(np.float32)
