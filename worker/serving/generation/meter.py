"""Who is told what generating text takes. Knows nothing of where the figures go."""

from typing import Protocol


class TextMeter(Protocol):
    """Of one model. From any thread."""

    def waited(self, seconds: float) -> None:
        """A request, from its arrival until the first of its prompt is read."""

    def computed(self, num_rows: int, seconds: float) -> None:
        """A step, and how many texts were in hand."""

    def began(self, seconds: float) -> None:
        """The first token of a text is there, so long after the request."""

    def generated(self, num_tokens: int) -> None:
        """A text has ended, or its reader has gone."""


class Unmetered:
    """For those whom nobody asks."""

    def waited(self, seconds: float) -> None:
        pass

    def computed(self, num_rows: int, seconds: float) -> None:
        pass

    def began(self, seconds: float) -> None:
        pass

    def generated(self, num_tokens: int) -> None:
        pass
