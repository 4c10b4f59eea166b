"""A language model fine-tuned with losses between cross-entropy and DFT.

A small GPT-2 of KerasHub learns one text from scratch, and is then fine-tuned on
another: with gamma = 0, which is supervised fine-tuning (SFT), with gamma = 1, which is
Dynamic Fine-Tuning (DFT), with gammas between, with gamma annealed from 0 to 1, and
with a floor. `FusedHeadModel` trains and evaluates it, so that the logits of a batch
never exist. The script prints a table and writes it into `demo_output/fine_tune_lm/`,
again after each run:

    results.md    scores of the tokens of both texts' test parts

What rises on the old text is what the model forgets.

The data are two text files. The last tenth of each is its test set. The vocabulary, the
V - 1 most frequent words and punctuation marks, comes from the rest of both; other
words are inputs but not targets. With a preset of KerasHub, which it downloads, its
tokenizer replaces the words, and its weights what is learned of the old text.

    pip install keras-hub
    python -m examples.fine_tune_lm --old FILE --new FILE
    python -m examples.fine_tune_lm --old FILE --new FILE --preset gpt2_base_en
"""

import argparse
import re
from collections import Counter
from pathlib import Path

import keras
import numpy as np

from examples.arguments import at_least_one
from examples.tables import markdown
from keras_calib import (
    ExpectedCalibrationError,
    FusedHeadModel,
    GammaCE,
    NegativeLogLikelihood,
)
from keras_calib.arguments import counted
from keras_calib.callbacks import linear

CONTEXT = 32  # tokens of a window
UNKNOWN = 0  # the label of a word outside the vocabulary

# The data ----------------------------------------------------------------------------


def words(path):
    """Returns the words and marks of a file."""
    return re.findall(r"<unk>|\w+|[^\w\s]", path.read_text(encoding="utf-8").lower())


