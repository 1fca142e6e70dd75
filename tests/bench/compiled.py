"""Run scikit-learn's forests by other programs: compiled by TL2cgen, interpreted by treelite, or by ONNX Runtime.

All read float32, into which scikit-learn converts too, and the conversion is timed. They compute path lengths or powers
in other ways than scikit-learn, so their last digits differ; the benchmark measures by how much. Converting a forest
takes up to half a minute and is not timed: the result is kept in a file for the next work with the same forest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .works import Work

#: treelite and ONNX Runtime score at most this many rows, and their time is scaled up.
MAX_ROWS = 100_000


class _Converted:
    """A forest that scikit-learn fits, and that is then converted into a file that is used to score."""

    #: The end of the name of the file.
    suffix: str

    def __init__(self, work: Work, threads: int, folder: Path) -> None:
        self.work, self.threads, self.folder = work, threads, folder

    def fit(self, x: Any) -> None:
        name = f"{Path(self.work.data.file).stem}-{self.work.trees}-{self.work.max_samples}.{self.suffix}"
        path = self.folder / name
        if not path.exists():
            from sklearn.ensemble import IsolationForest

            forest = IsolationForest(
                n_estimators=self.work.trees, max_samples=self.work.max_samples, n_jobs=1, random_state=0
            )
            self.convert(forest.fit(x), path)
        self.load(path)

    def convert(self, forest: Any, path: Path) -> None:
        raise NotImplementedError

    def load(self, path: Path) -> None:
        raise NotImplementedError

    def score(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Treelite(_Converted):
    """The interpreter that comes with treelite (GTIL)."""

    suffix = "treelite"

    def convert(self, forest: Any, path: Path) -> None:
        import treelite

        treelite.sklearn.import_model(forest).serialize(path)

    def load(self, path: Path) -> None:
        import treelite

        self.model = treelite.Model.deserialize(path)

    def score(self, x: np.ndarray) -> np.ndarray:
        import treelite

        scores: np.ndarray = treelite.gtil.predict(self.model, x.astype(np.float32), nthread=self.threads)
        return -scores.ravel()


class Tl2cgen(_Converted):
    """C code of the forest, compiled by gcc."""

    suffix = "so"

    def convert(self, forest: Any, path: Path) -> None:
        import tl2cgen
        import treelite

        model = treelite.sklearn.import_model(forest)
        # In one file, gcc would need more memory and time; the code of each tree is the same.
        tl2cgen.export_lib(model, "gcc", path, params={"parallel_comp": 8}, nthread=self.threads)

    def load(self, path: Path) -> None:
        import tl2cgen

        self.predictor = tl2cgen.Predictor(path, nthread=self.threads)
        self.table: Callable[[np.ndarray], Any] = tl2cgen.DMatrix

    def score(self, x: np.ndarray) -> np.ndarray:
        scores: np.ndarray = self.predictor.predict(self.table(x.astype(np.float32, order="C")))
        return -scores.ravel()


class OnnxRuntime(_Converted):
    """The graph that skl2onnx makes of the forest, which returns decisions and labels."""

    suffix = "onnx"

    def convert(self, forest: Any, path: Path) -> None:
        import skl2onnx

        row = np.zeros((1, self.work.data.d), dtype=np.float32)
        model = skl2onnx.to_onnx(forest, row, target_opset={"": 18, "ai.onnx.ml": 3})
        path.write_bytes(model.SerializeToString())

    def load(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def score(self, x: np.ndarray) -> np.ndarray:
        _, decisions = self.session.run(None, {self.input: x.astype(np.float32)})
        # With contamination="auto", scikit-learn's offset is -0.5.
        scores: np.ndarray = decisions.ravel() - np.float32(0.5)
        return scores


COMPILED: dict[str, type[_Converted]] = {"treelite": Treelite, "tl2cgen": Tl2cgen, "onnxruntime": OnnxRuntime}
