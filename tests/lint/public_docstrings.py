"""numpydoc's validation of every public name; `make lint` runs it. (Its own command looks at private names as well.)"""

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

#: Checks that are not ours, with the reason.
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
#: Of a property, and of a class whose instances a function makes.
NOT_FOR_PROPERTIES = {"RT01"}
MADE_BY_FUNCTIONS = {
    name: {"PR01"}
    for name in (
        "FeatureRanks", "FeatureTable", "TableProfile", "Calibration", "Findings", "SamplePlan", "StreamTable",
        "SparkTable", "DaskTable", "Explanation",
    )
}  # fmt: skip


def public_names() -> Iterator[tuple[str, set[str]]]:
    """Dotted names, and which further checks do not apply."""
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
    """Print what numpydoc objects to; the exit code is 1 if there is anything."""
    found = 0
    for name, exempt in public_names():
        for code, message in validate(name)["errors"]:
            if code not in EXCLUDED and code not in exempt:
                print(f"{name}: {code} {message}")
                found += 1
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
