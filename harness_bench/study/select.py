"""Some jobs of a study, with all that they need."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from harness_bench.study.job import StudyJob


def select(jobs: Mapping[str, StudyJob], patterns: Sequence[str]) -> dict[str, StudyJob]:
    """Return the jobs that patterns name, in order, with all jobs that they wait for.

    A pattern is the name of a job, its kind, or words of its name, such as a model or a task; `*`
    stands for anything. Jobs that nothing waits for, such as the board, are made of those that are
    chosen of what they want.

    Raises:
        ValueError: a pattern that names no job.
    """
    if not patterns:
        return dict(jobs)
    chosen: set[str] = set()
    for pattern in patterns:
        found = _matching(jobs, pattern)
        if not found:
            known = _known(jobs, pattern)
            raise ValueError(f"--only {pattern!r} names no job of this study. {known}")
        chosen |= found
    for name in reversed(list(jobs)):  # each stands behind those that it waits for
        if name in chosen:
            chosen |= {*jobs[name].after, *jobs[name].wants}
    waited = {name for job in jobs.values() for name in (*job.after, *job.wants)}
    selected: dict[str, StudyJob] = {}
    for name, job in jobs.items():
        if name in chosen:
            selected[name] = job
        elif name not in waited and chosen.issuperset(job.after):
            wants = tuple(each for each in job.wants if each in chosen)
            if wants:
                selected[name] = replace(job, wants=wants)
    return selected


def _matching(jobs: Mapping[str, StudyJob], pattern: str) -> set[str]:
    inner = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    words, kind = re.compile(rf"(^| )({inner})( |$)"), re.compile(inner)
    return {
        name for name, job in jobs.items() if words.search(name) or kind.fullmatch(job.kind)
    }  # fmt: skip


def _known(jobs: Mapping[str, StudyJob], pattern: str) -> str:
    kinds = ", ".join(dict.fromkeys(job.kind for job in jobs.values()))
    near: Collection[str] = get_close_matches(pattern, jobs, 3)
    like = f" Names like it: {', '.join(near)}." if near else ""
    return f"Kinds: {kinds}.{like} `--dry-run --json` lists the jobs."
