"""What keeps a service from starting, told so that its user can mend it."""


class CannotStart(Exception):
    """The message names the obstacle and the remedy."""
