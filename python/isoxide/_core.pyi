"""Types of the compiled core, whose Rust side is `src/python`."""

from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from isoxide._frames.validation import Table

_Nodes: TypeAlias = tuple[
    NDArray[np.float64], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint8]
]
_Noise: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

__all__ = [
    "Forest",
    "RankCounts",
    "Sketch",
    "close",
    "float32_of_decimals",
    "float32_of_objects",
    "kernel",
    "kernels",
    "panic",
    "percentile_ranks",
    "sample_rows",
    "sorted_ranks",
    "tree_seeds",
]

@final
class Forest:
    @staticmethod
    def grow(
        x: Table,
        noise: int | NDArray[np.float64],
        seeds: NDArray[np.uint32],
        *,
        max_samples: int,
        max_features: int,
        bootstrap: bool,
        average_path_lengths: NDArray[np.float64],
        n_workers: int,
        weights: NDArray[np.float64] | None = None,
        existing: Forest | None = None,
    ) -> Forest: ...
    @staticmethod
    def grow_on_drawn_rows(
        x: Table,
        rows: NDArray[np.int64],
        noise: int | NDArray[np.float64],
        seeds: NDArray[np.uint32],
        *,
        n_samples: int,
        max_samples: int,
        max_features: int,
        bootstrap: bool,
        average_path_lengths: NDArray[np.float64],
        n_workers: int,
    ) -> Forest: ...
    @staticmethod
    def from_parts(
        n_features: int,
        features: NDArray[np.uint32],
        feature_starts: NDArray[np.uint64],
        starts: NDArray[np.uint64],
        nodes: _Nodes,
        noise: _Noise,
        average_path_lengths: NDArray[np.float64],
    ) -> Forest: ...
    def to_bytes(
        self,
        header: str,
        tree_seeds: NDArray[np.int64],
        tree_depths: NDArray[np.int64],
        sample_weight: NDArray[np.float32] | NDArray[np.float64] | None,
        complete: bool,
    ) -> bytes: ...
    @staticmethod
    def from_bytes(
        data: bytes,
    ) -> tuple[Forest, str, NDArray[np.int64], NDArray[np.int64], NDArray[Any] | None]: ...
    def depth_sums(self, x: Table, n_workers: int) -> NDArray[np.float64]: ...
    #: Negative power of two that is the unit of `shap_magnitude_sums`.
    MAGNITUDE_UNIT_BITS: int
    @property
    def expected_value(self) -> float: ...
    def shap_values(self, x: Table, n_workers: int) -> NDArray[np.float64]: ...
    def top_shap_values(
        self, x: Table, *, top: int, most_negative: bool, n_workers: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]: ...
    def shap_magnitude_sums(self, x: Table, n_workers: int) -> list[int]: ...
    @property
    def n_trees(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def largest_node(self) -> int: ...
    @property
    def average_path_lengths(self) -> NDArray[np.float64]: ...
    def tree_features(self, tree: int) -> NDArray[np.int64]: ...
    def tree(self, tree: int) -> dict[str, NDArray[Any]]: ...

@final
class Sketch:
    def __new__(cls, low: float, high: float, *, lowest: int | None = None, capacity: int) -> Sketch: ...
    def add(self, values: NDArray[Any]) -> None: ...
    def merge(self, other: Sketch) -> None: ...
    def neighbours(self, k: int) -> tuple[float, float] | None: ...
    def refined(self, k: int) -> Sketch: ...
    @property
    def n(self) -> int: ...
    @property
    def n_missing(self) -> int: ...
    def n_distinct(self) -> int | None: ...
    def extremes(self) -> tuple[float, float] | None: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> Sketch: ...

@final
class RankCounts:
    def __new__(cls, rows: Table) -> RankCounts: ...
    def add(self, partition: Table, n_workers: int) -> None: ...
    def merge(self, other: RankCounts) -> None: ...
    def ranks(self, kind: str, tail: str, omit_nan: bool) -> tuple[NDArray[np.float64], NDArray[np.int8]]: ...
    def values(self) -> NDArray[np.float64]: ...
    @property
    def n(self) -> int: ...
    def n_missing(self) -> NDArray[np.int64]: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> RankCounts: ...

def close() -> None: ...
def float32_of_decimals(unscaled: NDArray[np.int64], scale: int) -> NDArray[np.float32]: ...
def float32_of_objects(cells: NDArray[np.object_], addresses: NDArray[np.uintp]) -> NDArray[np.float32] | None: ...
def kernel() -> str: ...
def kernels() -> list[str]: ...
def panic(in_pool: bool) -> None: ...
def tree_seeds(random_state: int, n_existing: int, n_new: int) -> NDArray[np.uint32]: ...
def sample_rows(
    seeds: NDArray[np.uint32],
    *,
    n_samples: int,
    n_features: int,
    max_samples: int,
    max_features: int,
    bootstrap: bool,
    n_workers: int,
    weights: NDArray[np.float64] | None = None,
) -> list[NDArray[np.int64]]: ...
def percentile_ranks(
    reference: Table, rows: Table, *, kind: str, tail: str, omit_nan: bool, n_workers: int
) -> tuple[NDArray[np.float64], NDArray[np.int8]]: ...
def sorted_ranks(
    reference: list[tuple[NDArray[Any], NDArray[np.int64] | None, int]],
    rows: Table,
    *,
    kind: str,
    tail: str,
    omit_nan: bool,
    n_workers: int,
) -> tuple[NDArray[np.float64], NDArray[np.int8]]: ...
