"""Classifiers in the manner of extra.py: labels of texts and of tokens, from safetensors and from ONNX files.

Tiny, randomly initialised Hugging Face checkpoints beside `expected.json`; `logits` has a row for each input, which for a
classifier of tokens are the logits of its tokens one after the other. The folders that end in `-onnx` hold the same models
as torch.onnx exports them, in float32, and with the weights in blocks of 4 and 8 bits as onnxruntime quantises them; what is
expected of those is what onnxruntime computes.
usage: python classifiers.py OUT
"""
import json
import os
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from transformers import (BertConfig, BertForSequenceClassification, BertForTokenClassification, RobertaConfig,
                          RobertaForSequenceClassification, RobertaForTokenClassification)

from extra import BERT, ROBERTA, tiny

TAGS = ["O", "B-NAME", "I-NAME", "B-CITY", "I-CITY"]


def labelled(names):
    return dict(id2label=dict(enumerate(names)), label2id={name: label for label, name in enumerate(names)})


def rows(model, lengths):
    return [torch.randint(5, model.config.vocab_size, (length,)).tolist() for length in lengths]


def rounded(logits):
    return [round(float(x), 6) for x in np.asarray(logits).reshape(-1)]


def write(folder, kind, inputs, logits, reference):
    payload = {"kind": kind, "input_ids": inputs, "logits": logits, "reference": reference, "tolerance": {"max_abs": 1e-3}}
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(payload, file)
    print(folder, sorted(os.listdir(folder)))


@torch.no_grad()
def save(out, name, model, lengths):
    """The checkpoint, every input on its own so that no padding takes part."""
    folder = os.path.join(out, name)
    model.save_pretrained(folder)
    inputs = rows(model, lengths)
    logits = [rounded(model(input_ids=torch.tensor([row])).logits[0]) for row in inputs]
    kind = "token-classification" if "Token" in type(model).__name__ else "sequence-classification"
    reference = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32, CPU"
    write(folder, kind, inputs, logits, reference)
    return inputs


def export(model, path):
    ids = torch.randint(5, model.config.vocab_size, (1, 6))
    arguments = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in names}
    torch.onnx.export(model, arguments, path, input_names=names, output_names=["logits"], dynamic_axes=axes,
                      opset_version=17, dynamo=False)


def run(path, row):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids = np.array([row], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    wanted = {one.name for one in session.get_inputs()}
    return rounded(session.run(["logits"], {name: value for name, value in feed.items() if name in wanted})[0][0])


def save_onnx(out, name, source, inputs, make):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(out, source, "config.json"), folder)
    path = os.path.join(folder, "model.onnx")
    make(path)
    write(folder, "token-classification", inputs, [run(path, row) for row in inputs], f"onnxruntime {onnxruntime.__version__}, CPU")


def in_blocks(plain, bits, is_symmetric):
    def make(path):
        quantizer = MatMulNBitsQuantizer(onnx.load(plain), bits=bits, block_size=16, is_symmetric=is_symmetric)
        quantizer.process()
        quantizer.model.save_model_to_file(path)
    return make


def main(out):
    torch.set_num_threads(1)
    lengths = (17, 6, 64, 1)
    config = BertConfig(**BERT, **labelled(TAGS), attn_implementation="eager")
    model = tiny(BertForTokenClassification, config, 41)
    inputs = save(out, "bert-token-classifier", model, lengths)
    plain = os.path.join(out, "bert-token-classifier-onnx", "model.onnx")
    save_onnx(out, "bert-token-classifier-onnx", "bert-token-classifier", inputs, lambda path: export(model, path))
    save_onnx(out, "bert-token-classifier-q4-onnx", "bert-token-classifier", inputs, in_blocks(plain, 4, False))
    save_onnx(out, "bert-token-classifier-q8-onnx", "bert-token-classifier", inputs, in_blocks(plain, 8, True))
    tags = RobertaConfig(**ROBERTA, **labelled(TAGS))
    save(out, "roberta-token-classifier", tiny(RobertaForTokenClassification, tags, 42), lengths)
    moods = BertConfig(**BERT, **labelled(["calm", "angry", "sad"]))
    save(out, "bert-classifier", tiny(BertForSequenceClassification, moods, 43), lengths)
    topics = RobertaConfig(**ROBERTA, **labelled(["work", "home"]), problem_type="multi_label_classification")
    save(out, "roberta-classifier", tiny(RobertaForSequenceClassification, topics, 44), lengths)


if __name__ == "__main__":
    main(*sys.argv[1:])
