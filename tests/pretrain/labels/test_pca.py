"""Principal components against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import decomposition

from harness_bench.pretrain.labels.pca import fit_pca
from tests.pretrain.labels.conftest import blobs, speechlike


def test_pca_equals_scikit_learn() -> None:
    """Streaming covariance in chunks gives the same subspace and explained share."""
    frames = blobs(3_000, 16, 5)
    ours = fit_pca(torch.split(frames, 700), 6)
    reference = decomposition.PCA(6, svd_solver="full").fit(frames.numpy())
    ours_out, theirs = ours.apply(frames).numpy(), reference.transform(frames.numpy())
    signs = np.sign((ours_out * theirs).sum(0))
    assert np.allclose(ours_out * signs, theirs, atol=1e-3)
    assert ours.explained == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99, 1.0])
def test_pca_by_variance_equals_scikit_learn(share: float) -> None:
    """n_components = 0.9 keeps as many components, and they span the same subspace."""
    frames = speechlike(2_000, 40, 30)
    ours = fit_pca(torch.split(frames, 600), variance=share)
    reference = decomposition.PCA(None if share == 1 else share, svd_solver="full")
    reference.fit(frames.numpy())
    basis = torch.from_numpy(reference.components_.T)
    assert ours.components.shape == basis.shape
    # The cosines of the principal angles between two subspaces are singular values.
    cosines = torch.linalg.svdvals(ours.components.T @ basis)
    assert cosines.min() > 1 - 1e-4
    assert ours.explained >= share - 1e-9


def test_pca_refusals_teach() -> None:
    """More components than dimensions, frames that do not differ, one frame."""
    frames = torch.randn(50, 4)
    with pytest.raises(ValueError, match=r"pca_dim = 5.*4 dimensions"):
        fit_pca([frames], 5)
    with pytest.raises(ValueError, match="pca_variance"):
        fit_pca([torch.ones(50, 4)], variance=0.5)
    with pytest.raises(ValueError, match="got 1"):
        fit_pca([torch.ones(1, 4)], 1)
