"""Whether `auto` is worth its trials."""
