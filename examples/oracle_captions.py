"""TaiLr's synthetic experiment: learn the sentences of an oracle, by gamma and floor.

An LSTM, the oracle, learns image captions of the 1000 most frequent words. A student of
the same size learns 10000 sentences that the oracle draws, by cross-entropy (MLE) or by
gamma-cross-entropy with a gamma and a floor. Since the oracle is known, so is the
probability of what a student draws: this is the experiment of section 4.1 of the TaiLr
paper (arXiv 2302.13344), by the scripts of github.com/thu-coai/TaiLr,
`examples/synthetic`. Each seed has an oracle, sentences and students of its own. The
student of the epoch with the lowest validation NLL is judged by

    oracle perplexity  of 20000 sentences that the student draws, under the oracle
    test perplexity    of 5000 sentences that the oracle draws, under the student
    BLEU-4             of 1000 sentences of the student, beside 500 of the oracle
    self-BLEU-4        of 500 sentences of the student, each beside the other 499

and so is the oracle itself. The script writes into `demo_output/oracle_captions/`:

    results.md         the four by gamma, and their differences from cross-entropy
    tradeoff.svg       quality against diversity
    runs.json          the figures of each student

A student takes about five minutes of a core. A run that was interrupted goes on after
the last student in `runs.json`; only the oracle of its seed is trained again.

    python -m examples.oracle_captions --data FILE     # one caption a line
    python -m examples.oracle_captions --data FILE --quick
"""

import argparse
import json
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from matplotlib import pyplot as plt
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from tqdm import tqdm

from examples.arguments import at_least_one
from examples.styles import style
from examples.tables import interval, markdown, over_seeds, write
from keras_calib import GammaCE, NegativeLogLikelihood

GAMMAS = [1e-7, 1e-5, 1e-3, 0.1]
FLOORS = [0.0, 0.2]
ORACLE = "the oracle itself"
METHODS = {
    ORACLE: None,
    "cross-entropy": (0.0, 0.0),
    **{f"{g:g}, floor {b:g}": (g, b) for b in FLOORS for g in GAMMAS},
}

PADDING, END = 0, 1  # END is also the word before the first
WORDS = 1000  # of the captions, the most frequent ones
IDS = END + 1 + WORDS
TOKENS = 4096  # a batch
LENGTHS = (10, 11, 12, 13, 14, 16, 20, 32)  # longest sentences of batches, with END
WIDTH = 128
ORACLE_SEED = 1000  # added to a seed: the oracle's are not those of its students
PATIENCE = 10  # epochs without a lower validation NLL, after which training stops


@dataclass
class Sizes:
    """Numbers of sentences, and of epochs at most."""

    train: int = 10_000
    validation: int = 5_000
    test: int = 5_000
    drawn: int = 20_000
    hypotheses: int = 1_000
    references: int = 500
    oracle_epochs: int = 50
    epochs: int = 100


QUICK = Sizes(200, 100, 100, 200, 20, 10, 1, 1)

# The captions ------------------------------------------------------------------------


def captions(path, num_words):
    """Returns captions of the most frequent words as lists of ids, from END + 1.

    Captions with another word, and long ones, are left out.
    """
    lines = path.read_text(encoding="utf-8").lower().splitlines()
    texts = [re.sub(r"^\d+ ", "", line) for line in lines]  # the number of the image
    sentences = [re.findall(r"\w+|[^\w\s]", text) for text in texts]
    counts = Counter(word for words in sentences for word in words)
    known = [word for word, _ in counts.most_common(num_words)]
    ids = {word: i for i, word in enumerate(known, start=END + 1)}
    return [
        [ids[word] for word in words]
        for words in sentences
        if 0 < len(words) < LENGTHS[-1] and ids.keys() >= set(words)
    ]


