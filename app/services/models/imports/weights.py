"""Files of safetensors, by their headers: what they hold is checked against what the model needs, then written as one.

A file is 8 bytes that tell the length of a header, the header (JSON: of each tensor its dtype, shape and place), and
numbers.
No number is read but to see that it is finite.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.contract.errors import FieldError
from app.contract.tensors import Shape, Shapes
from app.services.models.imports.problems import all_refused, refused
from app.services.uploads import IncomingFile
from app.storage import CHUNK_BYTES

MAX_HEADER_BYTES = 4 << 20
_LENGTH_BYTES = 8
#: Bytes of a number, its unsigned twin, and the bits of its exponent: all set in what is not finite. In the order that
#: safetensors files have them.
_FORMATS: dict[str, tuple[int, str, int]] = {
    "F32": (4, "<u4", 0x7F80_0000),
    "BF16": (2, "<u2", 0x7F80),
    "F16": (2, "<u2", 0x7C00),
}
_Place = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True)

    dtype: str
    shape: list[_Place]
    data_offsets: Annotated[list[_Place], Field(min_length=2, max_length=2)]


_HEADER = TypeAdapter(dict[str, _Entry])


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`start` to `end` of the file at `path`, in bytes; `filename` is what messages call it."""

    name: str
    dtype: str
    shape: Shape
    path: Path
    filename: str
    start: int
    end: int


def stored_tensors(path: Path, filename: str) -> list[StoredTensor]:
    """Raises InvalidRequest where the file is not whole and sound."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            raise refused(filename, "This is no safetensors file: its header is not there, or cut off.")
        header = _parsed(file.read(length), filename)
    begin = _LENGTH_BYTES + length
    tensors = [
        StoredTensor(name, entry.dtype, tuple(entry.shape), path, filename, *(begin + at for at in entry.data_offsets))
        for name, entry in header.items()
    ]
    _check_places(tensors, begin, size, filename)
    return tensors


def chosen(stored: Iterable[StoredTensor], wanted: Shapes, prefix: str) -> list[StoredTensor]:
    """Those that the model needs, under their names in a file of ours.

    Raises InvalidRequest where one is missing, has another shape or dtype, or is none that stock models have.
    """
    found: dict[str, StoredTensor] = {}
    errors: list[FieldError] = []
    for tensor in stored:
        name = _canonical(tensor.name, wanted, prefix)
        if name in found:
            errors.append(_wrong(tensor, "It is there twice."))
        elif name in wanted:
            found[name] = replace(tensor, name=name)
            errors += _mismatches(tensor, wanted[name])
        elif not _is_left_out(name):
            errors.append(_wrong(tensor, "The stock architecture has no such tensor."))
    errors += [FieldError(location=name, message="The tensor is missing.") for name in wanted if name not in found]
    if errors:
        raise all_refused(errors)
    return list(found.values())


def write_weights(tensors: Sequence[StoredTensor], into: IncomingFile) -> None:
    """One file, in the form that safetensors' own writer gives it: equal weights give equal bytes.

    Raises InvalidRequest where a number is not finite.
    """
    formats = [*_FORMATS]
    ordered = sorted(tensors, key=lambda tensor: (formats.index(tensor.dtype), tensor.name))
    into.write(_header(ordered))
    for tensor in ordered:
        _copy(tensor, into)


def _parsed(header: bytes, filename: str) -> Mapping[str, _Entry]:
    try:
        content = json.loads(header, object_pairs_hook=_object)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        return _HEADER.validate_python({name: told for name, told in content.items() if name != "__metadata__"})
    except (ValueError, RecursionError) as error:
        reason = f"{error.errors()[0]['msg']}" if isinstance(error, ValidationError) else str(error)
        raise refused(filename, f"The header of the safetensors file cannot be read: {reason}.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a tensor is told twice")
    return content


def _check_places(tensors: Sequence[StoredTensor], begin: int, size: int, filename: str) -> None:
    """Tensors fill the file, one behind the other."""
    expected = begin
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != expected or tensor.end < tensor.start:
            raise refused(filename, f"The tensor {tensor.name[:200]!r} does not begin where the one before it ends.")
        expected = tensor.end
    if expected != size:
        raise refused(
            filename, f"The file has {size:,} bytes, and its tensors end at {expected:,}: it was cut off, or damaged."
        )


def _canonical(name: str, wanted: Shapes, prefix: str) -> str:
    """As a file of the whole model has it: bodies alone lack the prefix; the first BERTs called weights of norms gamma,
    their biases beta, and the bias of the last layer that of a decoder."""
    if name.endswith((".LayerNorm.gamma", ".LayerNorm.beta")):
        name = name.replace(".gamma", ".weight").replace(".beta", ".bias")
    return f"{prefix}{name}" if name not in wanted and f"{prefix}{name}" in wanted else name


#: What stock files may hold beside what the model needs: constants, copies of tied weights, heads that are not ours.
_LEFT_OUT = (
    ".rotary_emb.inv_freq",
    ".attn.bias",
    ".attn.masked_bias",
    "embeddings.position_ids",
    "pooler.dense.weight",
    "pooler.dense.bias",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    "lm_head.weight",
)


def _is_left_out(name: str) -> bool:
    return name.endswith(_LEFT_OUT) or name == "decoder.weight"


def _mismatches(tensor: StoredTensor, shape: Shape) -> list[FieldError]:
    if tensor.dtype not in _FORMATS:
        return [_wrong(tensor, f"Its dtype {tensor.dtype[:20]!r} is not supported; {', '.join(_FORMATS)} are.")]
    if tensor.shape != shape:
        return [_wrong(tensor, f"Its shape is {list(tensor.shape)}; config.json asks for {list(shape)}.")]
    if tensor.end - tensor.start != prod(shape) * _FORMATS[tensor.dtype][0]:
        return [_wrong(tensor, "Its bytes are not as many as its shape and dtype ask for.")]
    return []


def _wrong(tensor: StoredTensor, message: str) -> FieldError:
    return FieldError(location=f"{tensor.filename}: {tensor.name[:200]}", message=message)


def _header(ordered: Sequence[StoredTensor]) -> bytes:
    content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in ordered:
        begin, end = end, end + tensor.end - tensor.start
        content[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    told = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    told += b" " * (-len(told) % _LENGTH_BYTES)
    return len(told).to_bytes(_LENGTH_BYTES, "little") + told


def _copy(tensor: StoredTensor, into: IncomingFile) -> None:
    import numpy as np  # noqa: PLC0415  it costs an api 0.1 s at start

    _, unsigned, exponent = _FORMATS[tensor.dtype]
    left = tensor.end - tensor.start
    with tensor.path.open("rb") as file:
        file.seek(tensor.start)
        while left:
            chunk = file.read(min(left, CHUNK_BYTES))
            if (np.frombuffer(chunk, unsigned) & exponent == exponent).any():
                raise all_refused([_wrong(tensor, "It holds a number that is not finite.")])
            into.write(chunk)
            left -= len(chunk)
