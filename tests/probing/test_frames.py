"""Heads take the frames of an utterance from their upstream's shape."""

from types import SimpleNamespace
from typing import Any

from harness_bench.models.frozen import ModelShape
from harness_bench.probing.s3prl.frames import shape_of_upstream, tell_shape

SLOW = ModelShape(hidden_size=4, num_layers=2, downsample_rate=640, receptive_field=1040)


def test_ours_says_its_own_and_others_the_samples_between_frames() -> None:
    """400 samples a frame is what s3prl's upstreams and ours of 20 ms have in common."""
    stock = SimpleNamespace(get_downsample_rates=lambda _: 160)
    assert shape_of_upstream(stock).frames(560) == 2
    ours = SimpleNamespace(backbone=SimpleNamespace(shape=SLOW))
    assert shape_of_upstream(ours) is shape_of_upstream(SimpleNamespace(module=ours)) is SLOW


def test_s3prls_runner_tells_heads_of_ours() -> None:
    """Once, however often it is applied; heads of other projects are left alone."""
    heads = [SimpleNamespace(shape=ModelShape(4, 0, 640, 400)), SimpleNamespace(shape="oblong")]

    class Runner:
        made = 0
        upstream = SimpleNamespace(model=SimpleNamespace(backbone=SimpleNamespace(shape=SLOW)))

        def _get_downstream(self) -> Any:
            self.made += 1
            return SimpleNamespace(model=heads[self.made - 1])

    for _ in range(2):
        tell_shape(SimpleNamespace(Runner=Runner))
    runner = Runner()
    runner._get_downstream()
    runner._get_downstream()
    assert (heads[0].shape, heads[1].shape, runner.made) == (SLOW, "oblong", 2)
