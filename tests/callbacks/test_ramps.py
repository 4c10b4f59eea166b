"""Schedules over the run's length."""

import pytest

from keras_calib.callbacks import cosine, exponential, linear


def test_linear_over_five_epochs():
    """The article's t / T never reaches the end; t / (T - 1) does."""
    ramp = linear(0.0, 0.5)
    assert [ramp(t / 4) for t in range(5)] == [0, 0.125, 0.25, 0.375, 0.5]


def test_cosine_reference():
    assert cosine(0.0, 0.5)(1 / 4) == pytest.approx(0.0732233, abs=5e-8)


def test_exponential_reference():
    assert exponential(1e-4, 1e-2)(0.5) == pytest.approx(1e-3, rel=1e-14)


@pytest.mark.parametrize("ramp", [linear, cosine, exponential])
@pytest.mark.parametrize(("start", "end"), [(0.1, 0.7), (0.9, 1e-7), (1 / 3, 1.0)])
def test_both_ends_are_exact_and_the_way_is_monotone(ramp, start, end):
    schedule = ramp(start, end)
    assert schedule(0.0) == start
    assert schedule(1.0) == end
    values = [schedule(i / 100) for i in range(101)]
    assert values == sorted(values, reverse=end < start)
    assert schedule(-1.0) == start and schedule(2.0) == end


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_exponential_needs_numbers_above_zero(start, end):
    with pytest.raises(ValueError, match=f"must be positive. Received: start={start}"):
        exponential(start, end)
