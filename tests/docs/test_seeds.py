"""A table of one run of something random says so."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
# Nothing in them is drawn at random.
FIXED = {
    "experiments/label_noise/real.md",
    "experiments/mixture_toy/results.md",
    "experiments/published_figures/results.md",
}


def test_results_have_a_spread_or_say_that_there_is_one_seed():
    results = [*DOCS.glob("experiments/*/**/*.md"), *DOCS.glob("demo/*.md")]
    without = set()
    for path in results:
        text = path.read_text(encoding="utf-8")
        first = re.search(r"\A.*?(?:^\|.*\n)+", text, re.MULTILINE | re.DOTALL)[0]
        if "±" not in first and "one seed" not in first:
            without.add(path.relative_to(DOCS).as_posix())
    assert len(results) > 15
    assert without == FIXED
