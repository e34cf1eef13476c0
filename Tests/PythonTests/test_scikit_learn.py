"""The estimators: pipelines, searches, pickles, and scikit-learn's own checks."""

import unittest
import warnings

import numpy as np

try:
    from sklearn.utils import estimator_checks, validation
except ImportError:
    raise unittest.SkipTest("needs scikit-learn") from None

import resnetswift as rs
from support import DIGITS, PICTURES


def pictures(estimator, X, reset):
    """Rows of numbers, with which scikit-learn checks estimators, as pictures of squares."""
    if not reset:
        validation.check_is_fitted(estimator)
    X = validation.validate_data(estimator, X, reset=reset, dtype=np.float64)
    drawn = np.zeros((len(X), 1, 32, 32), np.float32)
    for i, column in enumerate(np.clip(X, -100, 100).T):
        y, x = i // 8 % 8 * 4, i % 8 * 4
        drawn[:, 0, y:y + 4, x:x + 4] += column[:, None, None]
    return drawn


class Tables:
    def fit(self, X, y=None):
        return super().fit(pictures(self, X, True), y)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.no_validation = True, False
        return tags


class FeaturesOfTables(Tables, rs.ResNetFeatures):
    def transform(self, X):
        return super().transform(pictures(self, X, False))


class ClassifierOfTables(Tables, rs.ResNetClassifier):
    def predict(self, X):
        return super().predict(pictures(self, X, False))

    def predict_proba(self, X):
        return super().predict_proba(pictures(self, X, False))

    def decision_function(self, X):
        return super().decision_function(pictures(self, X, False))


class ScikitLearn(unittest.TestCase):
    def setUp(self):
        self.paths = np.array([str(p) for p in PICTURES])
        self.labels = np.array([p.name.split("_")[0] for p in PICTURES])

    def test_features(self):
        from sklearn.base import clone

        features = rs.ResNetFeatures(DIGITS, threads=1)
        h = features.fit_transform(self.paths)
        np.testing.assert_array_equal(h, rs.load(DIGITS, threads=1).embed(list(self.paths)))
        self.assertEqual(len(features.get_feature_names_out()), h.shape[1])
        self.assertEqual(clone(features).get_params(), features.get_params())
        with self.assertRaises(Exception):
            clone(features).transform(self.paths)  # not fitted

    def test_classifier_in_a_search_and_as_a_pickle(self):
        import pickle

        from sklearn.model_selection import cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import SVC

        model = rs.ResNetClassifier(DIGITS)
        scores = cross_val_score(model, self.paths, self.labels, cv=2)
        self.assertGreater(scores.mean(), 0.8)
        model.fit(self.paths, self.labels)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_allclose(again.predict_proba(self.paths), model.predict_proba(self.paths))
        self.assertEqual(model.score(self.paths, self.labels), 1)
        self.assertEqual(list(model.classes_), sorted(set(self.labels)))
        pipeline = make_pipeline(rs.ResNetFeatures(DIGITS), SVC())
        self.assertEqual(pipeline.fit(self.paths, self.labels).score(self.paths, self.labels), 1)
        svm = rs.ResNetClassifier(DIGITS, head=SVC()).fit(self.paths, self.labels)
        self.assertEqual(svm.decision_function(self.paths).shape, (20, 10))

    @unittest.skipUnless(hasattr(validation, "validate_data"), "needs scikit-learn 1.6")
    def test_its_own_checks(self):
        for estimator in [FeaturesOfTables(DIGITS, threads=1), ClassifierOfTables(DIGITS, threads=1)]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", estimator_checks.SkipTestWarning)
                estimator_checks.check_estimator(estimator)


if __name__ == "__main__":
    unittest.main()
