"""Who sits at the screen, typed once: what one panel is told, all know."""

from functools import lru_cache

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_bloodcell.gui import preferences


class _Said(QObject):
    """The name typed last, in any panel; empty before."""

    told = Signal(str)
    name = ""


@lru_cache(maxsize=1)
def _said() -> _Said:
    return _Said()


class ReaderName(QLineEdit):
    """``name`` is never empty. ``is_guest``: it is somebody else's for a while; other panels are not told."""

    def __init__(self, tooltip: str, parent: QWidget | None = None, *, is_guest: bool = False) -> None:
        super().__init__(_said().name or preferences.reader(), parent)
        self.setToolTip(tooltip)
        self.textChanged.connect(self._say_who_else)
        self._say_who_else()
        self.editingFinished.connect(self._strip)
        if not is_guest:
            self.editingFinished.connect(self._tell)
        _said().told.connect(self._hear)

    @property
    def name(self) -> str:
        return str(self.text()).strip() or preferences.reader()

    def _say_who_else(self) -> None:
        """In an empty field stands whose name is written all the same."""
        where = "as set in Preferences" if preferences.preference("reader") else "the name of this account"
        self.setPlaceholderText(f"{preferences.reader()} ({where})")

    def _strip(self) -> None:
        """Blanks alone look like an empty field, and would hide whose name is written."""
        if self.text() and not self.text().strip():
            self.clear()

    def _tell(self) -> None:
        if self.isModified() and self.name != _said().name:
            self.setModified(False)
            _said().name = self.name
            _said().told.emit(self.name)

    def _hear(self, name: str) -> None:
        if self.name != name:
            self.setText(name)
            self.editingFinished.emit()  # for whoever waits for a name
