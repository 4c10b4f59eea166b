"""The examples reject a command line that asks for zero runs."""

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
def test_zero_is_rejected(example, argument, capsys):
    main = importlib.import_module(f"examples.{example}").main
    with pytest.raises(SystemExit):
        main([argument, "0"])
    message = f"argument {argument}: must be at least 1. Received: 0"
    assert message in capsys.readouterr().err
