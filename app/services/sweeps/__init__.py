"""The rules of sweeps: one job trained many times, what is tried, and what comes of it."""
