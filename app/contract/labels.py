"""Labels: what sets a trainer apart from others, in words that its operator chooses and a job may ask for."""

from typing import Annotated

from pydantic import Field

MAX_LABELS = 16

#: `fast` or `zone=eu`: without the comma, which parts labels in the environment.
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}(=[A-Za-z0-9._/-]{1,63})?$")]
