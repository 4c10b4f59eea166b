"""The check fails by what the compiler rejects, and by what programs move."""

import pytest

from tests.tpu.report import compare, judge

COSTS = {"flops": 1e9, "bytes": 2e9, "temporaries": 3e6, "arguments": 4e6}


@pytest.mark.parametrize(
    ("found", "refusal", "right"),
    [
        (COSTS, None, True),
        (COSTS, "HBM", False),
        ({"error": "Ran out of memory on HBM"}, "HBM", True),
        ({"error": "Ran out of memory on HBM"}, None, False),
        ({"error": "No module named libtpu"}, "HBM", False),
    ],
    ids=["compiled", "not rejected", "rejected", "wrongly rejected", "other error"],
)
def test_only_the_expected_result_is_right(found, refusal, right):
    assert judge("step", found, refusal)[0] is right


@pytest.mark.parametrize(("limit", "right"), [(3.0, True), (2.9, False)])
def test_only_temporaries_above_the_limit_are_wrong(limit, right):
    found, row = judge("step", COSTS, None, limit)
    assert found is right
    assert row.endswith(f"temp. {'<=' if right else 'ARE ABOVE'} {limit:g}")


def test_the_row_has_the_costs():
    assert judge("step", COSTS, None)[1].split() == [
        "step",
        "1.00",
        "2.00",
        "3.0",
        "4.0",
    ]


@pytest.mark.parametrize(
    ("moved", "limit", "right"),
    [(3e9, 1.5, True), (3.1e9, 1.5, False), (9e9, None, True), (2e9, 1.0, True)],
    ids=["at the limit", "above it", "no limit", "equal"],
)
def test_only_what_is_above_the_limit_is_wrong(moved, limit, right):
    assert compare("ECE", {**COSTS, "bytes": moved}, COSTS, limit)[0] is right


def test_the_row_has_both_costs_and_their_ratio():
    ours = {"flops": 3e9, "bytes": 5e9}
    row = compare("ECE", ours, COSTS, 1.6)[1].split()
    assert row == [
        "ECE",
        "3.00",
        "1.00",
        "5.000",
        "2.000",
        "2.50",
        *"IS ABOVE 1.6".split(),
    ]
    assert compare("ECE", ours, COSTS, None)[1].endswith("2.50")
