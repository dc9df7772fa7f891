import dataclasses

import pytest

from napari_bloodcell.core import config as module
from napari_bloodcell.core.config import (
    AnalyseConfig,
    Config,
    CountConfig,
    ReadConfig,
    SegmentConfig,
    knobs_of,
)
from napari_bloodcell.core.errors import ConfigError

ALL = [
    cls
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, Config) and cls is not Config
]


@pytest.mark.parametrize("cls", ALL)
def test_config_survives_json(cls: type[Config]) -> None:
    assert cls.from_json(cls().to_json()) == cls()


@pytest.mark.parametrize("cls", ALL)
def test_every_knob_has_a_label_and_a_help_text(cls: type[Config]) -> None:
    from docstring_parser import parse_from_object

    helps = {p.arg_name: p.description for p in parse_from_object(cls).params}
    for field in dataclasses.fields(cls):
        if isinstance(field.default, Config):
            continue
        assert knobs_of(cls)[field.name].label != field.name, f"{cls.__name__}.{field.name} has no Knob"
        assert helps.get(field.name), f"{cls.__name__}.{field.name} has no help text"


def test_changed_values_survive_json() -> None:
    changed = AnalyseConfig(segment=SegmentConfig(border="drop"), read=ReadConfig(um_per_px=0.1))
    again = AnalyseConfig.from_json(changed.to_json())
    assert again == changed
    assert again != AnalyseConfig()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SegmentConfig(min_nucleus_um=-1), "SegmentConfig.min_nucleus_um = -1 is out of range; it takes 0.5 to 30 µm."),
        (lambda: SegmentConfig(min_nucleus_um=float("nan")), "out of range"),
        (lambda: SegmentConfig(min_nucleus_um="4"), "is not accepted; it takes a number."),
        (lambda: SegmentConfig(split_touching=1), "it takes yes or no."),
        (lambda: CountConfig(level="finest"), "CountConfig.level = 'finest' is not accepted; it takes 'coarse' or 'fine'."),
        (lambda: CountConfig(target=150), "it takes 100 or 200 or 400."),
        (lambda: ReadConfig(um_per_px="small"), "it takes a number or none."),
        (lambda: SegmentConfig.from_json({"min_size": 3}), "SegmentConfig has no setting 'min_size'."),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_name(make, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)
