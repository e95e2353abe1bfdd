"""Charts of a report as inline SVG, drawn by matplotlib.

matplotlib is installed with tf-models-official; a library with charts in JavaScript would add
1 to 5 MB to every page. Lines and text take the color of the page, so one drawing serves light and
dark pages.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup, escape

from object_detection_mtl.config.errors import shortened
from object_detection_mtl.evaluation.error_analysis import KINDS
from object_detection_mtl.reporting import score_curves
from object_detection_mtl.reporting.breakdowns import BreakdownRow
from object_detection_mtl.reporting.confusion import ConfusionMatrix
from object_detection_mtl.reporting.detector_comparison import Difference
from object_detection_mtl.reporting.loss_curves import LossCurve
from object_detection_mtl.reporting.mistakes import KIND_NAMES
from object_detection_mtl.reporting.refinement_changes import RefinementChanges
from object_detection_mtl.reporting.report_contents import (
    IOU_THRESHOLDS,
    SCORE_GRID,
    ClassNumbers,
)
from object_detection_mtl.reporting.score_curves import ScoreCalibration

# Becomes the text color of the page.
_INK = "#010203"
# Okabe and Ito's colors: distinguishable with color blindness, visible on black and white.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_NAME_LENGTH = 20  # characters of a name in a legend
_MAX_NAMED_CURVES = 6
_MAX_CURVES = 40
MAX_MATRIX_CLASSES = 24
_MAX_CURVE_POINTS = 200
_MAX_POINTS = 400  # of each color of a scatter chart
# Width in inches of a chart of which three fit beside each other, and one on a phone.
_THIRD = 3.75
_SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 10,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}
_numbers = itertools.count()


Drawing = TypeVar("Drawing", bound=Callable[..., Markup])


def _styled(draw: Drawing) -> Drawing:
    """Return a drawing function that runs with the settings of a report."""

    @functools.wraps(draw)
    def styled(*arguments: Any, **options: Any) -> Markup:
        import matplotlib

        # Names in the SVG (clip paths) must differ from those of the page's other charts.
        salt = f"chart {next(_numbers)}"
        with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": salt}):
            return draw(*arguments, **options)

    return styled  # type: ignore[return-value]


def _new_axes(width: float = 4.6, height: float = 3.2) -> Any:
    """Return the axes of a new figure; inches at 72 dots each."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _svg(axes: Any, label: str) -> Markup:
    """Return the drawing as SVG; `label` is its text for screen readers."""
    file = io.StringIO()
    with warnings.catch_warnings():
        # The browser has the glyphs of every script; matplotlib's font measures them only.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        axes.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text).replace(_INK, "currentColor")
    text = re.sub(r' d="[^"]*"', _rounded, text)
    head = f'<svg class="chart" role="img" aria-label="{escape(label)}"'
    return Markup(re.sub(r"^<svg", lambda _: head, text, count=1))


