"""What a student is before its first update: random, averaged, sliced or projected."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from harness_bench.models.initialization import check_start, initialise
from harness_bench.models.thinning import blocks_of, choose_stream
from tests.models.conftest import small_config
from tests.models.low_rank import LowRank, block_diagonal

if TYPE_CHECKING:
    from harness_bench.models.hubert import Hubert, HubertConfig

WIDE = {
    "encoder_layers": 4, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 96,
    "encoder_attention_heads": 4,
}  # fmt: skip
THIN = {"encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48}
WIDTHS = ("slice", "svd")


def config(**changes: Any) -> HubertConfig:
    return small_config(**{**WIDE, **changes})


def lively(shape: HubertConfig, seed: int = 3, spread: float = 0.15) -> Hubert:
    """Build a teacher whose every weight, norm and bias matters."""
    generator = torch.Generator().manual_seed(seed)
    model = initialise(shape, "random", None, seed)
    for value in model.parameters():
        value.data += spread * torch.randn(value.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def teacher() -> Hubert:
    return lively(config())


def same(one: Hubert, other: Hubert) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope="module")
def waves() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(8)
    return torch.randn(6, 12_000, generator=generator), torch.full((6,), 12_000)


def run(model: Hubert, waves: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return all hidden states and the output, each (frames of all utterances, D) float64."""
    with torch.no_grad():
        found = model.eval()(*waves)
    flat = [state.flatten(0, 1).double() for state in found.hidden_states]
    return flat, found.output.flatten(0, 1).double()


def cka(one: Tensor, other: Tensor) -> float:
    """Return linear centred kernel alignment of (N, d) and (N, D): 1 is equal up to rotation."""
    one, other = one - one.mean(0), other - other.mean(0)
    norms = (one.T @ one).norm() * (other.T @ other).norm()
    return float((one.T @ other).norm() ** 2 / norms)


def test_blocks_are_means_of_runs(teacher: Hubert) -> None:
    """Blocks 0, 1 and 2, 3 are averaged; all else is the teacher's."""
    student = initialise(config(encoder_layers=2), "block_average", teacher, 0)
    source = teacher.state_dict()
    for name, value in student.state_dict().items():
        if name.startswith("encoder.layers."):
            number, rest = name.removeprefix("encoder.layers.").split(".", 1)
            pair = [source[f"encoder.layers.{2 * int(number) + i}.{rest}"] for i in (0, 1)]
            torch.testing.assert_close(value, (pair[0] + pair[1]) / 2)
        else:
            assert torch.equal(value, source[name]), name


@pytest.mark.parametrize("how", WIDTHS)
@pytest.mark.parametrize("heads", [4, 2])
def test_equal_widths_are_block_averages(teacher: Hubert, how: str, heads: int) -> None:
    """Bit-equal: a user who widens the student to the teacher's size gets the paper's way."""
    shape = config(encoder_layers=2, encoder_attention_heads=heads)
    averaged = initialise(shape, "block_average", teacher, 5)
    assert same(initialise(shape, how, teacher, 0), averaged)


