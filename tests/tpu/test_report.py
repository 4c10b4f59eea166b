"""The check fails if a program should have been rejected, or should not."""

import pytest

from tests.tpu.report import judge

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


def test_the_row_has_the_costs():
    assert judge("step", COSTS, None)[1].split() == [
        "step",
        "1.00",
        "2.00",
        "3.0",
        "4.0",
    ]
