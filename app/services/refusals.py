"""What pydantic refuses, told in the user's own words: where in the body, what stands there, what it takes.

pydantic locates an error by the variants that it went through (`pretrain.method.autoencoder.architecture.mlp.width`).
Users know only their own keys, so each location is walked along the types, which tell variants from keys.
"""

import json
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from app.contract.base import PlainText
from app.contract.errors import FieldError, InvalidRequest

#: An answer is for reading: beyond these, errors are only counted.
MAX_ERRORS = 20
SHOWN_CHARACTERS = 60
_EXPECTATION = "Input should be "
_NO_NUL = get_args(PlainText)[1].metadata[0].pattern

Model = TypeVar("Model", bound=BaseModel)
Error = Mapping[str, Any]


def validated(model: type[Model], data: object) -> Model:
    """`data` as a `model`. Raises InvalidRequest. For what users sent other than as the body that FastAPI reads."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False), lambda loc: place_in(model, loc)) from None


class Place(NamedTuple):
    """A user's path into the input, and the type that is wanted there."""

    keys: tuple[str, ...]
    wanted: Any
    #: The type that the last key stands in.
    within: Any


def refusal(errors: Sequence[Any], place_of: Callable[[tuple[int | str, ...]], Place]) -> InvalidRequest:
    """pydantic's `errors`, each told at the place that `place_of` finds for its location."""
    located: dict[str, list[tuple[Error, Place]]] = {}
    for error in errors[:MAX_ERRORS]:
        place = place_of(error["loc"])
        located.setdefault(".".join(_keys(error, place)), []).append((error, place))
    told = [FieldError(location=location, message=_message(found)) for location, found in located.items()]
    first = f"{told[0].location}: {told[0].message}" if told[0].location else told[0].message
    more = len(errors) - len(located[told[0].location])
    return InvalidRequest(f"{first} (And {more} more.)" if more else first, errors=told)


def _keys(error: Error, place: Place) -> tuple[str, ...]:
    """A union's own error is one of the field that tells its variants apart."""
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return (*place.keys, _discriminator(error))
    return place.keys


def _message(found: list[tuple[Error, Place]]) -> str:
    """Several errors at one place are the choices of a union: one sentence tells them all."""
    [(error, place), *others] = found
    if others and all(each["msg"].startswith(_EXPECTATION) for each, _ in found):
        choices = " or ".join(dict.fromkeys(_choice(each) for each, _ in found))
        return f"Must be {choices}, not {shown(error['input'])}."
    return _single_message(error, place)


def _choice(error: Error) -> str:
    return "an object" if _MESSAGES.get(error["type"]) is _no_object else error["msg"].removeprefix(_EXPECTATION)


def _single_message(error: Error, place: Place) -> str:
    told = _MESSAGES.get(error["type"])
    if told is not None:
        return told(error, place)
    if error["msg"].startswith(_EXPECTATION):
        return f"Must be {error['msg'].removeprefix(_EXPECTATION)}, not {shown(error['input'])}."
    return f"{error['msg']}; got {shown(error['input'])}."


def _missing(_error: Error, place: Place) -> str:
    if not place.keys:
        return "The request needs a body: JSON, with Content-Type: application/json."
    name = place.keys[-1]
    field = place.within.model_fields.get(name) if _is_model(place.within) else None
    described = field.description.rstrip(".") if field is not None and field.description else ""
    return f"{name} is required: {described}." if described else f"{name} is required."


def _unknown_field(_error: Error, place: Place) -> str:
    known = list(place.within.model_fields) if _is_model(place.within) else []
    if place.keys[-1] in getattr(place.within, "inherited", ()):
        return f"{place.keys[-1]} is the parent's: leave it out."
    return f"There is no field {shown(place.keys[-1])} here. {_hint(place.keys[-1], known)}"


def _no_variant(error: Error, place: Place) -> str:
    name = _discriminator(error)
    return f"{name} is required: one of {', '.join(_tags(place.wanted, name))}."


def _unknown_variant(error: Error, place: Place) -> str:
    name, given = _discriminator(error), error["ctx"]["tag"]
    choices = _tags(place.wanted, name)
    return f"There is no {name} {shown(given)} here. {_hint(given, choices)}"


def _rule_broken(error: Error, _place: Place) -> str:
    text = str(error["ctx"]["error"])
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _wrong_text(error: Error, _place: Place) -> str:
    if error["ctx"]["pattern"] == _NO_NUL:
        return "The text holds a NUL character, which cannot be stored."
    return f"Must match {error['ctx']['pattern']}, not {shown(error['input'])}."


def _no_object(error: Error, _place: Place) -> str:
    return f"Must be an object, not {shown(error['input'])}."


_MESSAGES: dict[str, Callable[[Error, Place], str]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_field,
    "union_tag_not_found": _no_variant,
    "union_tag_invalid": _unknown_variant,
    "value_error": _rule_broken,
    "string_pattern_mismatch": _wrong_text,
    "model_type": _no_object,
    "model_attributes_type": _no_object,
    "dict_type": _no_object,
}


def shown(value: object) -> str:
    """Enough of a value to find it again, as JSON."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _hint(given: str, known: Sequence[str]) -> str:
    """The key or the value that was meant, or else all there are."""
    close = get_close_matches(given[:SHOWN_CHARACTERS], known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}." if known else "Leave it out."


def _discriminator(error: Error) -> str:
    """pydantic quotes it."""
    return str(error["ctx"]["discriminator"]).strip("'")


def place_in(annotation: Any, loc: Sequence[int | str]) -> Place:
    """Walks a location along the types. Beyond types that are known, each part counts as a key."""
    keys: tuple[str, ...] = ()
    within, wanted = None, annotation
    for part in loc:
        variants = _variants(wanted)
        if len(variants) > 1:
            wanted = next((variant for variant in variants if part in _names(variant)), None)
        elif part != "[key]":
            within, wanted = variants[0], _step(variants[0], part)
            keys = (*keys, str(part)[:SHOWN_CHARACTERS])
    return Place(keys, wanted, within)


def _variants(annotation: Any) -> list[Any]:
    """What may stand there, null aside: more than one only for a union."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in {Union, types.UnionType}:
        return [annotation]
    return [member for member in get_args(annotation) if member is not types.NoneType]


def _step(annotation: Any, part: int | str) -> Any:
    """The type at one key or index of a type."""
    if _is_model(annotation):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field is not None else None
    if get_origin(annotation) in {dict, list, tuple}:
        arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
        return arguments[-1]
    return None


def _names(variant: Any) -> set[str]:
    """What pydantic may call a variant in a location: the value that tells it apart, or its type's name."""
    if not _is_model(variant):
        return {str(getattr(variant, "__name__", variant))}
    literals = [field.annotation for field in variant.model_fields.values() if get_origin(field.annotation) is Literal]
    return {variant.__name__, *(str(value) for literal in literals for value in get_args(literal))}


def _tags(union: Any, discriminator: str) -> list[str]:
    """The values that tell the variants of a union apart."""
    models = [variant for variant in _variants(union) if _is_model(variant)]
    return [str(value) for model in models for value in get_args(model.model_fields[discriminator].annotation)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