def batches(sentences, seed=None):
    """Returns batches of sentences of about one length, shuffled if there is a seed.

    A batch is the words before each word, and the words.
    """
    ends = tf.ragged.constant([[END, *words, END] for words in sentences], tf.int32)
    data = tf.data.Dataset.from_tensor_slices(ends)
    if seed is not None:
        data = data.shuffle(len(sentences), seed)
    return (
        data.map(lambda words: (words[:-1], words[1:]))
        .bucket_by_sequence_length(
            lambda _, words: tf.size(words),
            [length + 1 for length in LENGTHS[:-1]],
            [TOKENS // length for length in LENGTHS],
        )
        .prefetch(tf.data.AUTOTUNE)
    )


# The models --------------------------------------------------------------------------


def language_model(num_ids, gamma=0.0, floor=0.0):
    """Returns an LSTM from the words before each word to the logits of the word."""
    words = keras.Input((None,), dtype="int32")
    x = layers.Dropout(0.1)(layers.Embedding(num_ids, WIDTH)(words))
    x = layers.Dropout(0.1)(layers.LSTM(WIDTH, return_sequences=True)(x))
    model = keras.Model(words, layers.Dense(num_ids)(x))
    reading = {"from_logits": True, "ignore_class": PADDING}
    model.compile(
        keras.optimizers.Adam(1e-3, global_clipnorm=0.1),
        loss=GammaCE(gamma, floor=floor, **reading),
        metrics=[NegativeLogLikelihood(name="nll", **reading)],
    )
    return model


def trained(train, validation, epochs, seed, *gamma_and_floor):
    """Returns the model of the epoch with the lowest validation NLL, and the epoch."""
    keras.utils.set_random_seed(seed)
    model = language_model(IDS, *gamma_and_floor)
    stop = keras.callbacks.EarlyStopping(
        "val_nll", mode="min", patience=PATIENCE, restore_best_weights=True
    )
    model.fit(
        batches(train, seed),
        validation_data=batches(validation),
        epochs=epochs,
        callbacks=[stop],
        shuffle=False,  # `batches` does
        verbose=0,
    )
    return model, stop.best_epoch + 1


def drawn(model, number, seed):
    """Draws sentences from a model, word by word."""
    embedding, lstm, dense = (model.layers[i] for i in (1, 3, 5))
    seeds = keras.random.SeedGenerator(seed)
    sentences = []
    while len(sentences) < number:
        size = min(2000, number - len(sentences))
        word = ops.full((size,), END, "int32")
        states = [ops.zeros((size, WIDTH)), ops.zeros((size, WIDTH))]
        words = []
        for _ in range(LENGTHS[-1] - 1):
            state, states = lstm.cell(embedding(word), states)
            word = keras.random.categorical(dense(state), 1, "int32", seed=seeds)[:, 0]
            words.append(ops.convert_to_numpy(word))
        for row in np.stack(words, axis=1).tolist():
            sentences.append(row[: row.index(END)] if END in row else row)
    return sentences


# The figures -------------------------------------------------------------------------


def perplexity(model, sentences):
    """Returns exp(NLL) of the words of sentences under a model."""
    return float(np.exp(model.evaluate(batches(sentences), verbose=0)[1]))


def bleu(sentences, references):
    """Returns the mean BLEU-4 of sentences, each with references of its own."""
    smoothed = SmoothingFunction().method1
    pairs = zip(sentences, references, strict=True)
    scores = [sentence_bleu(r, s, smoothing_function=smoothed) for s, r in pairs]
    return float(np.mean(scores))


def judged(student, oracle, test, seed, sizes):
    """Returns the four figures of a student."""
    own = drawn(student, sizes.drawn, seed)
    few, references = own[: sizes.references], test[: sizes.references]
    return {
        "oracle perplexity": perplexity(oracle, own),
        "test perplexity": perplexity(student, test),
        "BLEU-4": bleu(own[: sizes.hypotheses], [references] * sizes.hypotheses),
        "self-BLEU-4": bleu(few, [few[:i] + few[i + 1 :] for i in range(len(few))]),
    }


# The table and the figure ------------------------------------------------------------

COLUMNS = {
    "oracle perplexity": ("oracle perplexity ↓", "{:.2f}"),
    "test perplexity": ("test perplexity ↓", "{:.2f}"),
    "BLEU-4": ("BLEU-4 ↑", "{:.4f}"),
    "self-BLEU-4": ("self-BLEU-4 ↓", "{:.4f}"),
    "epoch": ("epoch", "{:.0f}"),
}


def tables(runs):
    """Returns the figures, and their differences from cross-entropy's, as Markdown."""
    number = len(runs["cross-entropy"])
    titles = [title for title, _ in COLUMNS.values()]
    figures = [[over_seeds("gamma", number), *titles]]
    differences = [[over_seeds("gamma, minus cross-entropy", number), *titles[:-1]]]
    columns = {
        name: {key: np.array([run[key] for run in runs[name]]) for key in COLUMNS}
        for name in METHODS
    }
    base = columns["cross-entropy"]
    for name, column in columns.items():
        row = [interval(column[key], form) for key, (_, form) in COLUMNS.items()]
        figures.append([name, *row])
        if name in (ORACLE, "cross-entropy"):
            continue
        row = [
            interval(column[key] - base[key], form.replace(":", ":+"))
            for key, (_, form) in list(COLUMNS.items())[:-1]
        ]
        differences.append([name, *row])
    return f"{markdown(figures)}\n\n{markdown(differences)}"


def draw_tradeoff(runs):
    """Draws quality against diversity, in BLEU and in perplexity, by seed."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for name in METHODS:
        if name == ORACLE:
            look = {"marker": "*", "markersize": 10}
        else:
            _, floor = METHODS[name]
            look = {"marker": "s" if floor else "o"}
            look |= {"markerfacecolor": "none"} if floor else {}
        look |= {**style(name), "linestyle": ""}
        for ax, x, y in zip(
            axes,
            ("self-BLEU-4", "oracle perplexity"),
            ("BLEU-4", "test perplexity"),
            strict=True,
        ):
            found = [[run[key] for run in runs[name]] for key in (x, y)]
            ax.plot(*found, label=name, **look)
            ax.set(xlabel=COLUMNS[x][0], ylabel=COLUMNS[y][0])
            ax.grid(alpha=0.3)
    # 0.1 without a floor is far outside.
    axes[1].set(xlim=(10, 30), ylim=(20, 50))
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
    )
    return figure


def main(argv=None):
    """Trains what has not been trained, and prints and writes the tables."""
    tf.get_logger().setLevel("ERROR")  # each new model is retraced
    warnings.filterwarnings("ignore", "Your input ran out of data")  # of an epoch
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="one caption a line")
    parser.add_argument("--seeds", type=at_least_one, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch")
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output/oracle_captions")
    )
    arguments = parser.parse_args(argv)
    number, sizes = (1, QUICK) if arguments.quick else (arguments.seeds, Sizes())
    sentences = captions(arguments.data, WORDS)

    @cache
    def oracle_of(seed):
        """Trains an oracle, and draws the sentences of its students."""
        order = np.random.default_rng(seed).permutation(len(sentences))
        shuffled = [sentences[i] for i in order]
        tenth = len(shuffled) // 10
        parts = shuffled[tenth:], shuffled[:tenth]
        oracle, epoch = trained(*parts, sizes.oracle_epochs, ORACLE_SEED + seed)
        number = sizes.train + sizes.validation + sizes.test
        own = drawn(oracle, number, ORACLE_SEED + seed)
        stops = np.cumsum([sizes.train, sizes.validation])
        return oracle, epoch, own[: stops[0]], own[stops[0] : stops[1]], own[stops[1] :]

    arguments.output.mkdir(parents=True, exist_ok=True)
    kept = arguments.output / "runs.json"
    runs = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    missing = [
        (seed, name)
        for seed in range(number)
        for name in METHODS
        if seed >= len(runs.setdefault(name, []))
    ]
    for seed, name in tqdm(missing, unit="student"):
        oracle, epoch, train, validation, test = oracle_of(seed)
        student = oracle
        if name != ORACLE:
            parts = train, validation, sizes.epochs, seed
            student, epoch = trained(*parts, *METHODS[name])
        scores = judged(student, oracle, test, seed, sizes)
        runs[name].append({**scores, "epoch": epoch})
        kept.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    results = (
        f"{WORDS} words; {sizes.train} sentences of an oracle; seeds: {number}\n\n"
        f"{tables(runs)}"
    )
    write(arguments.output, results, tradeoff=draw_tradeoff(runs))
    print(f"\n{results}\n\nresults.md and tradeoff.svg are in {arguments.output}/")


if __name__ == "__main__":
    main()
