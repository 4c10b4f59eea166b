"""Article 2's example prints its numbers and draws them."""

from examples import one_dimensional
from tests.backends import tensorflow_only
from tests.svg import shapes


@tensorflow_only
def test_it_prints_and_draws(tmp_path, capsys):
    one_dimensional.main(["--output", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    found = {line[:24].strip(): line[24:].split("  ")[0].strip() for line in lines}
    assert found["cross-entropy, k = 1"] == "0.7001"
    assert found["cross-entropy, k = 4"] == "0.2007"
    assert found["hinge, k = 1"] == "[0.7500, 1.0000]"
    assert found["hinge, k = 4"] == "[0.0000, 0.2500]"
    assert found["hinge, k = 8"] == "0.1250"
    assert found["EXACT, sigma = 1"] == "3.9059"
    assert sum(line.endswith("yes") for line in lines) == 6
    assert shapes(tmp_path / "one_dimensional.svg") > 0
