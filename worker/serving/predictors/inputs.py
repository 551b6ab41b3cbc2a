"""Reads what users send as one input: a text, features or an image. A refusal says what it got and what it takes.

Legend: F features, C channels, H height, W width.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.contract.errors import FieldError
from app.contract.parameters import MAX_TEXT_CHARACTERS
from app.records.images import decode_image
from app.records.problems import BadValue
from worker.serving.errors import InvalidInput

Value = TypeVar("Value")

MAX_INPUTS = 1_000
MAX_ERRORS_TOLD = 20
SHOWN_CHARACTERS = 40


def read_each(inputs: Sequence[Any], read: Callable[[Any], Value]) -> list[Value]:
    """`read` for each input; raises InvalidInput with every wrong one at its place (`inputs.3`)."""
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise InvalidInput(
            f"The request has {len(inputs):,} inputs; between 1 and {MAX_INPUTS:,} are taken.",
            errors=[FieldError(location="inputs", message=f"between 1 and {MAX_INPUTS:,} inputs are taken")],
        )
    values: list[Value] = []
    errors: list[FieldError] = []
    for index, value in enumerate(inputs):
        try:
            values.append(read(value))
        except BadValue as error:
            errors.append(FieldError(location=f"inputs.{index}", message=str(error)))
    if errors:
        raise InvalidInput(
            f"{len(errors)} of {len(inputs)} inputs are refused. {errors[0].location}: {errors[0].message}",
            errors=errors[:MAX_ERRORS_TOLD],
        )
    return values


def read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue(f"This model takes a text (a string), and got {shown(value)}.")
    if len(value) > MAX_TEXT_CHARACTERS:
        raise BadValue(f"The text has {len(value):,} characters; at most {MAX_TEXT_CHARACTERS:,} are taken.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"The text holds a lone surrogate at character {error.start}.") from None
    return value


def read_features(value: Any, num_features: int) -> NDArray[np.float32]:
    """-> float32 [F]"""
    if isinstance(value, dict) and set(value) == {"features"}:
        value = value["features"]
    if not isinstance(value, list):
        raise BadValue(f"This model takes a list of {num_features} numbers, and got {shown(value)}.")
    if len(value) != num_features:
        raise BadValue(f"This model takes {num_features} features, and got {len(value)}.")
    for place, number in enumerate(value):
        if type(number) is not float and type(number) is not int:
            raise BadValue(f"Feature {place} is {shown(number)}; features are numbers.")
    try:
        return _finite(np.asarray(value, dtype=np.float64))
    except OverflowError:
        raise BadValue("A feature is an integer beyond what a float holds.") from None


def read_image(value: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """-> float32 [C, H, W] of pixel values 0..255"""
    pixels = _decoded(value) if isinstance(value, str) else _nested(value, shape)
    if pixels.ndim == 2:
        pixels = pixels[np.newaxis]
    if pixels.shape != shape:
        raise BadValue(f"This model takes images of {_size(shape)}, and got one of {_size(pixels.shape)}.")
    return pixels.astype(np.float32)


def shown(value: Any) -> str:
    """A value in a message: its kind, and enough of it to find it again."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with the keys {sorted(value)[:5]}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _decoded(value: str) -> NDArray[Any]:
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadValue("An image given as a string is a PNG or JPEG in base64; this is no base64.") from None
    return decode_image(data)


def _nested(value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    takes = f"This model takes images of {_size(shape)}: nested lists of pixel values, or a PNG or JPEG in base64"
    if not isinstance(value, list):
        raise BadValue(f"{takes}. It got {shown(value)}.")
    try:
        pixels = np.asarray(value)
    except ValueError:
        raise BadValue(f"{takes}. The lists given are of unlike lengths.") from None
    if pixels.ndim not in {2, 3} or pixels.dtype.kind not in "iuf":
        raise BadValue(f"{takes}. It got nested lists of depth {pixels.ndim} that hold {pixels.dtype}.")
    if not ((pixels >= 0) & (pixels <= 255)).all():
        raise BadValue("Pixel values lie between 0 and 255.")
    return pixels


def _finite(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    if not np.isfinite(single).all():
        place = int(np.flatnonzero(~np.isfinite(single))[0])
        raise BadValue(f"Feature {place} is {numbers[place]}, beyond what a 32-bit float holds.")
    return single


def _size(shape: tuple[int, ...]) -> str:
    """[C, H, W] in words."""
    channels, height, width = shape
    return f"{width} x {height} pixels and {channels} channel{'' if channels == 1 else 's'}"
