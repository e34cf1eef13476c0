"""For scikit-learn: features as a transformer, and a classifier on them. Both clone, pickle, and work in pipelines and
searches."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .network import Network, load


class ResNetFeatures(TransformerMixin, BaseEstimator):
    """Pictures to the features that a network's last layer reads.

    X is what ``Network.embed`` takes: a list or array of paths, a uint8 array (N, height, width, channels), a list of
    pictures, or floats (N, channels, height, width). ``fit`` learns nothing.

    :param weights: a file, a folder or a model's name, as ``load`` takes it.
    :param threads: of the computation; 0 means the usual number.
    :param batch: pictures that run at once.
    :param tta: views of a picture whose features are averaged: ``"none"``, ``"flip"``, ``"five-crop"``, ``"ten-crop"``.
    """

    def __init__(
        self, weights: str | os.PathLike = "resnet18", *, threads: int = 0, batch: int = 8, tta: str = "none",
    ):
        self.weights = weights
        self.threads = threads
        self.batch = batch
        self.tta = tta

    def fit(self, X: Any, y: Any = None) -> "ResNetFeatures":
        self.n_features_out_ = self._network().features
        return self

    def transform(self, X: Any) -> np.ndarray:
        """float32 (N, features)."""
        check_is_fitted(self)
        if isinstance(X, (str, bytes, os.PathLike)):
            raise TypeError("expected several pictures, found one; give a list")
        return self._network().embed(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        check_is_fitted(self)
        return np.array([f"h{i}" for i in range(self.n_features_out_)], object)

    def _network(self) -> Network:
        wanted = (str(self.weights), self.threads, self.batch, self.tta)
        if getattr(self, "_open", (None, None))[0] != wanted:
            self._open = wanted, load(self.weights, threads=self.threads, batch=self.batch, tta=self.tta)
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_open", None)  # the weights stay in their file
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


class ResNetClassifier(ClassifierMixin, BaseEstimator):
    """A network's features, which stay as they are, and a classifier that learns from them.

    Enough for some hundred pictures, in seconds. ``train`` changes the network itself.

    :param weights: a file, a folder or a model's name, as ``load`` takes it.
    :param head: a scikit-learn classifier; ``None`` means standardized features and logistic regression.
    :param threads: of the computation; 0 means the usual number.
    :param batch: pictures that run at once.
    :param tta: views of a picture whose features are averaged.
    """

    def __init__(
        self, weights: str | os.PathLike = "resnet18", *, head: Any = None, threads: int = 0, batch: int = 8,
        tta: str = "none",
    ):
        self.weights = weights
        self.head = head
        self.threads = threads
        self.batch = batch
        self.tta = tta

    def fit(self, X: Any, y: Any) -> "ResNetClassifier":
        """X: pictures, as ``ResNetFeatures`` takes them; y: a class for each."""
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)) if self.head is None else clone(self.head)
        self.features_ = ResNetFeatures(
            self.weights, threads=self.threads, batch=self.batch, tta=self.tta).fit(X)
        self.head_ = head.fit(self.features_.transform(X), y)
        self.classes_ = self.head_.classes_
        return self

    def predict(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.head_.predict(self.features_.transform(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """(N, classes); of heads that have probabilities."""
        check_is_fitted(self)
        return self.head_.predict_proba(self.features_.transform(X))

    def decision_function(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.head_.decision_function(self.features_.transform(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags
