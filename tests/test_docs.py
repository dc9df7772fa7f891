"""The guide and the README: each command, option, target and menu on a page is one that is there."""

import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclopts import App
from cyclopts.exceptions import CycloptsError, MissingArgumentError, UnknownCommandError, UnknownOptionError
from PIL import Image

from napari_bloodcell.cli import app, main
from napari_bloodcell.core.bundle import load_bundle
from napari_bloodcell.core.embed import EMBEDDERS
from napari_bloodcell.core.synthetic import make_cells

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "napari_bloodcell"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((PACKAGE / "bundles").rglob("*.md")),
]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
OF_OTHERS = {
    "--scheduler",
    "--nthreads",
    "--resources",
    "--num_processes",
    "--index-url",
    "--extra-index-url",
}
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(text: str) -> Iterator[str]:
    """The commands of fenced blocks without a language, one each, long ones joined."""
    for language, body in FENCE.findall(text):
        if not language:
            yield from (line.strip() for line in body.replace("\\\n", " ").splitlines())


def inline(text: str) -> list[str]:
    return [" ".join(code.split()) for code in INLINE.findall(FENCE.sub("", text))]


def ours(line: str) -> list[str] | None:
    """What follows ``napari-bloodcell`` on a line, as the shell would hand it over."""
    words = shlex.split(line, comments=True)
    return words[1:] if words[:1] == ["napari-bloodcell"] else None


def fault(words: list[str], *, whole: bool) -> str | None:
    """Why the program would not take these words; in a sentence what is required may be left out."""
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError as error:
        return str(error) if whole else None
    except CycloptsError as error:
        return str(error)
    return None


@cache
def every_option() -> set[str]:
    return options(app)


def options(of: App) -> set[str]:
    """Every option of a command and of those below it."""
    names: set[str] = set()
    if of.default_command is not None:
        for argument in of.assemble_argument_collection():
            names |= {*argument.names, *argument.negatives}
    for name in of:
        if not name.startswith("-"):
            names |= options(of[name])
    return names


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_the_program_takes_each_command_that_a_page_shows(page: Path) -> None:
    faults = []
    for line in blocks(TEXT[page]):
        words = ours(line)
        if words is not None and (why := fault(words, whole=True)):
            faults.append(f"{line}: {why}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_the_program_knows_each_command_that_a_sentence_names(page: Path) -> None:
    faults = []
    for code in inline(TEXT[page]):
        bare = code.split()[0] in list(app) and not set("|,(") & set(code)  # `embed align --pool parts`
        words = ours(code if code.startswith("napari-bloodcell ") else f"napari-bloodcell {code}" * bare)
        if words and words[0] != "COMMAND" and (why := fault(words, whole=False)):
            faults.append(f"{code}: {why}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_an_option_in_a_sentence_is_one_of_a_command_or_a_script(page: Path) -> None:
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "docs").glob("*.py")]
    written = {name for path in scripts for name in re.findall(r'"(--[a-z-]+)"', path.read_text())}
    known = every_option() | written | OF_OTHERS | {"--help"}
    named = {
        word.split("=")[0]
        for code in inline(TEXT[page])
        for word in code.split()
        if re.match(r"--[a-z]", word)
    }
    assert not named - known


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_benchmarks_targets_and_variables_on_a_page_are_there(page: Path) -> None:
    text = TEXT[page]
    makefile = (ROOT / "Makefile").read_text()
    shown = [*blocks(text), *inline(text)]
    for name in re.findall(r"python -m benchmarks\.([a-z_]+)", text):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
    for target in re.findall(r"^make (\w+)", "\n".join(shown), re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for script in re.findall(r"python ((?:training|docs)/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    source = "".join(
        path.read_text() for path in [*PACKAGE.rglob("*.py"), ROOT / "benchmarks" / "_common.py"]
    )
    for variable in set(re.findall(r"BLOODCELL_[A-Z]+", text)):
        assert variable in source, variable


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_menus_on_a_page_are_those_of_the_manifest(page: Path) -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
    panels = {widget.display_name for widget in manifest.contributions.widgets}
    for path in re.findall(r"\*((?:Plugins|File\s>\sOpen\sSample)\s>[^*]+)\*", TEXT[page]):
        _, _, rest = " ".join(path.split()).replace("File > ", "").partition(" > ")
        plugin, _, panel = rest.partition(" > ")
        assert plugin == manifest.display_name
        assert not panel or panel in panels


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("napari-bloodcell train sada labs/ --epochs 3 --out run", UnknownOptionError),
        ("napari-bloodcell count smear.png", UnknownCommandError),
    ],
)
def test_a_command_that_does_not_exist_would_be_seen(line: str, why: type[Exception]) -> None:
    words = ours(line)
    assert words is not None
    assert fault(words, whole=True)
    with pytest.raises(why):
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_tutorial_shows_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEXT[ROOT / "docs" / "tutorial.md"]
    (shown,) = [body for language, body in FENCE.findall(text) if language == "text"]
    monkeypatch.chdir(tmp_path)
    for command in ("sample", "analyse"):
        words = next(words for line in blocks(text) if (words := ours(line)) and words[0] == command)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
    assert capsys.readouterr().out == shown


