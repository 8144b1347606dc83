"""The supervised readout: a linear classifier on spike counts, for comparison with papers that report one.

It is multinomial logistic regression on the square roots of the counts, which have a similar variance at any rate
(Anscombe 1948). With two layers, the inputs of the second are features too. Features are centred, and scaled to a mean
variance of 1 over the counts and over the inputs. The loss is the mean cross entropy plus half the penalty times the
squared norm of the weights. Adam (Kingma & Ba 2015, arXiv 1412.6980) takes `STEPS` steps with a cosine schedule.
"""

import time
from typing import Any

import numpy as np

from stdp_run.evaluation.metrics import slices

PENALTIES = (0.03, 0.01, 0.003, 0.001)
HELD_OUT = 6  # one in so many labelled images, the last ones, selects the penalty; 10,000 of 60,000
STEPS, IMAGES_AT_ONCE, RATE = 1000, 250, 0.01

Array = np.ndarray
Scaling = tuple[Array, Array]  # mean of each square root, and the factor that scales it, float32 [F]


class Features:
    """Spike counts [N, E] of images of `classes` [N], and the images uint8 [N, P] of the second of two layers."""

    def __init__(self, classes: np.ndarray, n_exc: int, inputs: np.ndarray | None):
        self.classes, self.n_exc = classes, n_exc
        self.values = np.zeros((len(classes), n_exc + (0 if inputs is None else inputs.shape[1])), np.uint16)
        if inputs is not None:
            self.values[:, n_exc:] = inputs

    def add(self, part: slice, counts: np.ndarray) -> None:
        """Keep the counts [n, E] of a slice of the images; counts above 65,535 are kept as 65,535."""
        self.values[part, : self.n_exc] = np.minimum(counts, np.iinfo(np.uint16).max)

    def scaling(self) -> Scaling:
        """Return the mean of each square root and the factor that scales it, float32 [F]."""
        roots = (np.sqrt(self.values[part], dtype=np.float32) for part in slices(len(self.values)))
        mean = sum(each.sum(axis=0, dtype=np.float64) for each in roots) / len(self.values)
        variance = self.values.mean(axis=0) - mean**2
        factor = np.ones(len(mean))
        for group in (slice(self.n_exc), slice(self.n_exc, None)):
            if variance[group].sum() > 1e-6 * (mean[group] ** 2).sum():  # more than rounding
                factor[group] = variance[group].mean() ** -0.5
        return mean.astype(np.float32), factor.astype(np.float32)


def fit_and_test(labelled: Features, test: Features, n_classes: int) -> dict[str, Any]:
    """Fit the classifier to labelled images; return the figures of result.json from its answers to test images.

    The penalty has the highest accuracy on the images held out, after fitting to the others; the largest one, if
    several have. Then the classifier is fitted to all labelled images.
    """
    begun, scaling, n_images = time.perf_counter(), labelled.scaling(), len(labelled.classes)
    n_fitted = n_images - max(1, n_images // HELD_OUT)
    fitted, held_out = slice(n_fitted), slice(n_fitted, None)
    weight = fit(labelled.values[fitted], labelled.classes[fitted], n_classes, scaling, PENALTIES)
    right = [_n_right(labelled.values[held_out], labelled.classes[held_out], scaling, each) for each in weight]
    penalty = PENALTIES[int(np.argmax(right))]
    (final,) = fit(labelled.values, labelled.classes, n_classes, scaling, (penalty,))
    n_correct = _n_right(test.values, test.classes, scaling, final)
    return {
        "accuracy": n_correct / len(test.classes),
        "n_correct": n_correct,
        "penalty": penalty,
        "n_features": labelled.values.shape[1],
        "label_images": n_images,
        "seconds": time.perf_counter() - begun,
    }


def fit(values: Array, classes: Array, n_classes: int, scaling: Scaling, penalties: tuple[float, ...]) -> Array:
    """Return the weights with each of P penalties, float32 [P, F + 1, C], from values [N, F] and classes [N].

    The last row of weights is the intercept, which has no penalty.
    """
    import torch

    penalty, target = torch.tensor(penalties)[:, None, None], torch.from_numpy(classes).repeat(len(penalties), 1)
    weight = torch.zeros((len(penalties), values.shape[1] + 1, n_classes), requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    n_batches = -(-len(values) // IMAGES_AT_ONCE)
    for step in range(STEPS):
        epoch, batch = divmod(step, n_batches)
        if batch == 0:
            order = np.random.default_rng(epoch).permutation(len(values))
        chosen = order[batch * IMAGES_AT_ONCE : (batch + 1) * IMAGES_AT_ONCE]
        score = torch.from_numpy(_standardised(values[chosen], scaling)) @ weight  # [P, images, C]
        loss = torch.nn.functional.cross_entropy(score.flatten(0, 1), target[:, chosen].flatten()) * len(penalties)
        loss = loss + (penalty / 2 * weight[:, :-1] ** 2).sum()  # a sum over penalties, which do not mix
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach().numpy()


def _standardised(values: Array, scaling: Scaling) -> Array:
    """Return the features of images, float32 [N, F + 1], from values [N, F]; the last column is 1."""
    mean, factor = scaling
    x = np.ones((len(values), len(mean) + 1), np.float32)
    x[:, :-1] = (np.sqrt(values, dtype=np.float32) - mean) * factor
    return x


def _n_right(values: Array, classes: Array, scaling: Scaling, weight: Array) -> int:
    """Return the number of right answers to images, values [N, F] and classes [N], with weights [F + 1, C]."""
    answers = [(_standardised(values[part], scaling) @ weight).argmax(axis=1) for part in slices(len(values))]
    return int((np.concatenate(answers) == classes).sum())
