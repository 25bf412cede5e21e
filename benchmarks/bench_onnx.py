"""What an exported graph saves beside its parent in torch: harness_mini and a random harness_st.

CPU seconds a second of audio on one thread, of an utterance of 10 s, and bytes on disk beside the
parent's weights in float32.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import TINY_MODEL, Rows, lower_is_better, versus
from harness_bench.deploy.checkpoint import checkpoint_subject
from harness_bench.deploy.convert import write_export
from harness_bench.models.checkpoint import save_random
from harness_bench.models.hub import locate
from harness_bench.models.runtime import Runtime
from harness_bench.pretrain.config import load_preset

_FORMS: tuple[Runtime, ...] = ("onnx", "onnx-int8")


def measure(*, tiny: bool = False) -> Rows:
    """Yield two rows of time and one of size for each model."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = TINY_MODEL if tiny else load_preset("harness_st").model
        save_random(folder / "harness_st", config, seed=0)
        models = {"st": folder / "harness_st"}
        if not tiny:
            models["mini"] = locate("harness_mini")
        for short, model in models.items():
            subject = checkpoint_subject(model)
            graphs = {form: write_export(subject, folder / form, form)[0] for form in _FORMS}
            for form, parity in graphs.items():
                what = f"harness_{short} as {form} beside torch in float32, one thread"
                yield lower_is_better(
                    f"{form}_{short}_vs_torch", parity.real_time_factor,
                    parity.parent_real_time_factor, "CPU s / audio s", note=versus(what, "torch"),
                )  # fmt: skip
            what, small = (
                f"harness_{short} in int8 beside its weights in float32",
                graphs["onnx-int8"],
            )
            yield lower_is_better(
                f"onnx-int8_{short}_size", small.disk_bytes / 1e6,
                small.parent_float32_bytes / 1e6, "MB", note=versus(what, "torch"),
            )  # fmt: skip
