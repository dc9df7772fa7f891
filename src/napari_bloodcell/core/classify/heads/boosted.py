"""Gradient-boosted trees: XGBoost's own UBJSON, kept as bytes among the arrays and read by XGBoost only."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_bloodcell.core.classify.heads.base import Arrays, Floats, Head
from napari_bloodcell.core.config import ClassifierConfig
from napari_bloodcell.core.errors import ArtifactError

MAX_BYTES = 256 * 2**20


class BoostedHead(Head):
    names: ClassVar[tuple[str, ...]] = ("booster_ubj",)

    def __init__(self, arrays: Arrays) -> None:
        import xgboost

        super().__init__(arrays)
        stored = arrays["booster_ubj"]
        if stored.dtype != np.uint8 or stored.ndim != 1 or not 0 < stored.size <= MAX_BYTES:
            raise ArtifactError(f"its trees are no bytes, or more than {MAX_BYTES:,}")
        try:
            self.booster = xgboost.Booster(model_file=bytearray(stored.tobytes()))
        except xgboost.core.XGBoostError as error:
            raise ArtifactError(f"XGBoost cannot read its trees ({str(error).splitlines()[0]})") from error

    @classmethod
    def fit(
        cls, ready: Floats, truths: NDArray[np.int32], weights: NDArray[Any], config: ClassifierConfig
    ) -> Self:
        import xgboost

        settings = {
            "objective": "multi:softprob",
            "num_class": int(truths.max()) + 1,
            "device": config.device,
            "seed": config.seed,
            "tree_method": "hist",
        }
        cells = xgboost.DMatrix(ready, label=truths, weight=weights)
        booster = xgboost.train(settings, cells, num_boost_round=config.rounds)
        booster.set_param({"device": "cpu"})  # the file predicts anywhere
        return cls({"booster_ubj": np.frombuffer(booster.save_raw("ubj"), np.uint8)})

    def scores(self, ready: Floats) -> Floats:
        if not len(ready):
            return np.zeros((0, self._classes), np.float32)
        margins = self.booster.inplace_predict(ready, predict_type="margin", missing=np.nan)
        result: Floats = np.asarray(margins, np.float32).reshape(len(ready), -1)
        return result

    @property
    def _classes(self) -> int:
        import json

        learner = json.loads(self.booster.save_config())["learner"]
        return int(learner["learner_model_param"]["num_class"])

    def fits(self, width: int, classes: int) -> bool:
        return int(self.booster.num_features()) == width and self._classes == classes
