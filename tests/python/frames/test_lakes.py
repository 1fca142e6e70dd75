"""Test that the files of Delta, Iceberg and Hudi tables are never read as plain files, wherever they lie."""

import pandas as pd
import pyarrow.fs
import pytest

from command import Done
from isoxide import stream, ueba

FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1, 1, 2]})
MARKS = {
    "Delta": "_delta_log/00000000000000000000.json", "Iceberg": "metadata/00001-a.metadata.json",
    "Hudi": ".hoodie/hoodie.properties",
}  # fmt: skip

pytestmark = pytest.mark.current_versions(reason="fsspec is not installed with the oldest versions")


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    """Return a folder with tables, the file system that it is in, and a function that writes a file below it."""
    if request.param == "local":
        filesystem, root = None, str(tmp_path)
        backend = pyarrow.fs.LocalFileSystem()
    else:
        fsspec = pytest.importorskip("fsspec")
        root = f"bucket/{tmp_path.name}"
        filesystem = backend = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fsspec.filesystem("memory")))

    def write(path, content=b""):
        backend.create_dir(f"{root}/{path}".rpartition("/")[0], recursive=True)
        with backend.open_output_stream(f"{root}/{path}") as file:
            if path.endswith(".parquet"):
                FRAME.to_parquet(file, index=False)
            else:
                file.write(content)

    return root, filesystem, write


def fit(place, filesystem):
    return stream.open(place, filesystem=filesystem).fit()


@pytest.mark.parametrize("format_name", MARKS)
def test_folders_of_and_in_such_tables_are_refused(format_name, store):
    root, filesystem, write = store
    for path in ("lake/t/day=1/a.parquet", f"lake/t/{MARKS[format_name]}", "lake/plain/a.parquet"):
        write(path)
    with pytest.raises(
        ValueError, match=rf"{format_name} table .*lake/t|lake/t.* (an? {format_name} table|table of a lake)"
    ):
        fit(f"{root}/lake/t", filesystem)
    article = "an" if format_name == "Iceberg" else "a"
    with pytest.raises(ValueError, match=rf"the folder .*/lake has {article} {format_name} table in .*/lake/t, whose"):
        fit(f"{root}/lake", filesystem)
    inside = rf"/lake/t/day=1.* belongs to the {format_name} table .*/lake/t, and may hold rows that the table has"
    with pytest.raises(ValueError, match=inside):
        fit(f"{root}/lake/t/day=1", filesystem)
    with pytest.raises(ValueError, match=inside):
        fit([f"{root}/lake/plain", f"{root}/lake/t/day=1"], filesystem)
    assert fit(f"{root}/lake/plain", filesystem).n_features_in_ == 2
    if filesystem is None:
        for source in (f"{root}/lake/t/day=1/a.parquet", [f"{root}/lake/t/day=1/a.parquet"] * 2):
            with pytest.raises(ValueError, match=inside):
                fit(source, None)
            with pytest.raises(ValueError, match=inside):
                ueba.read_table(source, entity="y", time="x")
        Done("detect", f"{root}/lake/t/day=1/a.parquet").failed(f"belongs to the {format_name} table {root}/lake/t")
        Done("detect", f"{root}/lake").failed(f"has {article} {format_name} table in {root}/lake/t")


def test_tables_that_look_similar_are_plain_files(store):
    root, filesystem, write = store
    for path in ("a/metadata/notes.json", "a/metadata/1.parquet", "a/_log/x.json", "a/b/metadata.json"):
        write(path, b"{}")
    assert fit(f"{root}/a/metadata/1.parquet", filesystem).n_features_in_ == 2
    assert fit(f"{root}/a", filesystem).n_features_in_ == 2


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_lakes_in_a_given_file_system_are_opened_by_their_own_package(store):
    pytest.importorskip("deltalake", reason="the packages of lakes are not installed here")
    root, filesystem, write = store
    write(f"lake/t/{MARKS['Delta']}", b"{}")
    with pytest.raises(
        ValueError, match=r"open it with deltalake\.DeltaTable\(url, storage_options=\.\.\.\), and give"
    ):
        fit(f"{root}/lake/t", filesystem)
