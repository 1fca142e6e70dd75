"""Test how the command parses and refuses its arguments, and how messages name them; no table is read."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import isoxide
from isoxide._cli import _messages, _values
from isoxide._cli._parser import make_parser

pytestmark = pytest.mark.not_parallel(reason="it runs the command in other processes")

NAMES = ("--entity", "actor", "--time", "day")


def parsed(*arguments):
    return make_parser().parse_args([str(argument) for argument in arguments])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        parsed(*arguments)
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("isoxide")
    assert "usage: isoxide" in err
    return err


@pytest.mark.parametrize(
    "arguments",
    [
        ["t.csv", "--exclude", "a", "b", *NAMES],
        ["--exclude", "a", "b", *NAMES, "t.csv"],
        ["--exclude", "a", "b", "t.csv", *NAMES],
        ["--exclude", "a", "b", "t.csv"],
        ["--exclude", "a", "--exclude", "b", "t.csv"],
        ["--exclude=a", "t.csv", "--exclude=b"],
        ["--exclude", "a", "--entity", "actor", "t.csv", "--exclude", "b"],
        ["--exclude", "a", "b", "--", "t.csv"],
        ["--json", "t.csv", "--exclude", "a", "b"],
        ["--exclude", "a", "b", "--json", "t.csv"],
        ["--exclude", "a", "b", "--threshold", "1e-3", "t.csv"],
    ],
)
@pytest.mark.parametrize("command", ["detect", "calibrate"])
def test_the_table_may_be_before_or_after_the_options(command, arguments):
    options = parsed(command, *arguments)
    assert (options.table, options.exclude) == (["t.csv"], ["a", "b"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["m", "t", "--keep", "a", "b", "--out", "s.csv"],
        ["--keep", "a", "b", "m", "t", "--out", "s.csv"],
        ["--keep", "a", "b", "m", "--out", "s.csv", "t"],
        ["m", "--keep", "a", "b", "t", "--out", "s.csv"],
        ["m", "--out", "s.csv", "t", "--keep", "a", "b"],
        ["--out", "s.csv", "--keep", "a", "--keep", "b", "m", "t"],
    ],
)
def test_two_files_may_be_before_or_after_the_options(arguments):
    options = parsed("score", *arguments)
    assert (options.model, options.table, options.keep, options.out) == ("m", ["t"], ["a", "b"], "s.csv")


def test_several_tables_and_names_that_begin_like_options():
    assert parsed("detect", "a.csv", "b.csv", "--json", "c.csv").table == ["a.csv", "b.csv", "c.csv"]
    assert parsed("detect", "--json", "--", "-a.csv", "--json").table == ["-a.csv", "--json"]
    assert parsed("detect", "-", "--exclude", "a").table == ["-"]
    assert parsed("detect", "t.csv", "--sep", "-").sep == "-"
    assert parsed("detect", "t.csv", "--title=--json").title == "--json"
    assert parsed("score", "m", "a", "b", "c").table == ["a", "b", "c"]


def test_options_of_several_values_may_be_empty_or_absent():
    assert parsed("detect", "t.csv").always_show is None
    assert parsed("detect", "t.csv", "--always-show").always_show == [""]
    assert parsed("detect", "--always-show", "a", "b", "t.csv").always_show == ["a", "b"]
    assert parsed("detect", "t.csv").exclude is None


@pytest.mark.parametrize("text", ["1e-3", ".5", "0.5", "5E-1", "1e-9", "0.1_5", "+0.1"])
def test_numbers_in_every_spelling_are_values(text):
    for arguments in (["t.csv", "--threshold", text], ["--threshold", text, "t.csv"], [f"--threshold={text}", "t.csv"]):
        assert parsed("detect", *arguments).threshold == float(text)


@pytest.mark.parametrize("text", ["-.5", "-1E+0", "-1.", "-1_0.5", "1", "0", "2.5", "nan"])
def test_thresholds_on_no_scale_are_refused(capsys, text):
    """Negative numbers are read as numbers, and the message names the scale."""
    for arguments in (["t.csv", "--threshold", text], [f"--threshold={text}", "t.csv"]):
        message = refused(capsys, "detect", *arguments)
        assert f"{text!r} is not an anomaly score between 0 and 1, such as 0.6" in message


@pytest.mark.parametrize("text", ["-1e-1", "-.15", "-0.02", "-4e-1"])
def test_a_score_of_the_decision_function_is_converted_and_told(capsys, text):
    for arguments in (["t.csv", "--threshold", text], [f"--threshold={text}", "t.csv"]):
        score = parsed("detect", *arguments).threshold
        assert score < 0.5 - float(text) <= np.nextafter(score, 1)
        assert f"--threshold {text}: a negative number is a score of decision_function" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cutoff", "250"], "argument --cutoff: '250' is not a percentile from 0 to 100"),
        (["--cutoff", "-3"], "'-3' is not a percentile from 0 to 100"),
        (["--cutoff", "nan"], "'nan' is not a percentile"),
        (["--contamination", "0.7"], "argument --contamination: '0.7' is not a fraction above 0 and at most 0.5"),
        (["--contamination", "0"], "'0' is not a fraction"),
        (["--contamination", "-0.1"], "'-0.1' is not a fraction"),
        (["--contamination", "auto"], "'auto' is not a fraction"),
        (["--threshold", "nan"], "'nan' is not an anomaly score between 0 and 1"),
        (["--threshold", "-inf"], "'-inf' is not an anomaly score between 0 and 1"),
        (["--threshold", "1e999"], "'1e999' is not an anomaly score between 0 and 1"),
        (["--threshold", "low"], "'low' is not an anomaly score between 0 and 1"),
        (["--threshold"], "argument --threshold: expected one argument"),
        (["--threshold", "--json"], "argument --threshold: expected one argument"),
        (["--alerts-per-month", "0"], "'0' is not a number above 0"),
        (["--alerts-per-month", "-1"], "'-1' is not a number above 0"),
        (["--alerts-per-month", "inf"], "'inf' is not a number above 0"),
        (
            ["--alerts-per-month", "1", "--threshold", "0.5"],
            "argument --threshold: not allowed with argument --alerts-per-month",
        ),
        (["--jobs", "0"], "'0' is not a number of threads"),
        (["--min-group", "0"], "'0' is not a number of rows"),
        (["--min-group", "many"], "'many' is not a number of rows"),
        (["--jobs", "1.5"], "'1.5' is not a number of threads"),
        (["--seed", "-1"], "'-1' is not an integer from 0 to 4294967295"),
        (["--seed", "4294967296"], "'4294967296' is not an integer"),
        (["--sep", ";;"], "argument --sep: ';;' is not a single character"),
        (["--sep", ""], "'' is not a single character"),
        (["--users-sep", "ab"], "argument --users-sep: 'ab' is not a single character"),
        (["--encoding", "utf9"], "argument --encoding: 'utf9' is not a text encoding"),
        (["--exlude", "a"], "there is no option --exlude; did you mean --exclude?"),
        # Options of early versions, whose names are not similar to those of today.
        (["--budget", "25"], "there is no option --budget; did you mean --alerts-per-month?"),
        (["--budget=25"], "there is no option --budget; did you mean --alerts-per-month?"),
        (["--always", "is_weekend"], "there is no option --always; did you mean --always-show?"),
        (["--tail", "two"], "argument --tail: invalid choice: 'two' (choose from"),
        (["--tail", "two"], "both"),
        (["--exclude"], "argument --exclude: expected one argument"),
        (["--out", ""], "argument --out: the name of the file is empty"),
        (["-x"], "there is no option -x"),
    ],
)
def test_invalid_options_are_refused_in_one_line(capsys, arguments, message):
    assert message in refused(capsys, "detect", "t.csv", *arguments)


def test_missing_and_superfluous_files_are_refused(capsys):
    assert "the following arguments are required: TABLE" in refused(capsys, "detect")
    assert "required: TABLE" in refused(capsys, "score", "m")
    assert "unexpected argument 'b'" in refused(capsys, "report", "a", "b")
    assert "invalid choice: 'find'" in refused(capsys, "find")


@pytest.mark.parametrize("name", ["s.xlsx", "s.json", "s.csv.zip", "s.parquet.gz", "s.txt"])
def test_scores_with_an_unknown_ending_are_refused_unless_a_folder_has_the_name(capsys, tmp_path, name):
    message = refused(capsys, "score", "m", "t", "--out", tmp_path / name)
    assert "end the name with .csv, .csv.gz, .parquet, .parq, .pq, or with / for a folder" in message
    (tmp_path / name).mkdir()
    assert parsed("score", "m", "t", "--out", tmp_path / name).out == str(tmp_path / name)


def test_the_name_of_the_scores_sets_their_format():
    expected = {
        "s.csv": "csv", "S.CSV": "csv", "s.csv.gz": "csv.gz", "s.parquet": "parquet", "s.PARQ": "parquet",
        "s.pq": "parquet", "s": "folder", "s.v2/": "folder", ".": "folder",
    }  # fmt: skip
    for name, output_format in expected.items():
        assert _values.output_format(parsed("score", "m", "t", "--out", name).out) == output_format, name


def test_the_plot_needs_the_ending_of_a_picture(capsys):
    assert "does not end with .png, .svg, .pdf" in refused(capsys, "calibrate", "t.csv", "--plot", "x.foo")
    assert parsed("calibrate", "t.csv", "--plot", "x.SVG").plot == "x.SVG"


def test_a_tilde_is_replaced_by_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    options = parsed("detect", "~/t.csv", "--users=~/u.csv", "--out=~/o")
    assert options.table == [f"{tmp_path}/t.csv"]
    assert (options.users, options.out) == (f"{tmp_path}/u.csv", f"{tmp_path}/o")
    (tmp_path / "~t.csv").touch()
    assert parsed("detect", "~t.csv").table == ["~t.csv"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("say so with sep", "say so with --sep"),
        ("separated by ';'; give sep=';'", "separated by ';'; give --sep ';'"),
        ("use decimal=',' or thousands='.'", "use --decimal ',' or --thousands '.'"),
        ("groups='team' is not a column", "--groups 'team' is not a column"),
        ("t has no column 'who' (entity); there are 'sep'", "t has no column 'who' (--entity); there are 'sep'"),
        ("replace them, or leave the feature out (exclude)", "replace them, or leave the feature out (--exclude)"),
        ("is not empty; resume=True goes on", "is not empty; --resume goes on"),
        ("raise contamination or threshold", "raise --contamination or --threshold"),
        ("exclude has 'x', which is not a column", "--exclude has 'x', which is not a column"),
        ("users has several rows of 'a'", "--users has several rows of 'a'"),
        ("give time_format, such as '%d.%m.%Y'", "give --time-format, such as '%d.%m.%Y'"),
        ("read with `timezone`", "read with --timezone"),
        ("alerts_per_month=3 a month is more than half", "--alerts-per-month 3 a month is more than half"),
        ("missing=['-', 'n/a'] are", "--missing ['-', 'n/a'] are"),
        ("column \"exclude=1\" and 'n_jobs'", "column \"exclude=1\" and 'n_jobs'"),
        ("the time of the entity, and a threshold", "the time of the entity, and a threshold"),
        ("this many on columns", "this many on columns"),
        ("try fewer columns (include, exclude)", "try fewer columns (--include, --exclude)"),
        ("already --sep and --n-jobs", "already --sep and --n-jobs"),
    ],
)  # fmt: skip
def test_messages_name_options_instead_of_parameters(message, expected):
    assert _messages.in_options(message) == expected


def test_control_characters_are_escaped():
    for raw, escaped in (
        ("\x1b[31mroot", r"\x1b[31mroot"), ("\x9b31m", r"\x9b31m"), ("a\rb\b", r"a\rb\x08"),
        ("\u202egnp", r"\u202egnp"), ("\udc80", r"\udc80"), ("Łukasz 東京", "Łukasz 東京"),
        ("a\u2028b", r"a\u2028b"), ("\0", r"\x00"),
    ):  # fmt: skip
        assert _messages.shown(raw) == escaped
    assert _messages.one_line("two\n  lines\n") == "two lines"
    assert len(_messages.one_line("x" * 100_000)) < 3000


def test_importing_the_command_imports_no_large_library():
    code = "import sys, isoxide._cli; from isoxide._cli import _main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(pathlib.Path(isoxide.__file__).parents[1])})  # fmt: skip
    assert not {"numpy", "pandas", "sklearn", "pyarrow"} & set(done.stdout.split())
