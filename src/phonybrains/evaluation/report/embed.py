"""Features in two dimensions, for looking at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 400
LEAST_FOR_TSNE = 60
WIDTH = 50


def embed(features: Mapping[str, NDArray[Any]], seed: int) -> tuple[str, dict[str, NDArray[Any]]]:
    """Both sides' features (n, d) as points (n, 2), at most 400 a side: t-SNE of their first principal components.

    Few images are shown by their first two components alone. Equal seeds give equal maps.  [van der Maaten 2008]
    """
    rng = np.random.default_rng(seed)
    kept = {kind: x[np.sort(rng.permutation(len(x))[:MOST])] for kind, x in features.items()}
    both = np.concatenate(list(kept.values())).astype(np.float64)
    both = both[:, np.isfinite(both).all(axis=0)]
    deviation = both.std(axis=0)
    both = (both - both.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    if both.shape[1] == 0:  # all images equal
        return "PCA", {kind: np.zeros((len(x), 2)) for kind, x in kept.items()}
    left, scale, _ = np.linalg.svd(both, full_matrices=False)
    reduced = np.pad(left * scale, ((0, 0), (0, max(0, 2 - len(scale)))))[:, :WIDTH]
    method, points = "PCA", reduced[:, :2]
    if len(both) >= LEAST_FOR_TSNE:
        from sklearn.manifold import TSNE

        method = "t-SNE"
        points = TSNE(perplexity=min(30.0, len(both) / 4), init="pca", random_state=seed).fit_transform(reduced)
    cuts = np.cumsum([len(x) for x in kept.values()])[:-1]
    return method, dict(zip(kept, np.split(np.asarray(points), cuts), strict=True))
