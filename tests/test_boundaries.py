"""Who may know whom: checked on the source and in a fresh interpreter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "napari_bloodcell"
CORE = PACKAGE / "core"

# A room imports only rooms above it (rooms on one line do not know each other).
ORDER = [
    {"errors", "folders", "words"},
    {"progress", "config"},
    {"records"},
    {"taxonomy", "palette"},
    {"class_list", "rings"},
    {"device", "artifact", "parts", "rows", "cell_places"},
    {"training", "figure"},
    {"image"},
    {"session", "inputs", "edited"},
    {"stain"},
    {"synthetic", "datasets", "sam"},
    {"real_samples"},
    {"segment"},
    {"crop"},
    {"cells"},
    {"embed"},
    {"cellmap", "cell_tables"},
    {"uncertainty"},
    {"classify"},
    {"report"},
    {"export"},
    {"bundle"},
    {"adapt", "finetune"},
    {"evaluate"},
    {"pipeline"},
    {"robustness"},
    {"picture"},
    {"store"},
    {"slide"},
    {"jobs"},
    {"attempts"},
    {"cluster", "ledger"},
    {"results"},
    {"batch"},
    {"outline_files"},
    {"demo", "doctor"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
GUI_PACKAGES = {"napari", "qtpy", "magicgui", "superqt", "PyQt6", "PySide6", "PyQt5", "PySide2", "vispy"}
HEAVY = {
    "torch",
    "peft",
    "segment_anything",
    "sklearn",
    "pandas",
    "scipy",
    "skimage",
    "zarr",
    "matplotlib",
    "PIL",
    "tifffile",
}


def imports(path: Path) -> set[str]:
    """Full names of everything a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def core_files() -> list[Path]:
    return sorted(path for path in CORE.rglob("*.py") if path != CORE / "__init__.py")


@pytest.mark.parametrize("path", core_files(), ids=lambda p: str(p.relative_to(CORE)))
def test_core_knows_neither_qt_nor_napari(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & GUI_PACKAGES
    assert not [name for name in imports(path) if name.startswith("napari_bloodcell.gui")]


@pytest.mark.parametrize("path", core_files(), ids=lambda p: str(p.relative_to(CORE)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    room = room_of(path)
    assert room in RANK, f"{room} is a new room: give it its place in ORDER"
    for name in imports(path):
        if name.startswith("napari_bloodcell.core."):
            other = name.split(".")[2]
            if other == room or (room, other) == ("picture", "pipeline"):
                continue
            assert RANK[other] < RANK[room], f"{room} imports {other}, which stands below it"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_loads_a_pickle(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {
        "pickle",
        "joblib",
        "cloudpickle",
        "dill",
        "shelve",
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False"


@pytest.mark.parametrize("path", sorted((PACKAGE / "gui").glob("*.py")), ids=lambda p: p.name)
def test_widgets_do_not_import_each_other(path: Path) -> None:
    shared = {"task", "form", "layers", "panel", "help", "samples", "choices", "scatter"}
    shared |= {"painting", "rims", "steps", "garbage", "reader_name", "counted_once", "corrected_rows"}
    shared |= {
        "classes",
        "autosave",
        "taken_back",
        "tally",
        "class_table",
        "classify_calls",
        "grid",
        "outlines",
        "selection",
    }
    shared |= {"stain_calls", "stain_layers", "stain_parts", "embed_calls", "embed_map"}
    shared |= {"segment_calls", "correct", "corrections", "prompt_layers"}
    shared |= {"reader"}  # no widget: results as layers, for the samples too
    shared |= {"train_calls", "train_methods", "train_data", "train_result", "curves"}
    shared |= {
        "places",
        "class_keys",
        "gallery_order",
        "wrapped",
        "napari_ways",
        "with_image",
        "one_list",
        "class_history",
        "ask",
        "next_field",
    }  # no panels either
    shared |= {"loading", "followers", "in_order", "key_goes_on", "by_hand"}
    shared |= {"gallery_view", "shelf", "slide_layers", "differential_calls", "session_calls", "preferences"}
    shared |= {"veil", "legend", "count_calls"}
    shared |= {
        "second_reader",
        "signatures",
        "drawn",
        "comments",
        "said",
        "patients",
        "comparison",
        "adapting",
    }
    for name in imports(path):
        if name.startswith("napari_bloodcell.gui."):
            assert name.split(".")[2] in shared, f"{path.name} imports {name}"


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.split()}


def test_importing_the_package_costs_nothing() -> None:
    assert not loaded_after("import napari_bloodcell") & (HEAVY | GUI_PACKAGES | {"numpy"})


def test_the_command_line_starts_without_heavy_libraries() -> None:
    assert not loaded_after("import napari_bloodcell.cli") & (HEAVY | GUI_PACKAGES | {"numpy"})


@pytest.mark.parametrize(("bundle", "never"), [("stain", GUI_PACKAGES | {"torch"}), ("nano", GUI_PACKAGES)])
def test_a_whole_analysis_loads_neither_qt_nor_napari(bundle: str, never: set[str]) -> None:
    """Nor torch, where the model has no weights."""
    statement = (
        "import numpy as np; from napari_bloodcell import analyse; "
        f"analyse(np.full((64, 64, 3), (230, 220, 240), np.uint8), {bundle!r})"
    )
    assert not loaded_after(statement) & never


def test_modules_stay_readable() -> None:
    """Soft caps of the house: 400 lines a module, 60 a function."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 400, f"{path.name} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{path.name}: {node.name} has {length} lines"
