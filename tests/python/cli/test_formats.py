"""The option --format: which files `detect` and `report` write."""

import json

import pytest

from command import NAMES, Done, contents
from isoxide import ueba
from ueba_tables import actor_days

pytestmark = [
    pytest.mark.not_parallel(reason="it runs the command in other processes"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
]


@pytest.fixture(scope="module")
def run(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    actor_days(seed).to_csv(folder / "features.csv", index=False)
    done = Done("detect", folder / "features.csv", *NAMES, "--contamination", 0.02, "--format", "ocsf, CSV",
                   "--format", "ecs", "--out", folder / "out")  # fmt: skip
    done.ok()
    return folder / "out"


def ends(folder):
    return {name.partition(".")[2] for name in contents(folder)}


def test_detect_writes_the_named_formats_and_what_other_commands_read(run):
    assert ends(run) == {"csv", "json", "safetensors", "ocsf.ndjson", "ecs.ndjson"}
    events = [json.loads(line) for line in next(run.glob("*.ecs.ndjson")).read_text().splitlines()]
    findings = ueba.read_findings(next(run.glob("*.json")))
    assert [event["event"]["id"] for event in events] == findings.frame["finding_id"].tolist()
    assert {"user"} <= events[0].keys()


def test_report_writes_the_named_formats_from_stored_findings(run, tmp_path):
    done = Done(
        "report",
        next(run.glob("*.json")),
        "--format",
        "ocsf,md,parquet,json",
        "--entity-type",
        "host",
        "--out",
        tmp_path,
    )
    done.ok()
    assert ends(tmp_path) == {"ocsf.ndjson", "md", "parquet", "json"}
    event = json.loads(next(tmp_path.glob("*.ndjson")).read_text().splitlines()[0])
    assert event["device"]["hostname"].startswith("actor")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "pdf"], "'pdf' is not a format: choose from csv, parquet, json, md, html, ocsf, ecs"),
        (["--format", "csv,"], "'' is not a format"),
        (["--format", "md", "--open"], "--open needs --format html"),
        (["--entity-type", "robot"], "invalid choice: 'robot'"),
    ],
)
def test_bad_formats_are_refused(run, arguments, message):
    done = Done("report", next(run.glob("*.json")), *arguments)
    assert done.failed(message, code=2)
