"""What all tests share: where the real cells are, and a skip with its reason where they are not."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def real_data_folder() -> Path | None:
    folder = Path(os.environ.get("BLOODCELL_DATA", ROOT.parent / "shared" / "data"))
    return folder if (folder / "bccd").is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if real_data_folder() is not None:
        return
    reason = "no real cells: set BLOODCELL_DATA to the folder that holds bccd, jtsc, cellavision"
    skip = pytest.mark.skip(reason=reason)
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = real_data_folder()
    assert folder is not None
    return folder
