"""Test options that are defined once and taken by several functions: their keywords, messages and descriptions."""

import inspect
from dataclasses import dataclass

import pytest

from isoxide import stream, ueba
from isoxide._common.options import takes


@dataclass(frozen=True)
class Base:
    """Options of the base.

    Parameters
    ----------
    power : int, default=2
        The exponent.

        With a second paragraph.
    """

    power: int = 2


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    """More options.

    Parameters
    ----------
    factor : float
        The factor of the power.
    """

    factor: float


@takes(Derived)
def scaled_power(number: float, options: Derived) -> float:
    """Raise a number to a power and multiply the result.

    Parameters
    ----------
    number : float
        The number.
    **options
        The fields of `Derived`.

    Returns
    -------
    float
        The result.
    """
    return options.factor * number**options.power


def test_fields_are_keywords():
    assert scaled_power(3, factor=2) == scaled_power(number=3, factor=2) == 18
    assert scaled_power(3, power=1, factor=2) == 6
    assert list(inspect.signature(scaled_power).parameters) == ["number", "factor", "power"]
    assert inspect.signature(scaled_power).parameters["power"].default == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scaled_power(3, factor=1, root=2), r"scaled_power\(\) got an unexpected keyword argument 'root'"),
        (lambda: scaled_power(3), r"scaled_power\(\) missing a required (keyword-only )?argument: 'factor'"),
        (lambda: scaled_power(3, 2), r"scaled_power\(\) too many positional arguments"),
        (lambda: scaled_power(factor=2), r"scaled_power\(\) missing a required argument: 'number'"),
    ],
)
def test_other_arguments_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_docstrings_describe_each_option_in_place_of_options():
    lines = [line.strip() for line in scaled_power.__doc__.splitlines() if line.strip()]
    start = lines.index("number : float")
    assert lines[start : start + 8] == [
        "number : float",
        "The number.",
        "factor : float",
        "The factor of the power.",
        "power : int, default=2",
        "The exponent.",
        "With a second paragraph.",
        "Returns",
    ]


def test_detect_has_the_same_options_in_memory_and_for_partitions():
    in_memory = inspect.signature(ueba.detect).parameters
    in_partitions = inspect.signature(stream.StreamTable.detect).parameters
    common = {name: parameter for name, parameter in in_memory.items() if name not in ("table", "n_jobs")}
    assert len(common) == 20
    assert {name: in_partitions[name] for name in common} == common
    read = inspect.signature(ueba.read_table).parameters
    for_reading = set(in_partitions) - set(common) - {"self"}
    assert for_reading == {"entity", "time", "include", "exclude", "time_format", "timezone"}
    assert all(in_partitions[name].default == read[name].default for name in for_reading)
    for function in (ueba.detect, stream.StreamTable.detect):
        for name in inspect.signature(function).parameters:
            assert name == "self" or f"\n{name} : " in function.__doc__, name
