"""The panel "Stain preview": the field in another lab's stain, its stains apart, and what survives them."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QHBoxLayout, QLabel, QPushButton, QRadioButton, QSlider

from napari_bloodcell.core.config import TransferConfig
from napari_bloodcell.core.errors import BloodcellError, DataError
from napari_bloodcell.gui import ask, layers, stain_layers
from napari_bloodcell.gui import stain_calls as calls
from napari_bloodcell.gui.choices import Chooser
from napari_bloodcell.gui.followers import while_there
from napari_bloodcell.gui.form import Form, section
from napari_bloodcell.gui.help import HelpLink
from napari_bloodcell.gui.painting import painted_apart
from napari_bloodcell.gui.panel import ImagePanel
from napari_bloodcell.gui.stain_parts import StainMap, Survival
from napari_bloodcell.gui.task import Latest

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_bloodcell.core.robustness import Robustness
    from napari_bloodcell.core.stain.preview import Preview, StainLayer
    from napari_bloodcell.core.stain.profile import StainProfile

RANDOM = "random"

HELP = """
### Stain preview

How would this field look from another laboratory? Choose an image and a **stain** and press **Preview**. Then
move **Strength**, or choose other stains: the picture follows. Your image is not changed.

**The stain** comes from a synthetic lab, another open image, a saved profile, an image (…), or at random.
A profile is a dozen numbers and holds no picture: **Save profile** writes that of your image, to share.

**Separate** adds a layer for each stain: nuclei in one, cytoplasm and red cells in the other.

**Map of stains**: near points are alike. Images of one slide are some 2 to 5 apart, two labs 10 and more.

