"""The base of every contract type: frozen, strict, and closed to unknown keys.

The contract is what two processes must agree on. It imports pydantic and the standard library, nothing else.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Text that every database keeps: PostgreSQL takes no NUL.
PlainText = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class Contract(BaseModel):
    """An immutable value that crosses a process boundary.

    Strict: `"500"` is no integer and `true` is no number. Numbers are finite: NaN and Infinity are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
