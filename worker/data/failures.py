"""What can be wrong with valid records once a method tries to learn from them."""


class BadData(Exception):
    """The user's data cannot teach this method; the message says why and what would help."""