def vocabulary(texts, size):
    """Returns the ids of the most frequent words of all but the last tenths."""
    counts = Counter()
    for text in texts:
        counts.update(text[: len(text) - len(text) // 10])
    del counts["<unk>"]  # wikitext marks its own unknown words so
    return {word: i + 1 for i, (word, _) in enumerate(counts.most_common(size - 1))}


def split(ids):
    """Returns the windows for training and those of the last tenth, with labels."""
    cut = len(ids) - len(ids) // 10
    return [windows(part) for part in (ids[:cut], ids[cut:])]


def windows(ids):
    """Returns inputs of a causal language model, and the same shifted by one."""
    stop = (len(ids) - 1) // CONTEXT * CONTEXT
    x, y = (np.array(ids[i : stop + i], "int32").reshape(-1, CONTEXT) for i in (0, 1))
    return {"token_ids": x, "padding_mask": np.ones_like(x)}, y


# The model ---------------------------------------------------------------------------


def small_model(size, width):
    """Returns a GPT-2 of two layers with random weights."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=size,
        num_layers=2,
        num_heads=4,
        hidden_dim=width,
        intermediate_dim=4 * width,
        max_sequence_length=CONTEXT,
    )
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)


def losses(steps):
    """Returns the losses by name, for a fine-tuning of so many steps."""

    def gamma_ce(gamma, floor=0.0):
        return GammaCE(
            gamma,
            floor=floor,
            formulation="stop_gradient",
            from_logits=True,
            ignore_class=UNKNOWN,
        )

    return {
        "gamma 0 (SFT)": gamma_ce(0.0),
        "gamma 0.1": gamma_ce(0.1),
        "gamma 0.5": gamma_ce(0.5),
        "gamma 1 (DFT)": gamma_ce(1.0),
        "gamma 0 to 1": gamma_ce(linear(0.0, 1.0, steps=steps)),
        "gamma 1, floor 0.2": gamma_ce(1.0, 0.2),
    }


def compiled(model, loss, rate):
    """Returns a model that never makes its logits, with metrics of its tokens."""
    reading = {"from_logits": True, "ignore_class": UNKNOWN}
    metrics = [
        NegativeLogLikelihood(name="nll", **reading),
        ExpectedCalibrationError(name="ece", **reading),
    ]
    fused = FusedHeadModel(model)
    fused.compile(
        keras.optimizers.Adam(rate), loss, metrics=["accuracy", *metrics, loss.gamma]
    )
    return fused


# The runs ----------------------------------------------------------------------------


def run(model, old, new, chosen):
    """Yields the name and the scores of each loss, and first those before."""
    options = {"batch_size": chosen.batch_size, "verbose": 0}
    steps = chosen.epochs * -(-len(new[0][1]) // chosen.batch_size)
    every = losses(steps)
    first = compiled(model, every["gamma 0 (SFT)"], chosen.rate)
    if not chosen.preset:
        first.fit(*old[0], epochs=chosen.epochs_before, **options)

    def scores(fused):
        return [
            fused.evaluate(*text[1], return_dict=True, **options) for text in (new, old)
        ]

    yield "before", scores(first)
    weights = model.get_weights()
    for name, loss in every.items():
        model.set_weights(weights)
        keras.utils.set_random_seed(chosen.seed)
        fused = compiled(model, loss, chosen.rate / 3)
        fused.fit(*new[0], epochs=chosen.epochs, **options)
        yield name, scores(fused)


def passes(epochs, text, path):
    """Says how often a model has seen how much of a text."""
    return f"{counted(epochs, 'epoch')} of {text[0][1].size} tokens of {path.name}"


def table(rows):
    """Returns the scores as a Markdown table."""
    names = {"nll": "NLL", "accuracy": "accuracy", "ece": "ECE"}
    header = [f"{title}, {text}" for text in ("new", "old") for title in names.values()]
    cells = [
        [name, *(f"{scores[key]:.3f}" for scores in both for key in names)]
        for name, both in rows
    ]
    return markdown([["fine-tuned with", *header], *cells])


def main(argv=None):
    """Trains, and prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", type=Path, required=True, help="text to learn first")
    parser.add_argument("--new", type=Path, required=True, help="text to fine-tune on")
    parser.add_argument("--words", type=at_least_one, default=1000, help="V")
    parser.add_argument("--width", type=at_least_one, default=64)
    parser.add_argument("--epochs-before", type=at_least_one, default=4)
    parser.add_argument("--epochs", type=at_least_one, default=1)
    parser.add_argument("--batch-size", type=at_least_one, default=32)
    parser.add_argument("--rate", type=float, default=1e-3, help="a third to fine-tune")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", help="of a causal language model of KerasHub")
    parser.add_argument("--output", type=Path, default=Path("demo_output/fine_tune_lm"))
    chosen = parser.parse_args(argv)

    keras.utils.set_random_seed(chosen.seed)
    if chosen.preset:
        import keras_hub

        model = keras_hub.models.CausalLM.from_preset(chosen.preset)
        tokenize = model.preprocessor.tokenizer
        texts = [
            np.asarray(tokenize(path.read_text(encoding="utf-8"))).tolist()
            for path in (chosen.old, chosen.new)
        ]
        size = tokenize.vocabulary_size()
    else:
        texts = [words(path) for path in (chosen.old, chosen.new)]
        ids = vocabulary(texts, chosen.words)
        texts = [[ids.get(word, UNKNOWN) for word in text] for text in texts]
        size = len(ids) + 1
        model = small_model(size, chosen.width)
    old, new = map(split, texts)
    before = f"the preset {chosen.preset}"
    if not chosen.preset:
        before = passes(chosen.epochs_before, old, chosen.old)
    facts = (
        f"V = {size}, {model.count_params()} parameters, "
        f"{passes(chosen.epochs, new, chosen.new)} after {before}; one seed"
    )
    rows = []
    for row in run(model, old, new, chosen):
        rows.append(row)
        results = f"{facts}\n\n{table(rows)}"
        chosen.output.mkdir(parents=True, exist_ok=True)
        (chosen.output / "results.md").write_text(results + "\n", encoding="utf-8")
    print(f"{results}\n\nresults.md is in {chosen.output}/")


if __name__ == "__main__":
    main()
