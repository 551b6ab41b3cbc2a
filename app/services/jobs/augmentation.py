"""Whether what is to be done to examples in training suits them: known before any is read."""

from app.contract.compatibility import augmentations
from app.contract.errors import FieldError, InvalidRequest
from app.contract.model_folder import BodyDescription
from app.contract.specs.job import FinetuneSpec, PretrainSpec

LOCATION = "training.augmentation"


def check_augmentation(spec: PretrainSpec | FinetuneSpec, body: BodyDescription) -> None:
    """Raises InvalidRequest, naming what would fit."""
    asked = spec.training.augmentation
    if asked is None:
        return
    fitting = augmentations((spec.kind, spec.method.type), body.input)
    for name, value in asked:
        if value is not None and name not in fitting:
            would_fit = f"What fits is {' or '.join(sorted(fitting))}" if fitting else "Nothing of the kind fits"
            raise _refused(
                f"{name} is {value}, and does not fit {spec.method.type} on {body.input} examples. {would_fit}. "
                f"Leave {name} out.",
                name,
            )
    if asked.shift_pixels is not None and body.input_shape is not None:
        _check_shift(asked.shift_pixels, body.input_shape)


def _check_shift(pixels: int, image_shape: tuple[int, ...]) -> None:
    _, height, width = image_shape
    if pixels >= min(height, width):
        raise _refused(
            f"shift_pixels is {pixels}, which moves images of {height}x{width} pixels out of sight. "
            f"Give less than {min(height, width)}.",
            "shift_pixels",
        )


def _refused(message: str, name: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError(location=f"{LOCATION}.{name}", message=message)])
