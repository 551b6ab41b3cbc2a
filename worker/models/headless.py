"""A body that came without the head of its method."""

from torch import nn

from worker.models.body import Body


class Headless(nn.Module):
    """What an import of a body alone gives: it embeds, and fine-tunes put their heads on it."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body