def _rounded(match: re.Match[str]) -> str:
    """Return the coordinates of a path with two decimals."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", match.group())


def _unit_axes(axes: Any, title: str, x_label: str, y_label: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.25)


def _most_frequent(classes: Sequence[ClassNumbers]) -> list[ClassNumbers]:
    known = [item for item in classes if item.num_objects]
    return sorted(known, key=lambda item: -item.num_objects)


def _thinned(*columns: np.ndarray) -> list[np.ndarray]:
    """Return at most _MAX_CURVE_POINTS rows, the first and the last included."""
    count = len(columns[0])
    rows = np.unique(np.linspace(0, count - 1, min(count, _MAX_CURVE_POINTS)).astype(int))
    return [column[rows] for column in columns]


@_styled
def precision_recall_chart(classes: Sequence[ClassNumbers], threshold: float) -> Markup:
    """Return precision over recall at an IoU threshold: mean, and a line for each class."""
    axes = _new_axes(_THIRD)
    for number, item in enumerate(_most_frequent(classes)[:_MAX_CURVES]):
        curve = item.curves[threshold]
        envelope = score_curves.envelope(curve)
        if len(envelope):
            recall, precision = _thinned(
                np.append(0.0, curve.recall), np.append(envelope[0], envelope)
            )
            _class_line(axes, recall, precision, number, item.name)
    _mean_line(axes, mean_precision(classes, threshold))
    _unit_axes(axes, f"Precision and recall at IoU {threshold}", "recall", "precision")
    _legend_below(axes)
    return _svg(axes, f"Precision over recall at IoU {threshold}, a line for each class")


def mean_precision(classes: Sequence[ClassNumbers], threshold: float) -> np.ndarray:
    """Return the mean precision of the classes at the recalls of SCORE_GRID; NaN without one."""
    known = [item.curves[threshold] for item in classes if item.num_objects]
    return _mean([score_curves.precision_at_recalls(curve, SCORE_GRID) for curve in known])


def mean_f1(classes: Sequence[ClassNumbers]) -> np.ndarray:
    """Return the mean F1 of the classes at the thresholds of SCORE_GRID; NaN without one."""
    known = [item.curves[IOU_THRESHOLDS[0]] for item in classes if item.num_objects]
    return _mean([score_curves.at_thresholds(curve, SCORE_GRID)[2] for curve in known])


def _mean(values: list[np.ndarray]) -> np.ndarray:
    return np.mean(values, axis=0) if values else np.full(len(SCORE_GRID), np.nan)


@_styled
def detectors_chart(curves: Mapping[str, np.ndarray], title: str, x: str, y: str) -> Markup:
    """Return a line over SCORE_GRID for each detector; the reference is dashed."""
    axes = _new_axes(_THIRD)
    for number, (name, values) in enumerate(curves.items()):
        color, style = (COLORS[(number - 1) % len(COLORS)], "-") if number else (_INK, "--")
        axes.plot(
            SCORE_GRID, values, color=color, linestyle=style, label=shortened(name, _NAME_LENGTH)
        )
    _unit_axes(axes, title, x, y)
    _legend_below(axes)
    return _svg(axes, f"{title}, a line for each detector")


def _mean_line(axes: Any, values: np.ndarray) -> None:
    axes.plot(SCORE_GRID, values, color=_INK, linewidth=2.2, label="mean of all classes")


def _class_line(axes: Any, x: np.ndarray, y: np.ndarray, number: int, name: str) -> None:
    style: dict = {"color": _INK, "alpha": 0.25, "linewidth": 0.7}
    if number < _MAX_NAMED_CURVES:
        style = {"color": COLORS[number], "linewidth": 1.3, "label": shortened(name, _NAME_LENGTH)}
    axes.plot(x, y, **style)


def _legend_below(axes: Any, columns: int = 2) -> None:
    """Add a legend below the axes; one at the side would be too small to read on a phone."""
    count = len(axes.get_legend_handles_labels()[0])
    if count:
        width, height = axes.figure.get_size_inches()
        axes.figure.set_size_inches(width, height + 0.2 * -(-count // columns))
        axes.figure.legend(loc="outside lower center", ncols=columns)


@_styled
def f1_chart(classes: Sequence[ClassNumbers]) -> Markup:
    """Return F1 over the score threshold: mean, and a line for each class with its best point."""
    axes = _new_axes(_THIRD)
    for number, item in enumerate(_most_frequent(classes)[:_MAX_CURVES]):
        _, _, f1 = score_curves.at_thresholds(item.curves[IOU_THRESHOLDS[0]], SCORE_GRID)
        _class_line(axes, SCORE_GRID, f1, number, item.name)
        if number < _MAX_NAMED_CURVES:
            best = item.best_f1
            axes.plot([best.threshold], [best.f1], color=COLORS[number], marker="o", markersize=5)
    _mean_line(axes, mean_f1(classes))
    _unit_axes(axes, "F1 at IoU 0.5", "score threshold", "F1")
    _legend_below(axes)
    return _svg(axes, "F1 over the score threshold, a line for each class")


@_styled
def confusion_chart(matrix: ConfusionMatrix, names: Mapping[int, str]) -> Markup:
    """Return the matrix as fractions of the true class, with counts; the most frequent classes."""
    totals = matrix.counts[:-1].sum(axis=1) + matrix.counts[:, :-1].sum(axis=0)
    shown = np.sort(np.argsort(-totals, kind="stable")[:MAX_MATRIX_CLASSES])
    rows = np.append(shown, len(matrix.class_ids))
    counts = matrix.counts[np.ix_(rows, rows)]
    labels = [shortened(names[matrix.class_ids[i]], 14) for i in shown] + ["background"]
    sums = counts.sum(axis=1, keepdims=True)
    fractions = np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0)
    side = 2.2 + 0.3 * len(labels)
    axes = _new_axes(side + 0.6, side)
    # Vector squares: an image inside of the SVG would not follow the page.
    for row, column in zip(*np.nonzero(counts), strict=True):
        value = float(fractions[row, column])
        axes.add_patch(_square(column, row, value))
        # The text is dark or light by its square, not by the page.
        axes.text(
            column,
            row,
            f"{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=7 if counts.max() < 1000 else 5.5,
            color="#ffffff" if value > 0.5 else _INK,
        )
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=90)
    axes.set_yticks(ticks, labels)
    axes.set(
        xlim=(-0.5, len(labels) - 0.5),
        ylim=(len(labels) - 0.5, -0.5),
        xlabel="detected",
        ylabel="true",
        aspect="equal",
    )
    return _svg(axes, "Confusion matrix of true and detected classes with background")


def _square(column: int, row: int, value: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (column - 0.5, row - 0.5), 1, 1, facecolor=COLORS[0], alpha=0.06 + 0.94 * value, linewidth=0
    )


@_styled
def error_kinds_chart(counts: np.ndarray, thresholds: Sequence[float]) -> Markup:
    """Return stacked bars of the paper's kinds, all classes together, at each score threshold."""
    axes = _new_axes()
    totals = counts.sum(axis=1)
    bottom = np.zeros(len(thresholds))
    places = np.arange(len(thresholds))
    colors = (COLORS[2], COLORS[1], COLORS[3], COLORS[4], "#8c8c8c", COLORS[5])
    for index, kind in enumerate(KINDS):
        axes.bar(places, totals[:, index], 0.7, bottom, color=colors[index], label=KIND_NAMES[kind])
        bottom = bottom + totals[:, index]
    axes.set_xticks(places, [f"\u2265 {threshold:g}" for threshold in thresholds])
    axes.set(xlabel="score", ylabel="detections, missed objects")
    _legend_below(axes, columns=3)
    return _svg(axes, "Number of detections and missed objects of each kind at score thresholds")


