"""How good a model is on a data set: one attempt of such a job. What each unit adds, part by part; then the report.

`scorer` what is asked of a method; `examples`, `tags` and `text` answer it; `run` an attempt from its assignment on.
"""
