"""The card of ``bundles/nano``: what it is, how good, what it cannot do."""

from typing import Any

import numpy as np

from napari_bloodcell.core.classify.leaning import leaning


def card(  # noqa: PLR0913 (what the sentences name)
    scores: dict[str, Any],
    parts: dict[str, dict[str, float]],
    *,
    measurements: int,
    lean: float,
    drawn: int,
    kinds: int,
    draws: int,
    coverage: float,
) -> str:
    """Markdown, from what ``make_nano.py`` measured."""
    budgets = [int(n) for n in next(iter(scores.values()))["after"]]
    mean = float(np.mean([s["accuracy"] for s in scores.values()]))
    lines = [
        "# nano",
        "",
        "**The model that ships.** Research use only. Not for diagnosis.",
        "",
        "A small Segment Anything outlines nucleus and cytoplasm (its own card: "
        "`bundles/segmenters/nano.md`). Each cell is described by "
        f"{measurements} measurements of shape, colour contrast and texture that know neither "
        "magnification nor strength of the stain; the details among them tell the cytoplasm's colour from the "
        "nucleus's own and find the gaps between lobes. A random forest, trained on the cells of three labs and on copies "
        "of them in other stains, focus and outlines, names the class; its answers lean a little to what a healthy adult's "
        f"blood holds (shares to the power of {lean:g}). Its doubt was learned from labs held out in "
        "turn, so it holds for a new lab better than for the three; on those it is too careful.",
        "",
        "## Trained on",
        "",
        "| lab | cells | source | licence |",
        "|---|---|---|---|",
        "| jtsc | 240 | Dataset 1 of zxaoyou/segmentation_WBC (Zheng et al., Micron 107, 2018) | GPL-3.0 |",
        "| cellavision | 80 | Dataset 2 of the same | GPL-3.0 |",
        "| bccd | 283 | Shenggan/BCCD_Dataset, crops and labels by apple2373/BCCD | MIT |",
        f"| synthetic | {drawn * kinds} | drawn by this package, {drawn} of each kind | BSD-3-Clause |",
        "",
        "No image is in the model: the classifier keeps measurements of the cells, for adapting it. The labels of "
        "jtsc and cellavision were not checked by experts. Licence of the model: BSD-3-Clause.",
        "",
        "## How good, on a lab it has never seen",
        "",
        "Each lab was left out of the classifier's training in turn, then scored whole: five coarse classes, "
        f"outlines by the product itself. Mean {mean:.3f}. Limits are exact (95 %). The segmenter has seen "
        "four fifths of jtsc and cellavision; it does not name cells. Which measurements, classifier and copies "
        "to take, how far to lean, and how a forest is adapted, was decided by these same labs left out, corrections included: expect "
        "less on yours.",
        "",
        "| lab left out | n | accuracy | limits | majority class | surest half | unidentified | of the identified "
        f"| in the {100 * coverage:.0f} % set |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, s in scores.items():
        lines.append(
            f"| {name} | {s['cells']} | {s['accuracy']:.3f} | {s['accuracy_low']:.3f} to "
            f"{s['accuracy_high']:.3f} | {s['majority']:.3f} | {s['accuracy_surest_half']:.3f} | "
            f"{s['unidentified']:.3f} | {shown(s['accuracy_of_identified'])} | {s['coverage']:.3f} |"
        )
    lines += [
        "",
        f"After corrections that the product suggested (accuracy on a third of the lab that was never shown, mean of "
        f"{draws} draws, ± half a 95 % interval over the draws):",
        "",
        "| lab left out | " + " | ".join(f"{n} corrected" for n in budgets) + " |",
        "|---|" + "---|" * len(budgets),
    ]
    for name, s in scores.items():
        cells = [
            f"{np.mean(v):.3f} ± {1.96 * np.std(v, ddof=1) / np.sqrt(len(v)):.3f}"
            for v in s["after"].values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Each part of the training switched off (means over the labs left out):",
        "",
        f"| | accuracy | balanced (classes of 5 cells and more) | surest half | unidentified | in the "
        f"{100 * coverage:.0f} % set | calibration error |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |"
            for name, row in parts.items()
        ),
    ]
    lines += ["", "Right of all, by class, the lab left out:", "", "| class | " + " | ".join(scores) + " |"]
    lines.append("|---|" + "---|" * len(scores))
    for name in sorted({c for s in scores.values() for c in s["recall"]}):
        counts = [s["recall"].get(name, [0, 0]) for s in scores.values()]
        lines.append(f"| {name} | " + " | ".join(f"{right} of {n}" for right, n in counts) + " |")
    lines += [
        "",
        "## What it cannot do",
        "",
        "- It knows five kinds: neutrophils, lymphocytes, monocytes, eosinophils, basophils, and of basophils it was "
        "shown four real cells and some drawn ones: do not trust it on them. Blasts, immature granulocytes, "
        "erythroblasts and smudge cells are called unidentified or, worse, one of the five.",
        f"- It leans to healthy blood: between two classes that look equally likely the commoner one is taken, and a "
        f"neutrophil counts {odds('neutrophil', 'eosinophil', lean):.1f} times an eosinophil, "
        f"{odds('neutrophil', 'monocyte', lean):.1f} times a monocyte, {odds('neutrophil', 'basophil', lean):.1f} "
        "times a basophil. Where a patient has many of a rare class, more of them are missed; the table of parts and "
        "the table by class show the price.",
        "- Three labs are few. On another stain, camera or magnification expect less than the table, and more doubt; "
        "correct 25 cells and adapt.",
        "- The sets of possible classes promise 90 %; the table shows what they hold on a strange lab. With three labs "
        "to learn doubt from, another lab may still surprise it.",
        "- Scale, focus, grain and the colour of the lamp cost little, and an uneven lamp is evened out where ground is "
        "seen. Overexposed pictures cost more (a quarter too much light: 0.07 fewer cells right), and so do strong "
        "compression (JPEG of quality 10: 0.04) and dyes that mix otherwise (up to 0.05): `training/spoilt.py`.",
        "- Pictures without colour, fluorescence, tissue sections, and cells less than about 25 px wide.",
        "",
        "Made by `python training/make_nano.py`.",
        "",
    ]
    return "\n".join(lines)


def odds(common: str, rare: str, lean: float) -> float:
    """How much more the common one counts before a cell is looked at."""
    high, low = leaning((common, rare), lean)
    return float(np.exp(high - low))


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
