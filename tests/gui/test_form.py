"""Every knob of every config as a form, and back, with nothing about a field written in the GUI."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import pytest
from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox
from qtpy.QtWidgets import QLabel
from superqt import QCollapsible

from napari_bloodcell.core import config as configs
from napari_bloodcell.core.config import AnalyseConfig, Config, CountConfig, Knob, ReadConfig, SegmentConfig
from napari_bloodcell.core.errors import ConfigError
from napari_bloodcell.gui.form import Form, help_of

pytestmark = pytest.mark.gui

ALL = [
    value
    for value in vars(configs).values()
    if isinstance(value, type) and issubclass(value, Config) and value is not Config
]


@pytest.fixture
def make(qtbot):
    def make_form(*args, **kwargs):
        form = Form(*args, **kwargs)
        qtbot.addWidget(form)
        return form

    return make_form


@dataclass(frozen=True, kw_only=True)
class Odd(Config):
    names: Annotated[tuple[str, ...], Knob("Names")] = ("a", "b")
    """Some names."""
    sizes: Annotated[tuple[float, ...], Knob("Sizes")] = ()
    """Some sizes."""
    word: Annotated[str, Knob("Word")] = "x"
    """A word."""
    free: Annotated[float, Knob("Free")] = -2.5
    """Without bounds."""


@pytest.mark.parametrize("config_class", ALL, ids=lambda c: c.__name__)
def test_a_form_gives_back_the_config_it_was_made_from(make, config_class):
    assert make(config_class()).get() == config_class()


@pytest.mark.parametrize("config_class", ALL, ids=lambda c: c.__name__)
def test_every_field_of_every_config_has_its_help(config_class):
    plain = [f.name for f in dataclasses.fields(config_class) if not isinstance(f.default, Config)]
    assert {name for name, text in help_of(config_class).items() if text} >= set(plain)


def test_kinds_of_fields_become_kinds_of_widgets(make):
    form = make(AnalyseConfig())
    assert isinstance(form.widget("read.um_per_px"), LineEdit)
    assert isinstance(form.widget("segment.min_nucleus_um"), FloatSpinBox)
    assert isinstance(form.widget("segment.split_touching"), CheckBox)
    assert isinstance(form.widget("segment.border"), ComboBox)
    assert isinstance(form.widget("crop.size_px"), SpinBox)
    assert form.widget("count.target").choices == (100, 200, 400)


def test_labels_bounds_and_help_come_from_the_config(make):
    form = make(SegmentConfig())
    number = form.widget("min_nucleus_um")
    assert (number.min, number.max) == (0.5, 30)
    assert number.tooltip.startswith("Nuclei thinner than this")
    assert "Smallest nucleus (µm)" in [label.text() for label in form.findChildren(QLabel)]
    assert form.widget("split_touching").text == "Split touching cells"


def test_what_is_entered_comes_out(make):
    form = make(AnalyseConfig())
    form.widget("read.um_per_px").value = "0.12"
    form.widget("segment.border").value = "drop"
    form.widget("segment.split_touching").value = False
    form.widget("count.target").value = 400
    got = form.get()
    assert got.read.um_per_px == 0.12
    assert got.segment == SegmentConfig(border="drop", split_touching=False)
    assert got.count == CountConfig(target=400)


def test_a_form_takes_another_config(make):
    form = make(AnalyseConfig())
    other = AnalyseConfig(
        read=ReadConfig(um_per_px=0.065432, page=3), segment=SegmentConfig(min_nucleus_um=3.14159)
    )
    form.set(other)
    assert form.get() == other
    form.set(AnalyseConfig())
    assert form.get() == AnalyseConfig()


def test_an_empty_optional_number_is_none_and_says_automatic(make):
    form = make(ReadConfig(um_per_px=0.1))
    line = form.widget("um_per_px")
    assert line.value == "0.1"
    line.value = " "
    assert form.get().um_per_px is None
    assert line.native.placeholderText() == "automatic"


def test_a_decimal_comma_is_understood(make):
    form = make(ReadConfig())
    form.widget("um_per_px").value = "0,25"
    assert form.get().um_per_px == 0.25


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        (
            "um_per_px",
            "small",
            "Pixel size: 'small' is not accepted; it takes a number, or nothing for automatic.",
        ),
        ("page", "1.5", "Page: '1.5' is not accepted; it takes a whole number, or nothing for automatic."),
        ("um_per_px", "77", "out of range; it takes 0.005 to 20 µm"),
    ],
)
def test_what_is_not_accepted_is_said(make, field, text, message):
    form = make(ReadConfig())
    form.widget(field).value = text
    with pytest.raises(ConfigError) as caught:
        form.get()
    assert message in str(caught.value)


def test_lists_are_entered_with_commas(make):
    form = make(Odd())
    assert form.get() == Odd()
    form.widget("names").value = "one, two ,three"
    form.widget("sizes").value = "1, 2.5"
    form.widget("word").value = "y"
    form.widget("free").value = -1000
    assert form.get() == Odd(names=("one", "two", "three"), sizes=(1.0, 2.5), word="y", free=-1000.0)
    form.widget("sizes").value = "1, two"
    with pytest.raises(ConfigError, match="'two' is not accepted"):
        form.get()


def test_fields_left_out_keep_their_values(make):
    config = AnalyseConfig(read=ReadConfig(page=2), count=CountConfig(target=200))
    form = make(config, without=("read.page", "count"))
    assert form.get() == config
    with pytest.raises(KeyError):
        form.widget("read.page")
    with pytest.raises(KeyError):
        form.widget("count.target")


def test_sections_fold(make):
    form = make(AnalyseConfig(), unfolded=("segment",))
    open_ones = [c.text() for c in form.findChildren(QCollapsible) if c.isExpanded()]
    assert open_ones == ["▾  Segment"]


def test_a_change_is_told(make, qtbot):
    form = make(AnalyseConfig())
    with qtbot.waitSignal(form.changed, timeout=1000):
        form.widget("crop.size_px").value = 64
