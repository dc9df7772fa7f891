"""A config as a form, and back. Labels, bounds, help and choices come from the config class alone."""

import dataclasses
import types
import typing
from collections.abc import Callable, Collection
from typing import Any, Literal

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox
from qtpy.QtCore import Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QAbstractSpinBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_bloodcell.core.config import Config, Knob, knobs_of, types_of
from napari_bloodcell.core.errors import ConfigError

EMPTY = "automatic"  # what an optional number shows while it has none
WIDEST = 1e9
MOST_DECIMALS = 6


class Form(QWidget):
    """One row a field; a config inside the config is a section that folds.

    ``without`` leaves fields out ("page", "read.page", or a whole "crop"): they keep their values.
    ``unfolded`` names the sections that start open.
    """

    changed = Signal()

    def __init__(
        self,
        config: Config,
        *,
        without: Collection[str] = (),
        unfolded: Collection[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._config = config
        self._fields: dict[str, _Field] = {}
        self._parts: dict[str, Form] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        hints, knobs, helps = types_of(type(config)), knobs_of(type(config)), help_of(type(config))
        for field in dataclasses.fields(config):
            name, value = field.name, getattr(config, field.name)
            if name in without:
                continue
            if isinstance(value, Config):
                inner = {rest for head, _, rest in (w.partition(".") for w in without) if head == name}
                self._parts[name] = Form(value, without=inner)
            else:
                self._fields[name] = _Field(hints[name], knobs[name], helps.get(name, ""), value)
        if self._fields:
            rows = QFormLayout()
            rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
            for row in self._fields.values():
                row.widget.changed.connect(self._tell)
                row.add_to(rows)
            layout.addLayout(rows)
        for name, part in self._parts.items():
            part.changed.connect(self.changed)
            layout.addWidget(section(_title(name), part, unfolded=name in unfolded))

    def get(self) -> Config:
        """The config as the form shows it. A value that is not accepted raises ConfigError."""
        values = {name: field.get() for name, field in self._fields.items()}
        return dataclasses.replace(
            self._config, **values, **{name: part.get() for name, part in self._parts.items()}
        )

    def set(self, config: Config) -> None:
        self._config = config
        for name, field in self._fields.items():
            field.set(getattr(config, name))
        for name, part in self._parts.items():
            part.set(getattr(config, name))

    def _tell(self) -> None:
        self.changed.emit()

    def widget(self, path: str) -> Any:
        """The magicgui widget of a field: "segment.border"."""
        head, _, rest = path.partition(".")
        return self._parts[head].widget(rest) if rest else self._fields[head].widget


def section(title: str, content: QWidget, *, unfolded: bool = False) -> QWidget:
    """A part of a panel under a line that folds it away."""
    from superqt import QCollapsible

    # The marks are text: icons would keep the colour of the theme they were drawn in.
    folding = QCollapsible(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
    folding.layout().setContentsMargins(0, 0, 0, 0)
    folding.toggleButton().setStyleSheet(
        "text-align: left; border: none; outline: none; background: transparent; font-weight: bold;"
    )
    folding.setDuration(0)  # an animation in a scroll area only flickers
    folding.addWidget(content)

    def mark(is_open: bool) -> None:
        folding.setText(f"{'▾' if is_open else '▸'}  {title}")
        content.setEnabled(is_open)  # folded away it is only of no height: the Tab key would still go there

    folding.toggled.connect(mark)
    mark(unfolded)
    if unfolded:
        folding.expand(animate=False)
    return folding


def help_of(config_class: type[Config]) -> dict[str, str]:
    """The string below each field, on one line."""
    import docstring_parser

    parsed = docstring_parser.parse_from_object(config_class)
    return {param.arg_name: " ".join((param.description or "").split()) for param in parsed.params}


class _Field:
    """One field: a magicgui widget, and how its value is read and written."""

    def __init__(self, hint: Any, knob: Knob, tooltip: str, value: Any) -> None:
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kinds = [option for option in options if option is not type(None)]
        self._kind, self._optional, self._knob = kinds[0], len(kinds) < len(options), knob
        self.widget = self._make(value)
        self.label = f"{knob.label} ({knob.unit})" if knob.unit else knob.label
        self.widget.tooltip = self._tooltip = tooltip
        self.set(value)

    def get(self) -> Any:
        value = self.widget.value
        return self._read(value) if isinstance(self.widget, LineEdit) else value

    def set(self, value: Any) -> None:
        if isinstance(self.widget, LineEdit):
            self.widget.value = self._write(value)
            return
        if isinstance(self.widget, FloatSpinBox):
            self.widget.native.setDecimals(_decimals(self._knob, value))
        self.widget.value = value

    def add_to(self, rows: QFormLayout) -> None:
        if isinstance(self.widget, CheckBox):
            self.widget.text = self.label
            rows.addRow(self.widget.native)
            return
        label = QLabel(self.label)
        label.setToolTip(self._tooltip)
        label.setBuddy(self.widget.native)
        rows.addRow(label, self.widget.native)

    def _make(self, value: Any) -> Any:
        if typing.get_origin(self._kind) is Literal:
            choices = [(_shown(choice), choice) for choice in typing.get_args(self._kind)]
            return ComboBox(choices=choices, value=value)
        if self._kind is bool:
            return CheckBox()
        if self._kind in (int, float) and not self._optional:
            return self._make_number()
        line = LineEdit()
        line.native.setPlaceholderText(EMPTY if self._optional else "")
        return line

    def _make_number(self) -> Any:
        low = -WIDEST if self._knob.low is None else self._knob.low
        high = WIDEST if self._knob.high is None else self._knob.high
        if self._kind is int:
            number: Any = SpinBox(min=int(low), max=int(high))
        else:
            number = FloatSpinBox(min=low, max=high)
        number.native.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        number.native.setKeyboardTracking(False)
        return number

    def _read(self, text: str) -> Any:
        text = text.strip()
        if self._optional and text in ("", EMPTY):
            return None
        if typing.get_origin(self._kind) is tuple:
            item = typing.get_args(self._kind)[0]
            return tuple(self._parse(item, part.strip()) for part in text.split(",") if part.strip())
        return self._parse(self._kind, text)

    def _parse(self, kind: Callable[[str], Any], text: str) -> Any:
        try:
            # A comma is what half of the world's keyboards give for the decimal point.
            return kind(text.replace(",", ".") if kind is float else text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            empty = f", or nothing for {EMPTY}" if self._optional else ""
            raise ConfigError(
                f"{self._knob.label}: {text!r} is not accepted; it takes {wanted}{empty}."
            ) from None

    def _write(self, value: Any) -> str:
        if value is None:
            return ""
        return ", ".join(str(part) for part in value) if isinstance(value, tuple) else f"{value}"


def _decimals(knob: Knob, value: float) -> int:
    """Enough digits for the value as it is, and one more than the bounds need."""
    needed = [_digits(value), 2, *(_digits(bound) + 1 for bound in (knob.low,) if bound is not None)]
    return min(max(needed), MOST_DECIMALS)


def _digits(value: float) -> int:
    return len(f"{value:.{MOST_DECIMALS}f}".rstrip("0").partition(".")[2])


def _shown(choice: Any) -> str:
    return choice.replace("_", " ") if isinstance(choice, str) else str(choice)


def _title(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")
