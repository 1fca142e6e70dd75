"""Validate the docstring of every public name with numpydoc, whose own command checks private names too."""

import inspect
import sys
from collections.abc import Iterator

from numpydoc.validate import validate

import isoxide
import isoxide.dask
import isoxide.datasets
import isoxide.displays
import isoxide.mergeable
import isoxide.spark
import isoxide.stream
import isoxide.ueba

#: Checks of numpydoc that are not made, with the reason.
EXCLUDED = {
    "ES01": "an extended summary only where there is more to say",
    "SA01": "a See Also section likewise",
    "EX01": "examples of simple methods stand in their class; functions must have one (test_docstrings.py)",
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
    isoxide.dask,
)
#: Checks that are not made for a property, and for a class whose instances a function makes.
NOT_FOR_PROPERTIES = {"RT01"}
MADE_BY_FUNCTIONS = {
    name: {"PR01"}
    for name in (
        "FeatureRanks", "FeatureTable", "TableProfile", "Calibration", "Findings", "SamplePlan", "StreamTable",
        "SparkTable", "DaskTable",
    )
}  # fmt: skip


def public_names() -> Iterator[tuple[str, set[str]]]:
    """Yield the dotted name of each public object, and further checks that are not made for it."""
    for module, name in ((home, name) for home in MODULES for name in home.__all__):
        item = getattr(module, name)
        yield f"{module.__name__}.{name}", MADE_BY_FUNCTIONS.get(name, set())
        for member, value in vars(item).items() if inspect.isclass(item) else ():
            if not member.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
                yield f"{module.__name__}.{name}.{member}", NOT_FOR_PROPERTIES if isinstance(value, property) else set()
        for base in inspect.getmro(item)[1:] if inspect.isclass(item) else ():
            if base.__module__.startswith("isoxide."):
                for member, value in vars(base).items():
                    if not member.startswith("_"):
                        exempt = NOT_FOR_PROPERTIES if isinstance(value, property) else set()
                        yield f"{module.__name__}.{name}.{member}", exempt


def main() -> int:
    """Print each violation; the exit code is 1 if there is any."""
    count = 0
    for name, exempt in public_names():
        for code, message in validate(name)["errors"]:
            if code not in EXCLUDED and code not in exempt:
                print(f"{name}: {code} {message}")
                count += 1
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