**Does my result survive?** analyses the field as it is and under each stain you tick. Cells that lose their
outline (orange) or their class (yellow) are marked: their answer hangs on the stain, look at them first.
"""


class StainPreview(ImagePanel):
    """``ask_save``, ``ask_open`` and the functions above are what it calls."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        self.stains = Chooser("The stain to show the image in.")
        super().__init__(napari_viewer, "Preview", calls.prepare)
        self.task.run_button.setToolTip("Show the image in the stain chosen.")
        self.preview_call, self.try_call = calls.preview_stain, calls.try_stains
        self.ask_save = partial(
            ask.file_to_write, self, "Save the profile", "stain.json", "Stain profile (*.json)"
        )
        self.ask_open = partial(ask.file_to_read, self, "A stain profile or an image")
        self._labs: list[StainProfile] = []
        self._loaded: dict[str, StainProfile] = {}
        self._preview: Preview | None = None
        self._of: weakref.ref[Any] | None = None  # the layer the preview was begun on
        self._layer: weakref.ref[Image] | None = None
        self._seed = 1
        self.live = Latest(self)
        self.live.failed.connect(lambda error: self.task.say(str(error), error=True))
        self._add_choices()
        self.body.addWidget(self.task)
        self.form = Form(TransferConfig(), without=("strength",))
        self.form.changed.connect(self._follow)
        self.body.addLayout(self._buttons())
        self.survival, self.map = Survival(), StainMap()
        self.survival.pressed.connect(self._try)
        self.map.pressed.connect(self._measure)
        self.body.addWidget(section("Does my result survive?", self.survival, unfolded=True))
        self.map_section = section("Map of stains", self.map)
        self.body.addWidget(self.map_section)
        self.body.addWidget(section("Advanced", self.form))
        below = QHBoxLayout()
        below.addStretch(1)
        below.addWidget(HelpLink("Stain preview", HELP))
        self.body.addLayout(below)
        self.body.addStretch(1)
        self.task.pressed.connect(self.hold_image)  # another image may be opened for its stain
        self.task.pressed.connect(self._start_preview)
        self.task.busy_changed.connect(self._show_ready)
        self.prepared.connect(self._take_labs)
        self._list_stains()
        self._show_ready()

    # What is chosen

    def layers_changed(self) -> None:
        super().layers_changed()
        if hasattr(self, "live"):  # the first call comes before there is anything to list
            self._list_stains()
            self._show_ready()

    def closing(self) -> None:
        super().closing()
        self.live.stop()

    def how(self) -> TransferConfig:
        config: Any = self.form.get()
        how: TransferConfig = replace(config, strength=self.strength.value() / 100)
        return how

    def _source(self, key: Any) -> calls.Source | None:
        """Where a stain comes from, as a call for a thread: the layers are read here."""
        kind, value = key
        if kind == "layer":
            picture = layers.picture_of(value(), self.viewer)
            return partial(calls.profile_of, picture)
        if kind == RANDOM:
            return partial(calls.at_random, self._known(), self._seed)
        known = {one.name: one for one in self._known()}
        return partial(calls.given, known[value]) if value in known else None

    def _picture(self) -> layers.Picture | None:
        try:
            return layers.picture_of(self.image.value, self.viewer)
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return None

    def _known(self) -> "list[StainProfile]":
        return [*self._labs, *self._loaded.values()]

    def _goal(self) -> calls.Source:
        source = None if self.stains.value is None else self._source(self.stains.value)
        if source is None:
            raise DataError("No stain is chosen. Choose one under Stain of.")
        return source

    def _list_stains(self) -> None:
        current = self.image.value
        options: list[tuple[str, tuple[str, Any]]]
        options = [(one.name, ("known", one.name)) for one in self._known()]
        opened = [one for one in layers.images(self.viewer) if one is not current]
        options += [(f"Image: {one.name}", ("layer", weakref.ref(one))) for one in opened]
        if len(self._known()) > 1:
            options.append(("At random", (RANDOM, None)))
        self.stains.offer(options)
        self.survival.offer([one for one in options if one[1][0] != RANDOM])

    def _take_labs(self, labs: "list[StainProfile]") -> None:
        self._labs = labs
        self._list_stains()
        self._show_ready()

    # Preview

    def _start_preview(self) -> None:
        try:
            picture = layers.picture_of(self.image.value, self.viewer)
            goal, how = self._goal(), self.how()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        call = partial(self.preview_call, picture, goal, how)
        self.task.start(call, partial(self._previewed, picture), may_drop=True)

    def _previewed(self, picture: layers.Picture, result: "tuple[Preview, Any]") -> None:
        self._preview, pixels = result
        self._of = picture.layer
        if not picture.is_in(self.viewer):
            self.task.say("The image is gone from the viewer, so nothing is shown.")
            return
        old = self._shown()
        if old is not None:
            self.viewer.layers.remove(old)
        beside = self.beside.isChecked()
        layer = stain_layers.add_preview(self.viewer, picture, pixels, self._preview.stride, beside=beside)
        self._layer = weakref.ref(layer)
        if beside:
            self.viewer.reset_view()
        self.task.say(self._described())

    def _follow(self) -> None:
        """Something that shows at once has changed."""
        self.strength_text.setText(f"{self.strength.value()} %")
        preview = self._preview
        if preview is None or self._shown() is None or self.task.busy:
            return
        if self._of is None or self._of() is not self.image.value:
            return
        try:
            goal, how = self._goal(), self.how()
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        self.live.ask(partial(calls.restain, preview, goal, how), self._update)

    def _update(self, pixels: Any) -> None:
        layer = self._shown()
        if layer is not None:
            stain_layers.update_preview(layer, pixels)
            self.task.say(self._described())

    def _shown(self) -> "Image | None":
        layer = None if self._layer is None else self._layer()
        return layer if layer is not None and layer in self.viewer.layers else None

    def _described(self) -> str:
        name = self.image.value.name if self.image.value is not None else "The image"
        stride = 1 if self._preview is None else self._preview.stride
        note = f" Shown at 1/{stride} of its resolution." if stride > 1 else ""
        return f"{name} in the stain of {self.stains.text}, {self.strength.value()} %.{note}"

    def _place(self) -> None:
        layer = self._shown()
        if layer is not None:
            stain_layers.put_beside(layer, beside=self.beside.isChecked())
            self.viewer.reset_view()

    def _another(self) -> None:
        self._seed += 1
        self.stains.value = (RANDOM, None)
        self._follow()

    # Stains apart, profiles

    def _separate(self) -> None:
        picture = self._picture()
        if picture is None:
            return
        call = partial(calls.separate_stains, picture)
        self.task.start(call, partial(self._separated, picture), may_drop=True)

    def _separated(self, picture: layers.Picture, stains: "tuple[StainLayer, ...]") -> Iterator[None]:
        if not picture.is_in(self.viewer):
            self.task.say("The image is gone from the viewer, so nothing is shown.")
            return
        yield from painted_apart(
            self, while_there(self.viewer, picture, stain_layers.add_stains(self.viewer, picture, stains))
        )
        if not picture.is_in(self.viewer):
            self.task.say("The image is gone from the viewer, so nothing is shown.")
            return
        self.task.say(f"{picture.name}: {' and '.join(one.name for one in stains)} stain, each in its layer.")

    def _save_profile(self) -> None:
        target = self.ask_save()
        picture = None if target is None else self._picture()
        if target is None or picture is None:
            return
        self.task.start(partial(calls.write_profile, picture, target), self._profile_saved)

    def _profile_saved(self, path: Path) -> None:
        self.task.say(f"Written to {path}. It holds numbers only, no picture.")

    def _load_profile(self) -> None:
        path = self.ask_open()
        if path is not None:
            self.task.start(partial(calls.read_profile, path), self._profile_loaded, may_drop=True)

    def _profile_loaded(self, profile: "StainProfile") -> None:
        self._loaded[profile.name] = profile
        self._list_stains()
        self.stains.value = ("known", profile.name)
        self.task.say(f"{profile.name} is one of the stains now.")

    # Does my result survive?

    def _try(self) -> None:
        picture = self._picture()
        if picture is None:
            return
        try:
            sources = [source for key in self.survival.ticked() if (source := self._source(key)) is not None]
            if not sources:
                raise DataError("No stain is ticked. Tick at least one to try the result under it.")
            how = replace(self.how(), strength=1.0)
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        self.survival.say("")
        call = partial(self.try_call, picture, sources, how)
        self.task.start(call, partial(self._tried, picture), may_drop=True)

    def _tried(self, picture: layers.Picture, result: "Robustness") -> None:
        self.survival.say(calls.verdict_of(result))
        if picture.is_in(self.viewer):
            if not result.same_class.all():
                stain_layers.add_changed(self.viewer, picture, result)
            self.task.say(f"Tried {picture.name} under {len(result.profiles)} stains.")
        else:
            self.task.say("The image is gone from the viewer, so no cells were marked.")

    # Map

    def _measure(self) -> None:
        try:
            pictures = [layers.picture_of(one, self.viewer) for one in layers.images(self.viewer)]
        except BloodcellError as error:
            self.task.say(str(error), error=True)
            return
        known = [partial(calls.given, one) for one in self._known()]
        sources: list[calls.Source] = [*(partial(calls.profile_of, picture) for picture in pictures), *known]
        call = partial(calls.measure_all, sources)
        self.task.start(call, partial(self._mapped, len(pictures)), may_drop=True)

    def _mapped(self, images: int, result: "tuple[list[StainProfile], Any]") -> None:
        self.map.show_profiles(*result, images)

    # The parts of the panel

    def _add_choices(self) -> None:
        other = QPushButton("…")
        other.setMaximumWidth(32)
        other.setToolTip("Another stain: a saved profile (.json), or an image to measure.")
        other.clicked.connect(self._load_profile)
        row = QHBoxLayout()
        row.addWidget(self.stains, 1)
        row.addWidget(other)
        self.choices.addRow("Stain of", row)
        self.another = QPushButton("Another at random")
        self.another.setToolTip("Draws a new stain, as far off as known labs are from each other.")
        self.another.clicked.connect(self._another)
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(0, 100)
        self.strength.setValue(100)
        self.strength.setToolTip("0 % is the image as it is, 100 % the other stain. The preview follows.")
        self.strength.valueChanged.connect(self._follow)
        self.strength_text = QLabel("100 %")
        self.strength_text.setMinimumWidth(44)
        slide = QHBoxLayout()
        slide.addWidget(self.strength, 1)
        slide.addWidget(self.strength_text)
        self.choices.addRow("Strength", slide)
        self.over, self.beside = QRadioButton("on the image"), QRadioButton("beside it")
        self.over.setToolTip("The preview covers the image: hide it with the eye of its layer to compare.")
        self.beside.setToolTip("Image on the left, preview on the right.")
        self.over.setChecked(True)
        self._places = QButtonGroup(self)
        where = QHBoxLayout()
        for button in (self.over, self.beside):
            self._places.addButton(button)
            where.addWidget(button)
        where.addStretch(1)
        self.beside.toggled.connect(self._place)
        self.choices.addRow("Show", where)
        self.stains.changed.connect(self._follow)
        self.image.changed.connect(self._list_stains)

    def _buttons(self) -> QGridLayout:
        self.separate_button = QPushButton("Separate")
        self.separate_button.setToolTip("Takes the image apart: a layer for each stain.")
        self.separate_button.clicked.connect(self._separate)
        self.save_button = QPushButton("Save profile …")
        self.save_button.setToolTip("Writes the image's stain as a small file that holds no picture.")
        self.save_button.clicked.connect(self._save_profile)
        grid = QGridLayout()
        grid.addWidget(self.another, 0, 0, 1, 2)
        grid.addWidget(self.separate_button, 1, 0)
        grid.addWidget(self.save_button, 1, 1)
        return grid

    def _show_ready(self, *_: object) -> None:
        free = self.image.value is not None and not self.task.busy
        for button in (self.separate_button, self.save_button, self.map.measure_button):
            button.setEnabled(free)
        self.survival.try_button.setEnabled(free and self.survival.ticks.count() > 0)
        self.another.setEnabled(free and bool(self._labs))
