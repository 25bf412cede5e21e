"""s3prl's own names: exact from a local copy, untouched without one."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness_bench.upstream.harness.expert import UpstreamExpert

from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.bridges import hub_names
from tests.upstream.conftest import waves

pytestmark = pytest.mark.s3prl
STOCK = hub._stock_index()
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
    published._published("", name, 3, 32)(folder)
    assert not capsys.readouterr().err


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """s3prl would go on with the published weights."""
    with pytest.raises(ValueError, match="there is no such folder or file"):
        hub.xls_r_300m(ckpt=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is not a checkpoint folder"):
        hub.xls_r_300m(ckpt=str(tmp_path))
