"""Pictures as arrays: uint8 [C, H, W], one channel for grey and three for colour. Knows no file of many.

Serving reads a picture by the same function as training, so that both see the same pixels.
"""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin

from app.records.limits import MAX_IMAGE_PIXELS, MAX_RECORD_BYTES, MIB
from app.records.problems import BadValue

FORMATS = ("PNG", "JPEG")
#: Modes of Pillow by what they become. Transparency is dropped; 16-bit and float pictures are refused.
GREY_MODES = frozenset({"1", "L", "LA", "La"})
COLOUR_MODES = frozenset({"RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr"})

Image.MAX_IMAGE_PIXELS = MAX_IMAGE_PIXELS
ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_MEMORY = MIB


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """PNG or JPEG bytes -> uint8 [C, H, W]. Raises BadValue; knows no trust in the bytes."""
    if len(data) > MAX_RECORD_BYTES:
        raise BadValue(f"The picture is larger than {MAX_RECORD_BYTES // MIB} MiB.")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            return _pixels(image)
    except (BadValue, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a damaged picture raises nearly anything, from SyntaxError to struct.error
        raise BadValue(f"The bytes are no readable PNG or JPEG: {str(error)[:100] or type(error).__name__}.") from None


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise BadValue(f"The picture has {image.width} x {image.height} pixels; at most {MAX_IMAGE_PIXELS:,}.")
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"), dtype=np.uint8)[np.newaxis]
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
    raise BadValue(f"The picture's pixels are of mode {image.mode!r}; 8-bit grey or colour is taken.")


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 [C, H, W] of 1 or 3 channels -> PNG."""
    array = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG")
    return buffer.getvalue()
