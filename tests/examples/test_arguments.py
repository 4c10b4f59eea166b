"""A command line that asks for no run at all is refused."""

import importlib

import pytest

ASKED = {
    "ablation": "--seeds",
    "language_model": "--epochs",
    "noisy_digits": "--epochs",
    "selective_prediction": "--seeds",
    "text_intents": "--seeds",
}


@pytest.mark.parametrize(("example", "argument"), ASKED.items())
def test_nothing_is_refused(example, argument, capsys):
    main = importlib.import_module(f"examples.{example}").main
    with pytest.raises(SystemExit):
        main([argument, "0"])
    message = f"argument {argument}: must be at least 1. Received: 0"
    assert message in capsys.readouterr().err
