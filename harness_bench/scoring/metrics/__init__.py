"""Metrics, one file each, found by looking into this folder.

A metric file provides:

- `NAME`: its key in a result, such as `wer`.
- `KIND`: `class`, `text` (one reference) or `references` (several); says which sufficient
  statistics it reads (`scoring/statistics.py`).
- `HIGHER_IS_BETTER` and `UNIT`.
- `value(totals)`: the metric of one or many sums of statistics at once. `totals` is an array
  (..., 3, classes) for `class`, (..., 2, 4) for `text` and (..., 1 + 2 R, 4) for R `references`;
  the answer is an array (...), NaN where the metric is undefined. Working on sums is what makes
  intervals and tests fast.
"""
