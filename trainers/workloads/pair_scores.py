"""How well predicted similarities rank pairs of sentences, and what methods without training reach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..data.sts_b import ScoredPairs
from ..data.text_codes import split_words


def spearman(predicted: ArrayLike, scores: ArrayLike) -> float:
    """Return Spearman's rank correlation; NaN where one side is constant, which ranks nothing."""
    from scipy.stats import spearmanr

    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not (np.isfinite(x).all() and np.ptp(x) > 0.0 and np.ptp(y) > 0.0):
        return float("nan")
    return float(spearmanr(x, y).statistic)


def lexical_similarities(train: ScoredPairs, pairs: ScoredPairs) -> dict[str, np.ndarray]:
    """Return the cosine of each pair's counts of words, and of the counts weighted by rarity (TF-IDF), by name.

    Args:
        train: what rarity is counted in.
        pairs: those compared.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    def cosine(vectorizer: Any, texts: tuple[str, ...]) -> np.ndarray:
        vectorizer.fit(texts)
        a, b = vectorizer.transform(pairs.first), vectorizer.transform(pairs.second)
        products, squares_a, squares_b = (np.asarray(x.multiply(y).sum(axis=1)).ravel() for x, y in _couples(a, b))
        return products / np.sqrt(np.maximum(squares_a * squares_b, 1e-12))

    words = {"analyzer": split_words}
    return {
        "bag-of-words cosine": cosine(CountVectorizer(**words), (*pairs.first, *pairs.second)),
        "TF-IDF cosine": cosine(TfidfVectorizer(**words), (*train.first, *train.second)),
    }


def _couples(a: Any, b: Any) -> tuple[tuple[Any, Any], ...]:
    return (a, b), (a, a), (b, b)
