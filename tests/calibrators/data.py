"""Predictions to calibrate: made here, and of real nets where they are at hand."""

import numpy as np

from tests.data import real


def arrays(file, probabilities, labels):
    """Returns float64 probabilities and labels."""
    with np.load(real(file)) as found:
        p, y = found[probabilities].astype("float64"), found[labels].ravel()
    return p, y.astype("int64")


def densenet():
    return arrays(
        "netcal_probs/densenet-bc-100-cifar-100.npz", "predictions", "ground_truth"
    )


def wideresnet():
    return arrays(
        "netcal_probs/wideresnet-16-4-cifar-10.npz", "predictions", "ground_truth"
    )


def lenet():
    return arrays("netcal_probs/lenet-5-cifar-10.npz", "predictions", "ground_truth")


def vgg():
    return arrays("verified_calibration_vgg/cifar10_vgg16.npz", "probs", "label")


def newsgroups():
    return arrays("label_errors_outputs/20news_test_set.npz", "probs", "label")


def made(n=2000, k=5, temperature=2.0, seed=0):
    """Returns logits whose best temperature is about `temperature`, and labels."""
    rng = np.random.default_rng(seed)
    z = 3.0 * rng.normal(size=(n, k))
    return z, (z / temperature + rng.gumbel(size=z.shape)).argmax(-1)
