"""Convert an array: read a sound file, raise the voice by four semitones, write the result.

Any array with samples works; here it comes from a sound file.

    python examples/convert_array.py talk.wav higher.wav
"""

import sys

import soundfile

import rtvc


def main(source: str, target: str) -> None:
    """Convert one file."""
    samples, sample_rate = soundfile.read(source)
    higher = rtvc.convert(samples, sample_rate=sample_rate, pitch=4)
    soundfile.write(target, higher, sample_rate)
    print(f"{target}: {len(higher) / sample_rate:.1f} s, {higher.dtype}, shape {higher.shape}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (rtvc.RtvcError, soundfile.LibsndfileError, OSError) as error:
        sys.exit(str(error))
