"""Trials that decide what a job leaves `auto`. Know no method: each builds the job's own anew, in short."""
