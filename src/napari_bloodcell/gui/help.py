"""The help of a panel: a link, and a page that needs no network."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QPushButton, QTextBrowser, QVBoxLayout, QWidget


class HelpLink(QPushButton):
    """Opens the page beside the window, which stays usable."""

    def __init__(self, title: str, markdown: str, parent: QWidget | None = None) -> None:
        super().__init__("Help", parent)
        self.setFlat(True)  # a real link would take the desktop's colour, not that of napari's theme
        self.setStyleSheet("QPushButton { text-decoration: underline; background: transparent; }")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(f"Help for {title}")
        self.setToolTip(f"What {title} does, and how; no network is needed.")
        self._title, self._markdown = title, markdown
        self.page: QDialog | None = None
        self.clicked.connect(self.open_page)

    def open_page(self) -> None:
        if self.page is None:
            self.page = _page(self._title, self._markdown, self)
        self.page.show()
        self.page.raise_()


def _page(title: str, markdown: str, parent: QWidget) -> QDialog:
    page = QDialog(parent.window(), Qt.WindowType.Tool)
    page.setWindowTitle(title)
    page.resize(460, 480)
    text = QTextBrowser()
    text.setMarkdown(markdown)
    text.setOpenExternalLinks(True)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(page.close)
    layout = QVBoxLayout(page)
    layout.addWidget(text)
    layout.addWidget(buttons)
    return page
