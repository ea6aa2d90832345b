"""Blocks of every supported GGML type and their numbers, from the `gguf` package (PyPI; 0.19.0 was used).

Into OUT_DIR, all little-endian, go

  blocks.bin     for each type of TYPES in order: blocks, then their numbers as f32
  quantized.bin  32 · 32 numbers as f32, then their blocks in Q4_0, then in Q8_0

Blocks are random bytes with finite scales of both signs, some of them subnormal or zero. numpy is needed too.
usage: python make.py OUT_DIR
"""
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGML_QUANT_SIZES, quants

# Each type: how many blocks, and at which bytes of a block its scales (halves) lie.
TYPES = {
    Type.F32: (48, []), Type.F16: (48, [0]), Type.BF16: (48, []),
    Type.Q4_0: (32, [0]), Type.Q4_1: (32, [0, 2]), Type.Q5_0: (32, [0]), Type.Q5_1: (32, [0, 2]), Type.Q8_0: (32, [0]),
    Type.Q2_K: (20, [80, 82]), Type.Q3_K: (20, [108]), Type.Q4_K: (20, [0, 2]), Type.Q5_K: (20, [0, 2]), Type.Q6_K: (20, [208]),
}


def halves(random, count):
    """Finite halves: mostly of the size of real scales, a quarter of them anything, and the odd ones out first."""
    usual = random.normal(0, 0.01, count).astype(np.float16).view(np.uint16)
    any_finite = random.integers(0, 0x7C00, count, np.uint16) | (random.integers(0, 2, count, np.uint16) << np.uint16(15))
    picked = np.where(random.random(count) < 0.25, any_finite, usual)
    picked[:8] = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0xFBFF]
    return random.permutation(picked)


def blocks_of(random, kind, count, scales):
    size = GGML_QUANT_SIZES[kind][1]
    blocks = random.integers(0, 256, (count, size), np.uint8)
    if kind == Type.F32:
        blocks = random.normal(0, 1, (count, 1)).astype(np.float32).view(np.uint8)
    if kind == Type.BF16:
        blocks = quants.quantize(random.normal(0, 1, (count, 1)).astype(np.float32), kind)
    for at in scales:
        blocks[:, at:at + 2] = halves(random, count).reshape(-1, 1).view(np.uint8)
    return np.ascontiguousarray(blocks)


def main():
    random = np.random.default_rng(20)
    with open(os.path.join(sys.argv[1], "blocks.bin"), "wb") as out:
        for kind, (count, scales) in TYPES.items():
            blocks = blocks_of(random, kind, count, scales)
            numbers = quants.dequantize(blocks.reshape(1, -1), kind).astype(np.float32)
            assert numbers.size == count * GGML_QUANT_SIZES[kind][0] and np.isfinite(numbers).all()
            out.write(blocks.tobytes() + numbers.tobytes())
    numbers = random.normal(0, 1, (32, 32)).astype(np.float32) * np.exp2(random.integers(-8, 8, (32, 1))).astype(np.float32)
    numbers[3] = 0
    with open(os.path.join(sys.argv[1], "quantized.bin"), "wb") as out:
        out.write(numbers.tobytes())
        for kind in [Type.Q4_0, Type.Q8_0]:
            out.write(quants.quantize(numbers, kind).tobytes())


main()
