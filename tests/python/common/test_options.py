"""Options that are defined once: what functions show of them, and that both functions of detection take the same."""

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
class Chosen(Base):
    """More options.

    Parameters
    ----------
    factor : float
        What the power is multiplied by.
    """

    factor: float


@takes(Chosen)
def raised(number: float, options: Chosen) -> float:
    """Raise a number.

    Parameters
    ----------
    number : float
        The number.
    **options
        The fields of `Chosen`.

    Returns
    -------
    float
        The result.
    """
    return options.factor * number**options.power


def test_fields_are_keywords():
    assert raised(3, factor=2) == raised(number=3, factor=2) == 18
    assert raised(3, power=1, factor=2) == 6
    assert list(inspect.signature(raised).parameters) == ["number", "factor", "power"]
    assert inspect.signature(raised).parameters["power"].default == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: raised(3, factor=1, root=2), r"raised\(\) got an unexpected keyword argument 'root'"),
        (lambda: raised(3), r"raised\(\) missing a required (keyword-only )?argument: 'factor'"),
        (lambda: raised(3, 2), r"raised\(\) too many positional arguments"),
        (lambda: raised(factor=2), r"raised\(\) missing a required argument: 'number'"),
    ],
)
def test_other_arguments_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_descriptions_stand_where_the_options_are():
    lines = [line.strip() for line in raised.__doc__.splitlines() if line.strip()]
    start = lines.index("number : float")
    assert lines[start : start + 8] == [
        "number : float",
        "The number.",
        "factor : float",
        "What the power is multiplied by.",
        "power : int, default=2",
        "The exponent.",
        "With a second paragraph.",
        "Returns",
    ]


def test_detection_takes_the_same_options_in_memory_and_in_partitions():
    in_memory = inspect.signature(ueba.detect).parameters
    in_partitions = inspect.signature(stream.StreamTable.detect).parameters
    common = {name: parameter for name, parameter in in_memory.items() if name not in ("table", "n_jobs")}
    assert len(common) == 14
    assert {name: in_partitions[name] for name in common} == common
    read = inspect.signature(ueba.read_table).parameters
    own = set(in_partitions) - set(common) - {"self"}
    assert own == {"entity", "time", "include", "exclude", "time_format", "timezone"}
    assert {name: in_partitions[name].default for name in own} == {name: read[name].default for name in own}
    for function in (ueba.detect, stream.StreamTable.detect):
        for name in inspect.signature(function).parameters:
            assert name == "self" or f"\n{name} : " in function.__doc__, name