@pytest.mark.parametrize("how", [*WIDTHS, "copy_extractor"])
def test_the_same_call_gives_the_same_weights(teacher: Hubert, how: str) -> None:
    """Ranks build their model alone; the caller's random state is not touched."""
    state = torch.get_rng_state()
    one, other = (initialise(config(**THIN), how, teacher, 4) for _ in range(2))
    assert same(one, other)
    assert torch.equal(state, torch.get_rng_state())
    ours, theirs = one.feature_extractor.state_dict(), teacher.feature_extractor.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_slices_are_entries_of_the_teacher(teacher: Hubert) -> None:
    """One subset of channels everywhere: rows, columns, norms, mask embedding and kernel."""
    shape = config(**{**THIN, "encoder_layers": 4})  # no averaging: entries can be found again
    student = initialise(shape, "slice", teacher, 0)
    where = [int((teacher.masked_spec_embed == x).nonzero()) for x in student.masked_spec_embed]
    assert where == sorted(set(where))
    groups = shape.conv_pos_groups
    assert [where[i] // (64 // groups) for i in range(0, 32, 32 // groups)] == list(range(groups))
    source, target = teacher.state_dict(), student.state_dict()
    name = "feature_projection.projection.weight"
    assert torch.equal(target[name], source[name][where])
    for ours, theirs in zip(blocks_of(student), blocks_of(teacher), strict=True):
        assert torch.equal(ours.layer_norm.weight, theirs.layer_norm.weight[where])
        assert torch.equal(ours.attention.out_proj.bias, theirs.attention.out_proj.bias[where])
        inner = theirs.feed_forward.intermediate_dense
        units = torch.isin(inner.bias, ours.feed_forward.intermediate_dense.bias)
        assert int(units.sum()) == 48
        torch.testing.assert_close(
            ours.feed_forward.intermediate_dense.weight, inner.weight[units][:, where] * 2**0.5
        )
        rows = [int((theirs.attention.q_proj.bias == x).nonzero()) for x in
                ours.attention.q_proj.bias]  # fmt: skip
        assert [row // 16 for row in rows] == [head for head in range(4) for _ in range(8)]
    dense = expanded(teacher)[:, where][:, :, where]
    torch.testing.assert_close(expanded(student), dense)


def expanded(model: Hubert) -> Tensor:
    """Return the positional kernel without groups: (K, D, D)."""
    conv = model.encoder.pos_conv_embed.conv
    parts = conv.weight.detach().unflatten(0, (conv.groups, -1)).permute(3, 0, 1, 2)
    return torch.stack([block_diagonal(list(tap)) for tap in parts])


@pytest.mark.parametrize("projected", [True, False])
def test_svd_reproduces_a_teacher_of_low_rank(
    waves: tuple[Tensor, Tensor], *, projected: bool
) -> None:
    """Where the thin student can do all that the teacher does, it does so from the start.

    Every hidden state of the student, put back by the basis, is the teacher's: stream, norms,
    scores, values and units at once. Without a projection the features are the student's stream.
    """
    channels = 24 if projected else 32
    shape = config(conv_dim=(24,) * 6 + (channels,))
    wide = LowRank(shape, 32).teacher(shape, features_are_stream=not projected)
    thin = config(**{**THIN, "encoder_layers": 4}, conv_dim=shape.conv_dim)
    assert thin.has_projection == projected
    student = initialise(thin, "svd", wide, 0)
    basis = choose_stream(thin, deepcopy(wide).double(), "svd").basis
    ours, theirs = run(student, waves), run(wide, waves)
    for mine, its in zip([*ours[0], ours[1]], [*theirs[0], theirs[1]], strict=True):
        assert float((mine @ basis.T - its).norm() / its.norm()) < 1e-4
    assert float((theirs[0][-1] - theirs[0][0]).norm() / theirs[0][0].norm()) > 0.3  # blocks act


def test_basis_is_orthonormal_and_holds_the_mean(teacher: Hubert) -> None:
    """The thin layer norm takes away what the wide one does: equal parts of the mean channel."""
    basis = choose_stream(config(**THIN), deepcopy(teacher).double(), "svd").basis
    torch.testing.assert_close(basis.T @ basis, torch.eye(32).double())
    torch.testing.assert_close(basis.sum(1), torch.full((64,), 0.5**0.5).double())


@pytest.mark.parametrize("kind", [{}, {"layer_norm_first": False}])
@pytest.mark.parametrize("layers", [4, 3])
def test_thin_students_start_near_their_teacher(
    waves: tuple[Tensor, Tensor], kind: dict[str, Any], layers: int
) -> None:
    """By linear CKA with the teacher's last state, they beat a copied extractor and chance.

    The teacher's weights are random, the hardest case: hardly a direction beats another.
    """
    wide = lively(config(**kind), spread=0.05)
    states = run(wide, waves)[0]
    shape = config(**{**THIN, "encoder_layers": layers}, **kind)
    found = {
        how: cka(run(initialise(shape, how, wide, 1), waves)[0][-1], states[-1])
        for how in ("random", "copy_extractor", "slice", "svd")
    }
    assert max(found["random"], found["copy_extractor"]) < min(found["slice"], found["svd"])


@pytest.mark.parametrize(
    ("how", "changes", "message"),
    [
        ("svd", {"encoder_embed_dim": 128}, "encoder_embed_dim is 128, more than the teacher's 64"),
        ("slice", {"encoder_ffn_embed_dim": 128}, "encoder_ffn_embed_dim is 128"),
        ("svd", {"encoder_layers": 5}, "not enough blocks to average"),
        ("svd", {**THIN, "encoder_attention_heads": 8}, "8 heads of 4 .* 4 of 16"),
        ("slice", {**THIN, "encoder_attention_heads": 1}, "1 heads of 32 .* 4 of 16"),
        ("slice", {**THIN, "encoder_embed_dim": 24}, 'post_extract_proj = "always"'),
        ("svd", {**THIN, "conv_pos": 8}, "conv_pos is 16 and the student's 8"),
        ("svd", {**THIN, "layer_norm_first": False}, "layer_norm_first is True"),
        ("copy_extractor", {"conv_dim": (16,) * 7}, "conv_dim"),
        ("block_average", THIN, 'Use init = "svd"'),
        ("block_average", {"encoder_layers": 3}, "needs a multiple of 3"),
        ("half", {}, 'no init = "half"; known: random, block_average'),
    ],
)
def test_shapes_that_do_not_fit_are_explained(
    teacher: Hubert, how: str, changes: dict[str, Any], message: str
) -> None:
    """The message names the dimension and a way out, before hours of training."""
    with pytest.raises(ValueError, match=message):
        initialise(config(**changes), how, teacher, 0)
    # A forgotten teacher must not quietly mean a random start.
    with pytest.raises(ValueError, match=f'init = "{how}" needs a teacher'):
        initialise(config(), how, None, 0)


@pytest.mark.parametrize("how", ["random", "block_average", "copy_extractor", *WIDTHS])
@pytest.mark.parametrize("changes", [{}, THIN, {"encoder_layers": 3}, {"conv_pos": 8}])
def test_check_start_agrees_with_the_start(
    teacher: Hubert, how: str, changes: dict[str, Any]
) -> None:
    """Plans ask before anything is trained; the answer must be the one that the run gives."""
    fits = how not in WIDTHS or "conv_pos" not in changes
    if how == "block_average":
        fits = changes == {}
    for start in (
        partial(check_start, config(**changes), how, teacher.config),
        partial(initialise, config(**changes), how, teacher, 0),
    ):
        with nullcontext() if fits else pytest.raises(ValueError, match="teacher"):
            start()
