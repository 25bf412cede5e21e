"""Metrics, one file each, found by looking into this folder.

A metric file provides:

- `NAME`: its key in a result, such as `wer`.
- `KIND`: `class` or `text`; says which sufficient statistics it reads (`scoring/statistics.py`).
- `HIGHER_IS_BETTER` and `UNIT`.
- `value(totals)`: the metric of one or many sums of statistics at once. `totals` is an array
  (..., 3, classes) for `class` and (..., 2, 4) for `text`; the answer is an array (...), NaN
  where the metric is undefined. Working on sums is what makes the bootstrap fast.
"""
