"""Makes the two files of weights beside this script out of what others have published, and the scores that tests compare with.

    python convert.py injection neural_binary_200k.json
    python convert.py toxicity profanity_check/data texts.txt

The first argument of each is the published file or folder: `models/neural_binary_200k.json` of the crate jailguard 0.1.2, and
the folder of alt-profanity-check 1.9.1, whose files are pickles: convert them where nothing else is at stake. Needs numpy; the
second needs scikit-learn 1.9 and joblib as well. All numbers are little-endian; README.md has the layouts.
"""

import json
import pathlib
import struct
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent


def injection(path):
    """Three layers, each its weights row by row and then its biases, f32: 384 to 256 to 128 to 1."""
    layers = json.loads(pathlib.Path(path).read_text())
    with (HERE / "injection.bin").open("wb") as file:
        for name, shape in [("h1", (256, 384)), ("h2", (128, 256)), ("out", (1, 128))]:
            weights = np.array(layers[f"w_{name}"], "<f4")
            biases = np.array(layers[f"b_{name}"], "<f4")
            assert weights.shape == shape and biases.shape == shape[:1]
            file.write(weights.tobytes() + biases.tobytes())


def toxicity(folder, texts):
    """The calibrations, the words with their numbers, the words' ends, and the words in the order of their bytes."""
    import joblib

    vectorizer = joblib.load(f"{folder}/vectorizer.joblib")
    model = joblib.load(f"{folder}/model.joblib")
    machines = [
        (one.estimator.coef_[0], one.estimator.intercept_[0], one.calibrators[0].a_, one.calibrators[0].b_)
        for one in model.calibrated_classifiers_
    ]
    words = sorted(vectorizer.vocabulary_.items(), key=lambda item: item[0].encode())
    with (HERE / "toxicity.bin").open("wb") as file:
        file.write(struct.pack("<II", len(words), len(machines)))
        for _, intercept, slope, offset in machines:
            file.write(struct.pack("<ddd", intercept, slope, offset))
        for _, index in words:
            numbers = [vectorizer.idf_[index]] + [weights[index] for weights, *_ in machines]
            file.write(struct.pack(f"<{len(numbers)}f", *numbers))
        file.write(np.cumsum([len(word.encode()) for word, _ in words]).astype("<u4").tobytes())
        file.write("".join(word for word, _ in words).encode())

    lines = pathlib.Path(texts).read_text().split("\n")
    lines = [json.loads(line) for line in lines if line]
    scores = model.predict_proba(vectorizer.transform(lines))[:, 1]
    golden = [[text, round(float(score), 9)] for text, score in zip(lines, scores)]
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in golden)
    (HERE / "toxicity.golden.json").write_text(f"[\n{rows}\n]\n")


if __name__ == "__main__":
    {"injection": injection, "toxicity": toxicity}[sys.argv[1]](*sys.argv[2:])