def test_the_readme_quotes_the_figures_of_the_model_that_ships() -> None:
    scores = load_bundle("nano").scores["leave_one_lab_out"].values()

    def percent(of: Callable[[dict[str, Any]], float]) -> str:
        return f"{100 * np.mean([of(score) for score in scores]):.0f} %"

    first, second, third = (f"{100 * score['accuracy']:.0f}" for score in scores)
    readme = " ".join(TEXT[ROOT / "README.md"].split())
    assert (
        f"it is right for {percent(lambda s: s['accuracy'])} ({first}, {second} and {third} % by lab)"
        in readme
    )
    assert f"for {percent(lambda s: s['accuracy_surest_half'])} of the half it is surest of" in readme
    assert f"after 25 corrections for {percent(lambda s: np.mean(s['after']['25']))}" in readme
    assert f"asked for 90 %, hold {percent(lambda s: s['coverage'])}" in readme


def test_the_model_card_page_quotes_the_figures_of_the_evaluation_page() -> None:
    evaluation = TEXT[ROOT / "docs" / "evaluation.md"]
    section = evaluation.partition("## The model that ships, on new cells")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    fifth, fifths = [row for row in rows if row[0] == "together"]
    card = " ".join(TEXT[ROOT / "docs" / "model-card.md"].split())
    assert f"names {fifths[2]} ({fifths[3]}) of the cells" in card
    assert f"{fifth[2]} of {fifth[1]} ({fifth[3]})" in card
    each_fifth = rows[rows.index(fifth) + 1 :]
    for lab in ("jtsc", "cellavision", "bccd"):
        (accuracy,) = [row[2] for row in each_fifth if row[0] == lab]
        assert f"`{lab}` {accuracy}" in card


def test_the_examples_of_labelled_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_bloodcell.core.embed.collection import write
    from napari_bloodcell.core.embed.sources import embed_paths

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "cache"))
    kinds = {"neutrophil": "neutrophil_segmented", "lymphocyte": "lymphocyte_typical"}
    for seed, lab in enumerate(("lab-a", "lab-b")):
        drawn = make_cells(8, seed=seed, size_px=96, classes=tuple(kinds.values()))
        for i in range(8):
            path = tmp_path / lab / list(kinds)[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(drawn.pixels[i])).save(path)
    (tmp_path / "results").mkdir()
    cells = embed_paths([tmp_path / "lab-a"], ["details"])
    write(tmp_path / "results" / "cells.parquet", cells)
    given = cells.table[["image", "cell_id"]].assign(cell_type=cells.table["class"], person="A. B.")
    given.to_csv(tmp_path / "corrected.csv", index=False)
    section = TEXT[ROOT / "docs" / "api.md"].partition("## Labelled cells")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    monkeypatch.setattr(EMBEDDERS, "_brought", {})
    blocks = FENCE.findall(section)
    assert {language for language, _ in blocks} == {"python", "toml"}
    for language, body in blocks:
        if language == "python":
            exec(body, names)
    assert {score.method for score in names["own"].scores} == {"mean-colour/logistic", "details/logistic"}
    assert {score.method for score in names["found"].scores} == {"nano", "details/random_forest"}
    assert (tmp_path / "table" / "table.md").is_file()
    assert (tmp_path / "my-model").exists() == names["is_better"]
    assert len(names["lab"].cells) == 8