@_styled
def cost_chart(values: Mapping[str, float], label: str, unit: str) -> Markup:
    """Return one horizontal bar for each value."""
    axes = _new_axes(height=0.7 + 0.3 * len(values))
    places = np.arange(len(values))
    numbers = np.nan_to_num(list(values.values()))
    axes.barh(places, numbers, 0.65, color=COLORS[0])
    greatest = max(1.0, 1.12 * numbers.max())
    for place, number in zip(places, numbers, strict=True):
        axes.text(number + 0.01 * greatest, place, f"{number:.1f}", va="center")
    axes.set_yticks(places, list(values))
    axes.set(xlabel=unit, ylim=(len(values) - 0.5, -0.5), xlim=(0, greatest))
    return _svg(axes, label)


@_styled
def breakdown_chart(rows: Sequence[BreakdownRow], title: str, min_score: float) -> Markup:
    """Return mAP and recall of each group."""
    axes = _new_axes(_THIRD, height=2.4)
    places = np.arange(len(rows))
    axes.bar(places - 0.2, [row.mean_ap for row in rows], 0.38, color=COLORS[0], label="mAP")
    label = f"recall at score \u2265 {min_score:g}"
    axes.bar(places + 0.2, [row.recall for row in rows], 0.38, color=COLORS[1], label=label)
    axes.set_xticks(places, [f"{row.label}\n({row.num_objects})" for row in rows])
    axes.set(xlim=(-0.6, len(rows) - 0.4), ylim=(0, 1.02), title=title)
    axes.grid(axis="y", alpha=0.25)
    _legend_below(axes)
    return _svg(axes, f"mAP and recall by: {title}")


