"""Two workers train as one device does, even if one of them dies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from examples import multi_worker
from keras_calib import GammaCE
from keras_calib.callbacks import GammaScheduler
from tests.backends import tensorflow_only

pytestmark = [pytest.mark.slow, tensorflow_only]
ROOT = Path(__file__).parents[2]
EPOCHS = 2


def run(*arguments):
    """Runs Python, and returns its output."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_workers_are_one_device_even_if_one_dies(tmp_path):
    """In one test, because each process that runs a part of it would run both jobs."""
    found = {}
    for name, extra in (("whole", []), ("killed", ["--kill-at", "28"])):
        folder = tmp_path / name
        said = run("examples/multi_worker.py", "--quick", "--output", folder, *extra)
        results = json.loads((folder / "results.json").read_text())
        model = keras.models.load_model(folder / "digits.keras")
        found[name] = said, results, model.get_weights()
    is_that_of_one_device(*found["whole"])
    is_resumed(*found["killed"], *found["whole"])


def is_that_of_one_device(text, results, weights):
    """The last batch has 7 samples: 1031 in batches of 64."""
    assert "a worker died" not in text
    x, y, x_test, y_test = multi_worker.data()
    model = multi_worker.network()
    loss = GammaCE(0.0, from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=multi_worker.watchers()
    )
    steps = multi_worker.STEPS * EPOCHS - 1
    for epoch in range(EPOCHS):
        first = epoch * multi_worker.STEPS
        rows = multi_worker.order(epoch)
        history = model.fit(
            x[rows],
            y[rows],
            batch_size=multi_worker.BATCH,
            shuffle=False,
            verbose=0,
            callbacks=[
                GammaScheduler(
                    lambda step, first=first: multi_worker.ANNEAL(
                        (first + step) / steps
                    ),
                    unit="step",
                )
            ],
        ).history
    for ours, expected in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert results["last"]["gamma"] == float(loss.gamma)
    test = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    for name, value in results["test"].items():
        assert value == pytest.approx(test[name], abs=1e-6), name
        assert results["last"][name] == pytest.approx(history[name][0], abs=1e-6), name


def is_resumed(text, results, resumed, _, expected, weights):
    assert "a worker died; restarting the job" in text
    assert "resumed at step 25" in text  # in the middle of the second epoch
    gamma = str(np.float32(multi_worker.ANNEAL(24 / (multi_worker.STEPS * EPOCHS - 1))))
    assert f"resumed at step 25, {{'gamma': {gamma}" in text
    for ours, theirs in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert results["last"] == pytest.approx(expected["last"], abs=1e-6)
    assert results["test"] == pytest.approx(expected["test"], abs=1e-6)


def test_after_the_last_step_only_the_test_runs_again(tmp_path):
    """The second run resumes from what the first saved at the end of the epoch."""
    code = (
        "import pathlib, sys; from examples import multi_worker as job; "
        "job.SAVE_EVERY = job.STEPS; job.train(pathlib.Path(sys.argv[1]), 1)"
    )
    texts, reports = [], []
    for _ in range(2):
        texts.append(run("-c", code, tmp_path))
        reports.append(json.loads((tmp_path / "results.json").read_text()))
    assert f"resumed at step {multi_worker.STEPS}" in texts[1]
    assert reports[0] == reports[1]
