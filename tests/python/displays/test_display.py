"""Test what all displays share: axes, colours of matplotlib's style, and that matplotlib is imported only to draw."""

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from drawing import draw
from isoxide import ueba
from isoxide.displays import (
    ContributionDisplay,
    CutoffDisplay,
    FeatureRankDisplay,
    ImportanceDisplay,
    ScoreTimelineDisplay,
    ThresholdDisplay,
)
from isoxide.displays._display import palette_of

pytestmark = pytest.mark.thread_unsafe(reason="all threads share the figures of pyplot")


@pytest.mark.parametrize(
    "display_class", [ScoreTimelineDisplay, FeatureRankDisplay, CutoffDisplay, ContributionDisplay]
)
def test_a_display_draws_on_the_given_axes(findings, display_class):
    plt.close("all")
    _, ax = plt.subplots()
    display = display_class.from_findings(findings, ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    assert plt.get_fignums() == [ax.figure.number]


@pytest.mark.slow
def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, isoxide.displays, isoxide.ueba; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_results_without_findings_are_drawn(study):
    no_findings = ueba.detect(study.table, threshold=-0.9)
    display = ScoreTimelineDisplay.from_findings(no_findings)
    draw(display)
    assert len(display.ax_.collections[0].get_offsets()) == 0
    draw(CutoffDisplay.from_findings(no_findings))
    for display_class in (FeatureRankDisplay, ContributionDisplay):
        with pytest.raises(IndexError, match="finding=0 is out of range: there are 0 findings"):
            display_class.from_findings(no_findings)


def contrast(color, other):
    """Return the contrast ratio of two colours."""

    def luminance(rgb):
        channels = np.array(rgb)
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted([luminance(color), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def every_display(study, findings):
    """Return each display, drawn."""
    explanation = study.forest.explain(study.table.X.iloc[:20])
    return [
        study.plot(),
        ScoreTimelineDisplay.from_findings(findings),
        FeatureRankDisplay.from_findings(findings),
        CutoffDisplay.from_findings(findings),
        ContributionDisplay.from_findings(findings, n_features=4),
        ImportanceDisplay.from_explanation(explanation, n_features=3),
    ]


STYLES = ["default", "dark_background", "ggplot", "grayscale"]


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_colours_are_those_of_the_style(study, findings, style):
    with plt.style.context(style):
        cycle = {to_rgb(color) for color in mpl.rcParams["axes.prop_cycle"].by_key()["color"]}
        background, text = to_rgb(mpl.rcParams["axes.facecolor"]), to_rgb(mpl.rcParams["text.color"])
        for display in every_display(study, findings):
            palette = palette_of(display.ax_)
            assert palette.background == background
            assert palette.text == text
            assert {palette.normal, palette.anomaly} <= cycle
            assert palette.normal != palette.anomaly
            bars_and_dots = [patch.get_facecolor() for patch in display.ax_.patches]
            bars_and_dots += [tuple(face) for dots in display.ax_.collections for face in dots.get_facecolor()]
            lines = [to_rgb(line.get_color()) for line in display.ax_.lines]
            drawn = {color[:3] for color in bars_and_dots} | set(lines)
            assert drawn
            assert drawn <= {palette.normal, palette.anomaly, palette.muted}
            for label in display.ax_.texts:
                assert to_rgb(label.get_color()) == text
                box = label.get_bbox_patch()
                assert box is None or box.get_facecolor()[:3] == background
            draw(display)
            plt.close(display.figure_)


@pytest.mark.parametrize("style", sorted(plt.style.available))
def test_colours_stand_out_in_every_style(style):
    with plt.style.context(style):
        _, ax = plt.subplots()
    palette = palette_of(ax)
    assert contrast(palette.text, palette.background) >= 4.5
    assert contrast(palette.muted, palette.background) >= 2
    assert contrast(palette.anomaly, palette.background) >= 1.5
    assert contrast(palette.normal, palette.background) >= 1.5


@pytest.mark.parametrize(
    ("style", "normal", "anomaly"),
    [
        ("default", "#1f77b4", "#d62728"),
        ("dark_background", "#81b1d2", "#fa8174"),
        ("ggplot", "#348abd", "#e24a33"),
        ("tableau-colorblind10", "#006ba4", "#c85200"),
        # Without a hue, anomalies have the colour that stands out most.
        ("grayscale", "#b2b2b2", "#000000"),
    ],
)
def test_anomalies_are_red_and_others_blue_where_the_style_has_these(style, normal, anomaly):
    with plt.style.context(style):
        _, ax = plt.subplots()
        palette = palette_of(ax)
    assert (mpl.colors.to_hex(palette.normal), mpl.colors.to_hex(palette.anomaly)) == (normal, anomaly)


@pytest.mark.parametrize("cycle", [["#ffffff"], ["k"], ["#ff0000"], ["#00ff00", "#00ff00"]])
def test_styles_of_a_single_colour_give_two_colours(cycle):
    with plt.rc_context({"axes.prop_cycle": mpl.cycler(color=cycle)}):
        _, ax = plt.subplots()
        palette = palette_of(ax)
    assert palette.normal != palette.anomaly
    assert min(contrast(color, palette.background) for color in (palette.normal, palette.anomaly)) >= 1.5


def test_a_style_without_colours_and_transparent_axes_are_drawn(findings):
    with plt.rc_context({"axes.prop_cycle": mpl.cycler(linestyle=["-", ":"]), "figure.facecolor": "navy"}):
        _, ax = plt.subplots(subplot_kw={"facecolor": "none"})
        display = ContributionDisplay.from_findings(findings, ax=ax)
        draw(display)
        assert palette_of(ax).background == to_rgb("navy")


def test_axes_keep_the_text_colour_of_their_style(findings):
    """Axes that a dark style made are dark, whatever the style is when a display draws on them."""
    with plt.style.context("dark_background"):
        _, ax = plt.subplots()
    display = ContributionDisplay.from_findings(findings, ax=ax)
    assert {to_rgb(label.get_color()) for label in display.ax_.texts} == {(1.0, 1.0, 1.0)}


@pytest.mark.parametrize("display_class", [ThresholdDisplay, ScoreTimelineDisplay, ImportanceDisplay])
def test_classes_have_the_name_of_the_public_module(display_class):
    assert display_class.__module__ == "isoxide.displays"
