"""Who is told what generating text takes. Knows nothing of where the figures go."""

from typing import Protocol


class TextMeter(Protocol):
    """Is told of each text by whoever reads it."""

    def began(self, seconds: float) -> None:
        """The first token is there, so long after the request."""

    def generated(self, num_tokens: int) -> None:
        """The text has ended, or its reader has gone."""


class Unmetered:
    """For those whom nobody asks."""

    def began(self, seconds: float) -> None:
        pass

    def generated(self, num_tokens: int) -> None:
        pass
