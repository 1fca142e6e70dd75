"""Draw the two charts of a record: how many times faster isoxide is, and how the time per row grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .growth import PANELS
from .record import Record
from .works import LABELS

#: Colour and marker of each library in both charts. The markers can be distinguished without colour.
_MARKS = {
    "sklearn": ("#0072b2", "o"),
    "isotree": ("#e69f00", "s"),
    "coniferest": ("#009e73", "^"),
    "pyod": ("#444444", "D"),
    "shap": ("#cc79a7", "X"),
    "woodelf": ("#8c564b", "P"),
    "tl2cgen": ("#a6761d", "v"),
    "treelite": ("#66a61e", "<"),
    "onnxruntime": ("#e7298a", ">"),
    "scipy": ("#d55e00", "o"),
    "scipy_array": ("#cc79a7", "X"),
    "numpy": ("#56b4e9", "s"),
    "polars": ("#5b4a9c", "^"),
    "pandas": ("#444444", "D"),
    "isoxide": ("#111111", "o"),
    "numpy_sum": ("#b0b0b0", "x"),
}
_AXES = {
    "rows": "rows (10 columns)",
    "columns": "columns (100,000 rows)",
    "trees": "trees (100,000 rows x 10)",
    "threads": "threads (1,000,000 rows x 10)",
}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    # The fixed salt makes the file the same for the same record.
    matplotlib.rcParams.update({"svg.hashsalt": "isoxide", "font.size": 9, "axes.axisbelow": True})
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, path: Path) -> None:
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, bbox_inches="tight", facecolor="white", dpi=110, metadata=metadata)
    _pyplot().close(figure)


def label_of(work: Record) -> str:
    """Return the label of a work in a chart or table: the number of its row, its title, and its threads if several."""
    threads = f", {work['threads']} threads" if work["threads"] > 1 else ""
    if not work["row"]:
        return f"growth, {work['title']}, {work['trees']} trees{threads}"
    return f"{work['row']}  {work['title']}{threads}"


def rivals_of(work: Record) -> list[Record]:
    return [c for c in work["contenders"] if c["library"] != "isoxide" and not c["variant"] and c["ratio"]]


def ratios(record: Record, path: Path) -> None:
    """Draw the wall time of each rival divided by that of isoxide: forests above, ranks below, on one axis."""
    plt = _pyplot()
    timed = [w for w in record["works"] if w["kind"] not in ("memory", "start", "desk") and rivals_of(w)]
    ranks = [w for w in timed if w["kind"] in ("rank", "reference")]
    groups = [[w for w in timed if w not in ranks], ranks]
    groups = [group for group in groups if group]
    if not groups:
        return
    heights = [len(group) + 1.5 for group in groups]
    figure, axes = plt.subplots(
        len(groups),
        figsize=(10, 0.25 * sum(heights) + 1),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": heights, "hspace": 0.12},
    )
    for axis, group in zip(axes[:, 0], groups, strict=True):
        seen = set()
        for position, work in enumerate(group):
            for rival in rivals_of(work):
                colour, mark = _MARKS[rival["library"]]
                label = None if rival["library"] in seen else LABELS[rival["library"]]
                seen.add(rival["library"])
                # PyOD calls scikit-learn, so both are often at one position; a hollow marker does not hide the other.
                face = "none" if mark == "D" else colour
                axis.plot(rival["ratio"]["wall"], position, mark, color=colour, mfc=face, ms=5.5, label=label)
        axis.set_xscale("log")
        axis.axvline(1, color="#111111", lw=1)
        axis.set_yticks(range(len(group)), [label_of(work) for work in group], fontsize=8)
        axis.set_ylim(len(group) - 0.4, -0.6)
        axis.grid(axis="both", color="#e8e8e8", lw=0.6)
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    bottom = axes[-1, 0]
    values = [r["ratio"]["wall"] for w in timed for r in rivals_of(w)]
    bottom.set_xlim(min(0.7, min(values) / 1.5), max(values) * 1.6)
    bottom.xaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:,g} x"))
    bottom.set_xlabel("wall time of the rival / wall time of isoxide (left of 1: the rival is faster)")
    _save(figure, path)


def _coordinate(panel: str, work: Record) -> int:
    value: int = {
        "rows": work["data"]["n"],
        "columns": work["data"]["d"],
        "trees": work["trees"],
        "threads": work["threads"],
    }[panel]
    return value


def _short(value: float, _: int) -> str:
    for suffix, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:,g}{suffix}"
    return f"{value:g}"


def growth(record: Record, path: Path) -> None:
    """Draw the wall time per scored row, with a panel each for growing rows, columns, trees and threads."""
    plt = _pyplot()
    panels = [panel for panel in PANELS if any(work["task"] == panel for work in record["growth"])]
    if not panels:
        return
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.2), sharey=True, layout="constrained")
    for axis, panel in zip(axes.flat, PANELS, strict=True):
        works = [work for work in record["growth"] if work["task"] == panel]
        for library in ("sklearn", "isoxide", "numpy_sum"):
            points = [
                (_coordinate(panel, work), c["medians"]["wall"] / work["data"]["n"] * 1e9)
                for work in works
                for c in work["contenders"]
                if c["library"] == library and c["medians"]
            ]
            if points:
                colour, mark = _MARKS[library]
                style = "--" if library == "numpy_sum" else "-"
                label = LABELS[library]
                axis.plot(*zip(*points, strict=True), style, marker=mark, color=colour, ms=5, lw=1.4, label=label)
        axis.set_yscale("log")
        axis.set_xlabel(_AXES[panel])
        axis.grid(color="#e8e8e8", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if panel == "threads":
            axis.set_xticks([_coordinate(panel, work) for work in works])
        else:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(plt.FuncFormatter(_short))
        axis.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:,g}"))
    for axis in axes[:, 0]:
        axis.set_ylabel("ns per row")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    _save(figure, path)