@_styled
def calibration_chart(calibration: ScoreCalibration) -> Markup:
    """Return precision over mean score."""
    axes = _new_axes()
    known = calibration.counts > 0
    axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linewidth=0.9, linestyle="--")
    axes.plot(
        calibration.mean_scores[known], calibration.precision[known], color=COLORS[0], marker="o"
    )
    _unit_axes(axes, "Calibration at IoU 0.5", "mean score", "precision")
    return _svg(axes, "Precision over mean score")


@_styled
def score_histogram(calibration: ScoreCalibration) -> Markup:
    """Return the number of detections by score."""
    axes = _new_axes()
    centers = (calibration.edges[1:] + calibration.edges[:-1]) / 2
    axes.bar(centers, calibration.counts, 0.9 * np.diff(calibration.edges), color=COLORS[1])
    axes.set(xlim=(0, 1), xlabel="score", ylabel="detections", title="Detections by score")
    return _svg(axes, "Number of detections by score")


@_styled
def refinement_chart(changes: RefinementChanges) -> Markup:
    """Return the refined score over the main score of detections, a point for each of a sample."""
    axes = _new_axes()
    axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linewidth=0.9, linestyle="--")
    for name, outcome, color in (
        ("unchanged", 0, "#8c8c8c"),
        ("repaired", 1, COLORS[2]),
        ("broken", -1, COLORS[5]),
    ):
        rows = np.flatnonzero(changes.outcomes == outcome)
        if len(rows):
            rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MAX_POINTS)).astype(int)]
        points = changes.main_scores[rows], changes.refined_scores[rows]
        label = f"{name} ({np.count_nonzero(changes.outcomes == outcome)})"
        axes.plot(*points, color=color, label=label, linestyle="", marker="o", markersize=2.5)
    _unit_axes(axes, "Scores of detections", "score of the main head", "refined score")
    _legend_below(axes, columns=3)
    return _svg(axes, "Refined score over the score of the main head")


@_styled
def loss_chart(curves: Mapping[str, LossCurve], title: str) -> Markup:
    """Return losses over the steps of a training."""
    axes = _new_axes(_THIRD)
    for number, (name, curve) in enumerate(curves.items()):
        steps, values = _thinned(curve.steps, curve.values)
        marker = "o" if len(steps) < 20 else None
        color = COLORS[number % len(COLORS)]
        axes.plot(steps, values, color=color, label=name, marker=marker, markersize=3)
    axes.set(xlabel="step", ylabel="loss", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        _legend_below(axes)
    return _svg(axes, title)


@_styled
def differences_chart(difference: Difference, names: Mapping[int, str]) -> Markup:
    """Return the difference of every class with its interval; the largest ones of many."""
    known = [
        (names[class_id], interval)
        for class_id, interval in difference.by_class.items()
        if not np.isnan(interval.low)
    ]
    known.sort(key=lambda item: -abs(item[1].difference))
    known = sorted(known[:_MAX_CURVES], key=lambda item: -item[1].difference)
    rows = [*known, ("mean of all classes", difference.mean)]
    axes = _new_axes(width=4.8, height=1.0 + 0.22 * len(rows))
    for place, (_, interval) in enumerate(rows):
        color = "#8c8c8c"
        if interval.excludes_zero:
            color = COLORS[2] if interval.difference > 0 else COLORS[5]
        axes.plot([interval.low, interval.high], [place, place], color=color, linewidth=2)
        axes.plot([interval.difference], [place], color=color, marker="o", markersize=5)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [shortened(name, _NAME_LENGTH) for name, _ in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference of AP", title=difference.name)
    axes.grid(axis="x", alpha=0.25)
    return _svg(axes, f"Difference of AP of {difference.name} for every class, with intervals")
