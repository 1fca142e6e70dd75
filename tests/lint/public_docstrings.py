"""Check the docstrings of all public names with numpydoc; `make lint` runs it.

The command of numpydoc would check private names too.
"""

import inspect
import re
import sys
from collections.abc import Iterator

from numpydoc.validate import validate
from pyspark.ml.param import Param

import isoxide
import isoxide.dask
import isoxide.datasets
import isoxide.displays
import isoxide.mergeable
import isoxide.spark
import isoxide.spark.ml
import isoxide.stream
import isoxide.ueba

#: Checks that are skipped, and the reason.
EXCLUDED = {
    "ES01": "an extended summary only where there is more to say",
    "SA01": "a See Also section only where it helps",
    "EX01": "examples of simple methods are in their class; functions must have one (test_docstrings.py)",
    "GL08": "attributes set by scikit-learn's base classes",
}
MODULES = (
    isoxide,
    isoxide.ueba,
    isoxide.datasets,
    isoxide.displays,
    isoxide.mergeable,
    isoxide.stream,
    isoxide.spark,
    isoxide.spark.ml,
    isoxide.dask,
)
#: Further checks that are skipped for properties, and for classes whose instances are made by functions.
NOT_FOR_PROPERTIES = {"RT01"}
MADE_BY_FUNCTIONS = {
    name: {"PR01"}
    for name in (
        "FeatureRanks", "FeatureTable", "TableProfile", "Calibration", "Findings", "SamplePlan", "StreamTable",
        "SparkTable", "DaskTable", "Comparison", "Drift", "Explanation", "Model",
    )
}  # fmt: skip
#: Getters, setters and params of Spark ML, which the docstring of their class describes.
ACCESSOR = re.compile(r"isoxide\.spark\.ml\.\w+\.(?:[gs]et[A-Z]\w*)")


def public_names() -> Iterator[tuple[str, set[str]]]:
    """Yield dotted names, and the further checks that are skipped for each."""
    for module, name in ((public, name) for public in MODULES for name in public.__all__):
        item = getattr(module, name)
        yield f"{module.__name__}.{name}", MADE_BY_FUNCTIONS.get(name, set())
        for member, value in vars(item).items() if inspect.isclass(item) else ():
            if not member.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
                yield f"{module.__name__}.{name}.{member}", NOT_FOR_PROPERTIES if isinstance(value, property) else set()
        for base in inspect.getmro(item)[1:] if inspect.isclass(item) else ():
            if base.__module__.startswith("isoxide."):
                for member, value in vars(base).items():
                    if not member.startswith("_") and not isinstance(value, Param):
                        exempt = NOT_FOR_PROPERTIES if isinstance(value, property) else set()
                        yield f"{module.__name__}.{name}.{member}", exempt


def main() -> int:
    """Print each violation; the exit code is 1 if there is any."""
    count = 0
    for name, exempt in public_names():
        for code, message in validate(name)["errors"]:
            is_accessor = ACCESSOR.fullmatch(name) is not None and code in {"PR01", "RT01"}
            if code not in EXCLUDED and code not in exempt and not is_accessor:
                print(f"{name}: {code} {message}")
                count += 1
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
