"""A model's answers to all records of a data set: one attempt of such a job. Predictors as in serving, no HTTP.

`records` data as inputs; `answers` inputs to outputs; `parts` what is kept; `run` an attempt from its assignment on.
"""
