"""Compare content features of a live window with those of the whole recording.

    python -m benchmarks.content [--speech FOLDER] [--context 500] [--block 100]

The content encoder normalises the output of its first convolution: over a window with the setting
``content: window``, over the last ten seconds with ``content: running``. The conversion of a file
normalises over a phrase. For each recording this prints how far the newest output of the
convolutions is from that of the whole recording, relative to it, in dB; the error of a recording
is the sum over all blocks that have a whole window. The encoder has full size and random weights,
so the figures say which statistics are closer, not how a voice sounds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mlx.core as mx
import numpy as np
import soundfile
import soxr

from rtvc._types import Float32
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.profiling.random_weights import random_encoder
from rtvc.engine.rvc.running_convolutions import RunningConvolutions
from rtvc.engine.rvc.window import FRAME
from rtvc.system.info import hardware, versions

RATE = 16_000
SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speech", type=Path, default=SPEECH)
    parser.add_argument("--context", type=float, default=500.0, help="ms")
    parser.add_argument("--block", type=float, default=100.0, help="ms")
    args = parser.parse_args()
    found, machine = versions(), hardware()
    print(
        f"rtvc {found['rtvc']}, MLX {found['mlx']}, {machine['processor']}; block "
        f"{args.block:g} ms, context {args.context:g} ms"
    )
    encoder = random_encoder()
    block, context = round(args.block / 10), round(args.context / 10)
    # As in a step: context, block and the lookahead of the vocoder.
    frames = context + block + 5
    print("| recording | blocks | window | running |")
    print("|---|---|---|---|")
    for path in sorted(args.speech.glob("*.wav")):
        audio, rate = soundfile.read(path, dtype="float32")
        audio = soxr.resample(audio, rate, RATE).astype(np.float32)
        count, errors = compare(encoder, audio, frames, block)
        if count:
            print(f"| {path.stem} | {count} | {errors[0]:.1f} | {errors[1]:.1f} |", flush=True)


def compare(
    encoder: Hubert, audio: Float32, frames: int, block: int
) -> tuple[int, tuple[float, float]]:
    """Return the number of blocks, and the errors of window and running statistics in dB."""
    whole = convolved(encoder.convolve(mx.array(audio)))
    stream = RunningConvolutions(encoder, frames, block)
    level, sums, count = 0.0, [0.0, 0.0], 0
    for end in range(block, len(audio) // FRAME, block):
        stream.push(audio[(end - block) * FRAME : end * FRAME])
        start = (end - frames) // 2 * 2
        if start < 0:
            continue
        window = audio[start * FRAME : end * FRAME]
        made = convolved(encoder.convolve(mx.array(window))), convolved(stream.begin(window, start))
        newest = slice(len(made[0]) - (block + 1) // 2, len(made[0]))
        expected = whole[start // 2 : start // 2 + len(made[0])][newest]
        level += float(np.sum(expected**2))
        for number, rows in enumerate(made):
            sums[number] += float(np.sum((rows[newest] - expected) ** 2))
        count += 1
    first, second = (10 * np.log10(total / level) if count else 0.0 for total in sums)
    return count, (float(first), float(second))


def convolved(parts: list[mx.array]) -> Float32:
    """Return the rows, (n, channels) float32."""
    return np.array(mx.concatenate(parts, axis=1)[0].astype(mx.float32))


if __name__ == "__main__":
    main()
