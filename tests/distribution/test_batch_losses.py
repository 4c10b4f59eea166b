"""A loss of a whole batch sees, on each replica, that replica's batch alone."""

import functools
import json

import pytest

from tests.distribution.launch import outputs


@functools.cache
def fit(made):
    ((code, out, errors),) = outputs("tests.distribution.batch_losses", made)
    assert code == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("made", ["inside", "outside"])
def test_the_loss_is_the_mean_of_the_replicas(made):
    """The first half has no pair to rank and no positive, so its loss is 0."""
    for name in ("auc", "ghm", "hard_negatives"):
        found = fit(made)[name]
        mean = pytest.approx(sum(found["halves"]) / 2, rel=1e-5)
        assert found["loss"][0] == mean, name
        assert found["loss"][2] < found["loss"][0], name
        assert found["finite"], name


@pytest.mark.slow
def test_each_replica_has_its_average_and_the_model_their_mean():
    found = fit("inside")["ghm_momentum"]
    assert found["loss"][0] == pytest.approx(sum(found["halves"]) / 2, rel=1e-5)
    # Three batches of 32 labels a replica: 32 (1 - 0.75^3) if no bin was empty.
    assert sum(found["counts"]) == pytest.approx(32 * (1 - 0.75**3), rel=0.05)
    assert found["loaded"] == found["counts"]
    assert found["finite"]
