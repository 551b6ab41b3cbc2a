"""What may be an alias."""

import re

from app.contract.errors import FieldError, InvalidRequest

#: No alias can be taken for an id, nor hold a slash, which would end the part of a path that it stands in.
ALIAS = re.compile(r"(?!(?:job|model|ds|swp|key)_)[A-Za-z0-9][A-Za-z0-9._:@+-]{0,199}")


def check_alias(alias: str) -> None:
    """Raises InvalidRequest."""
    if not ALIAS.fullmatch(alias):
        message = (
            f"{alias[:60]!r} cannot be an alias: that is up to 200 letters, digits and . _ : @ + -, starts with a "
            "letter or a digit, and not with the prefix of an id, such as model_."
        )
        raise InvalidRequest(message, errors=[FieldError(location="alias", message=message)])
