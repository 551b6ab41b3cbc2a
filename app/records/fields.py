"""One value of one field, checked. Knows no file type and no place: a BadValue says what is wrong."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contract.model_folder import Label
from app.records.limits import MAX_INTEGER_BITS, MAX_LABEL_CHARACTERS, MAX_RECORD_BYTES, MIB
from app.records.problems import BadValue, shown

FLOAT32_MAX = float(np.finfo(np.float32).max)


def string(name: str, value: Any) -> str:
    """Text that can be written as UTF-8: JSON's escapes can smuggle in lone surrogates."""
    if not isinstance(value, str):
        raise BadValue(f"{name} must be a string, not {shown(value)}.")
    if len(value) > MAX_RECORD_BYTES:
        raise BadValue(f"{name} is longer than {MAX_RECORD_BYTES // MIB} MiB.")
    if not value.isascii():
        _encodable(name, value)
    return value


def _encodable(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"{name} holds a lone surrogate at character {error.start}.") from None


def filled_string(name: str, value: Any) -> str:
    text = string(name, value)
    if not text or text.isspace():
        raise BadValue(f"{name} is empty.")
    return text


def label(value: Any) -> Label:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise BadValue(f"label {shown(value)} does not fit in 64 bits.")
        return value
    if isinstance(value, str):
        return _label_string(value)
    if value is None:
        raise BadValue("label is missing.")
    raise BadValue(f"label must be a string, an integer or a boolean, not {shown(value)}.")


def _label_string(value: str) -> str:
    if not value:
        raise BadValue("label is empty.")
    if len(value) > MAX_LABEL_CHARACTERS:
        raise BadValue(f"label is longer than {MAX_LABEL_CHARACTERS:,} characters.")
    return string("label", value)


class Labels:
    """Labels of one type: `1` and `"1"` in one file are a mistake, and so is any other mixture."""

    def __init__(self) -> None:
        self._type: type | None = None

    def __call__(self, value: Any) -> Label:
        checked = label(value)
        if self._type is None:
            self._type = type(checked)
        elif type(checked) is not self._type:
            raise BadValue(
                f"label {shown(checked)} is of type {type(checked).__name__}, the labels before it of type "
                f"{self._type.__name__}: all must be of one type."
            )
        return checked


def number(name: str, value: Any) -> float:
    """A finite number that a 32-bit float can hold, already typed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{name} is missing." if value is None else f"{name} must be a number, not {shown(value)}.")
    return _finite(name, value)


def parsed_number(name: str, value: str) -> float:
    """A finite number written in a CSV cell: ASCII digits, without `_`."""
    if not value or value.isspace():
        raise BadValue(f"{name} is missing.")
    try:
        if "_" in value or not value.isascii():
            raise ValueError(value)
        parsed = float(value)
    except ValueError:
        raise BadValue(f"{name} must be a number, not {shown(value)}.") from None
    return _finite(name, parsed)


def _finite(name: str, value: float) -> float:
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:  # false for NaN too
        kind = "finite" if isinstance(value, float) and not math.isfinite(value) else "within the range of a float32"
        raise BadValue(f"{name} must be {kind}, not {shown(value)}.")
    return float(value)


def numbers(name: str, value: Any) -> list[float]:
    """A list of finite numbers, at least one."""
    if not isinstance(value, list):
        raise BadValue(f"{name} must be a list of numbers, not {shown(value)}.")
    if not value:
        raise BadValue(f"{name} is empty.")
    if set(map(type, value)) <= {int, float} and all(-FLOAT32_MAX <= item <= FLOAT32_MAX for item in value):
        return value
    return [number(f"{name}[{index}]", item) for index, item in enumerate(value)]


def number_or_numbers(name: str, value: Any) -> list[float]:
    return numbers(name, value) if isinstance(value, list) else [number(name, value)]


class SameLength:
    """Vectors of the first one's length."""

    def __init__(self, name: str, read: Callable[[str, Any], Sequence[float]]) -> None:
        self._name = name
        self._read = read
        self._length: int | None = None

    def __call__(self, value: Any) -> NDArray[np.float32]:
        values = self._read(self._name, value)
        if self._length is None:
            self._length = len(values)
        elif len(values) != self._length:
            raise BadValue(f"{self._name} has {len(values):,} numbers, the first record has {self._length:,}.")
        return np.asarray(values, dtype=np.float32)


def strings(name: str, value: Any) -> tuple[str, ...]:
    """A list of tokens or of tags: strings with something in them, at least one."""
    if not isinstance(value, list):
        raise BadValue(f"{name} must be a list of strings, not {shown(value)}.")
    if not value:
        raise BadValue(f"{name} is empty.")
    return tuple(filled_string(f"{name}[{index}]", item) for index, item in enumerate(value))


def index_of(name: str, value: Any, length: int) -> int:
    """Which of `length` tokens, from 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue(f"{name} must be the index of a token, not {shown(value)}.")
    if not 0 <= value < length:
        raise BadValue(f"{name} {shown(value)} is no index of the {length} tokens (from 0).")
    return value
