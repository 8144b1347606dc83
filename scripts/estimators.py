"""Compares STDPClassifier with estimators of scikit-learn by cross-validation: accuracy and time, on one thread.

STDPClassifier and k-means use labels only after learning. It takes a quarter of an hour; --n-images makes it shorter.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from stdp_run import STDPClassifier
from stdp_run.datasets import MNIST, Digits


class LabelledKMeans(ClassifierMixin, BaseEstimator):
    """k-means; the class of a cluster is the most frequent one of its training images."""

    def __init__(self, n_clusters=400):
        self.n_clusters = n_clusters

    def fit(self, X, y):
        self.clusters_ = KMeans(self.n_clusters, n_init=1, random_state=0).fit(X)
        self.classes_, index = np.unique(y, return_inverse=True)
        votes = np.zeros((self.n_clusters, len(self.classes_)))
        np.add.at(votes, (self.clusters_.labels_, index), 1)
        self.labels_ = votes.argmax(axis=1)
        return self

    def predict(self, X):
        return self.classes_[self.labels_[self.clusters_.predict(X)]]


def estimators(dataset: str) -> dict:
    """Return the estimators by name, of similar sizes."""
    n_exc, epochs = {"digits": (100, 10), "mnist": (400, 3)}[dataset]
    presets = ("mnist_400", "two_layers_400") if dataset == "mnist" else ()
    return {
        f"STDPClassifier(n_exc={n_exc}, epochs={epochs})": STDPClassifier(n_exc, epochs=epochs, threads=1),
        **{f'STDPClassifier(experiment="{each}")': STDPClassifier(experiment=each, threads=1) for each in presets},
        f"KMeans({n_exc}), labelled": LabelledKMeans(n_exc),
        "KNeighborsClassifier()": KNeighborsClassifier(),
        f"MLPClassifier({n_exc})": MLPClassifier(n_exc, random_state=0, early_stopping=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int, default=10_000, help="images of MNIST, the first ones (10000)")
    parser.add_argument("--table", type=Path, help="a CSV file to write")
    options = parser.parse_args()
    digits, mnist = Digits().load(), MNIST().load().train
    pixels = {
        "digits": np.concatenate([digits.train.pixels, digits.test.pixels]),
        "mnist": mnist.pixels[: options.n_images],
    }
    labels = {"digits": np.concatenate([digits.train.labels, digits.test.labels]), "mnist": mnist.labels}
    rows, folds = [], StratifiedKFold(5, shuffle=True, random_state=0)
    STDPClassifier(threads=1).fit(pixels["mnist"][:100], labels["mnist"][:100])  # compiles
    for name, images in pixels.items():
        X = images.reshape(len(images), -1) / 255
        for title, estimator in estimators(name).items():
            with threadpool_limits(1):
                found = cross_validate(estimator, X, labels[name][: len(X)], cv=folds)
            scores, seconds = found["test_score"], found["fit_time"].mean()
            mean, sd = 100 * scores.mean(), 100 * scores.std(ddof=1)
            rows.append((name, len(X), title, f"{mean:.1f} ± {sd:.1f}", f"{seconds:.1f}", found["score_time"].mean()))
            print(*rows[-1], sep=", ", flush=True)
    columns = ["dataset", "images", "estimator", "accuracy (%)", "fit (s)", "predict (s)"]
    table = pd.DataFrame(rows, columns=columns).round(2)
    if options.table:
        table.to_csv(options.table, index=False)


if __name__ == "__main__":
    main()
