"""Convert a stream: pass audio through a converter block by block, as it arrives.

A sound file stands for the stream. Any block length works, and the result is the same.

    python examples/stream.py talk.wav deep.wav
"""

import sys
from pathlib import Path

import soundfile

import rtvc

BLOCK = 1024


def main(source: str, target: str) -> None:
    """Convert one file in blocks."""
    with (
        soundfile.SoundFile(source) as talk,
        soundfile.SoundFile(target, "x", talk.samplerate, talk.channels) as result,
    ):
        try:
            converter = rtvc.Converter(
                "world", rtvc.Settings(pitch=-4, formant=-2), sample_rate=talk.samplerate
            )
            print(f"The result lags by at most {1000 * converter.latency:.0f} ms.")
            for block in talk.blocks(BLOCK, dtype="float32"):
                result.write(converter.process(block))
            if talk.frames:  # else no block has said how many channels there are
                result.write(converter.flush())
        except BaseException:  # also Ctrl-C: do not leave a part of the result
            Path(target).unlink()
            raise
        print(f"{target}: {result.frames} samples, as many as {source}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (rtvc.RtvcError, soundfile.LibsndfileError, OSError) as error:
        sys.exit(str(error))
