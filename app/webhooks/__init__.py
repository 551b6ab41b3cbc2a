"""Tells users' servers what became of their jobs: takes notices out of the outbox, and sends each at least once."""
