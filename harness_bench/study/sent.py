"""Workers that are sent to a cluster: what its scheduler refuses is kept, and tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from distributed.core import Status

from harness_bench.study.clusters import job_class

if TYPE_CHECKING:
    from harness_bench.study.clusters import EngineKind


def worker_class(kind: EngineKind, refused: list[str]) -> Any:
    """Return dask-jobqueue's class of a scheduler's jobs; what is refused goes into `refused`.

    Dask itself would count a refused one as started, and fail over it at the end.
    """

    class SentWorker(job_class(kind)):  # type: ignore[misc]
        """One job of the cluster, which has a `job_id` unless it was refused."""

        @override
        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, OSError, ValueError) as error:
                refused.append(str(error).strip())
                self.status = Status.running

    return SentWorker
