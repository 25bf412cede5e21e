"""s3prl's own names: exact from a local copy, untouched without one."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_bench.upstream.harness.expert import UpstreamExpert

from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.bridges import hub_names
from tests.upstream.conftest import waves

pytestmark = pytest.mark.s3prl
STOCK = hub.stock_index()
NAMES = sorted(set(hub.own_names()) & set(STOCK))


def test_the_papers_baselines_are_among_them() -> None:
    """Table 2 compares with HuBERT-L and XLS-R; FBANK stays s3prl's own."""
    assert {"hubert_large_ll60k", "hubert", "xls_r_300m"} <= set(NAMES)
    assert hub.index()["fbank"] == STOCK["fbank"]


@pytest.mark.parametrize("name", NAMES)
def test_without_minus_k_it_is_s3prls_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published weights, fetched by s3prl as ever, with the arguments its runner gives."""
    hub_names()  # s3prl's own upstreams cannot be imported without it
    stock = importlib.import_module(STOCK[name])
    monkeypatch.setattr(stock, name, lambda **settings: ("stock", settings))
    found = getattr(hub, name)(ckpt=None, model_config=None, refresh=True)
    assert found == ("stock", {"model_config": None, "refresh": True})


@pytest.mark.parametrize(
    ("name", "kind"),
    [("hubert_large_ll60k", "hubert_layer"), ("hubert", "hubert_group"),
     ("xls_r_300m", "wav2vec2_layer"), ("wav2vec2", "wav2vec2_group")],
)  # fmt: skip
@torch.no_grad()
def test_a_local_copy_is_opened_exactly(
    folder_of: Callable[[str], Path], name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """s3prl's own would ignore -k and fetch its file; another shape is opened and said.

    The sentence would be noise beside the right model.
    """
    folder, wavs = str(folder_of(kind)), waves([8_000, 5_000])
    ours = getattr(hub, name)(ckpt=folder, model_config=None, refresh=False)
    local = hub.harness_local(folder)
    assert isinstance(ours, UpstreamExpert)
    for mine, other in zip(ours(wavs)["hidden_states"], local(wavs)["hidden_states"], strict=True):
        assert torch.equal(mine, other)
    assert f"the published {name} has" in capsys.readouterr().err
    published = importlib.import_module("harness_bench.upstream.published.hubconf")
    published._published("", name, kind.partition("_")[0], (3, 32))(folder)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "family", ["baseline", "hubert", "wavlm", "wav2vec2", "hf_hubert", "vq_apc"]
)
def test_who_takes_minus_k_is_told_by_the_source(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against calling s3prl's functions: the path given must reach what makes the model, or not."""
    hub_names()
    given, other = tmp_path / "given", tmp_path / "other"
    given.touch()
    other.touch()
    module = importlib.import_module(f"s3prl.upstream.{family}.hubconf")
    reached: list[object] = []

    for source in (module, importlib.import_module("s3prl.upstream.apc.hubconf")):
        real = inspect.signature(vars(source).get("_UpstreamExpert", object).__init__)

        def expert(*arguments: Any, real: inspect.Signature = real, **settings: Any) -> None:
            bound = real.bind(None, *arguments, **settings).arguments
            reached.extend(value for name, value in bound.items() if name != "kwargs")

        monkeypatch.setattr(source, "_UpstreamExpert", expert, raising=False)
        monkeypatch.setattr(
            source, "_urls_to_filepaths", raising=False,
            value=lambda url, **_: str(other) if str(url).startswith("http") else url,
        )  # fmt: skip
    names = [name for name, place in STOCK.items() if place == module.__name__ and name.islower()]
    for name in set(names) - {"load_and_convert_fairseq_ckpt"}:
        reached.clear()
        settings = {"model_config": str(other)} if family == "baseline" else {}
        getattr(module, name)(ckpt=str(given), **settings)
        # Of a name that ours stands before, s3prl's own function is asked.
        assert hub._takes(module.__name__, name) == (str(given) in reached), name


def test_a_checkpoint_is_opened_or_refused(tiny_checkpoint: Path) -> None:
    """FBANK under the name of a model would be a row of figures that nothing shows to be wrong."""
    assert hub.checkpoint_of("harness_local", tiny_checkpoint) == tiny_checkpoint
    assert hub.checkpoint_of("fbank_cached", None) is hub.checkpoint_of("wavlm", None) is None
    for name in ("fbank", "fbank_cached", "mfcc", "distilhubert", "byol_a_2048", "cvhubert"):
        with pytest.raises(ValueError, match=f"{name} takes no checkpoint.*harness_local"):
            hub.checkpoint_of(name, tiny_checkpoint)
    for name in ("wavlm_local", "hubert_custom", "harness_local"):
        with pytest.raises(ValueError, match=f"{name} needs a checkpoint"):
            hub.checkpoint_of(name, None)
    with pytest.raises(ValueError, match="did you mean fbank"):
        hub.checkpoint_of("fbanks", None)
    with pytest.raises(ValueError, match="fbank_cached takes no checkpoint"):
        hub.fbank_cached(ckpt=str(tiny_checkpoint))


@pytest.mark.parametrize("name", ["wavlm", "data2vec_large_ll60k", "xls_r_300m"])
def test_a_model_of_another_type_is_refused(name: str, tiny_checkpoint: Path) -> None:
    """It would stand under the published model's name."""
    with pytest.raises(ValueError, match=f"{name} -k .*'hubert'.*harness_local"):
        getattr(hub, name)(ckpt=str(tiny_checkpoint))


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """s3prl would go on with the published weights."""
    with pytest.raises(ValueError, match="there is no such file or folder"):
        hub.xls_r_300m(ckpt=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is not a checkpoint folder"):
        hub.xls_r_300m(ckpt=str(tmp_path))
