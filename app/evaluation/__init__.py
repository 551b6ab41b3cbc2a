"""What units of data say of a model, and of two: figures, their intervals, tests. numpy alone; no model, no database.

`units` arrays by name, in a file; `sheet` what adds up; `tallies` a method's figures as functions of sums;
`resampling` sums of resampled units; `reporting` one model; `comparing` two.
"""
