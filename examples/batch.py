"""Convert a folder of sound files with one voice, and show the progress.

The voice is loaded once. A file that cannot be converted, or whose result exists already, is
reported, and the others follow.

    python examples/batch.py recordings/ converted/
    python examples/batch.py recordings/ converted/ Anna.zip
"""

import sys
from pathlib import Path

import soundfile

import rtvc


def convert_file(source: Path, target: Path, voice: rtvc.Voice, title: str) -> None:
    """Convert one file by the second, so that its progress can be shown."""
    with (
        soundfile.SoundFile(source) as talk,
        soundfile.SoundFile(target, "x", talk.samplerate, talk.channels) as result,
    ):
        try:
            converter = rtvc.Converter(voice, sample_rate=talk.samplerate, pitch=4)
            for second in talk.blocks(talk.samplerate, dtype="float32"):
                result.write(converter.process(second))
                print(f"\r{title} {talk.tell() / talk.frames:4.0%}", end="", flush=True)
            if talk.frames:  # else no block has said how many channels there are
                result.write(converter.flush())
        except BaseException:  # also Ctrl-C: do not leave a part of the result
            target.unlink()
            raise
    print()


def main(source: str, target: str, voice_name: str = "world") -> int:
    """Convert all files of a folder; return the exit code."""
    voice = rtvc.load_voice(voice_name)
    print(voice)
    files = sorted(path for path in Path(source).iterdir() if path.is_file())
    Path(target).mkdir(parents=True, exist_ok=True)
    failed = 0
    for number, path in enumerate(files, start=1):
        result = Path(target, path.name).with_suffix(".wav")
        try:
            convert_file(path, result, voice, f"{number}/{len(files)} {path.name}")
        except (rtvc.RtvcError, soundfile.LibsndfileError, OSError) as error:
            print(f"{path.name}: {error}")
            failed += 1
    print(f"{len(files) - failed} of {len(files)} files converted.")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except (rtvc.RtvcError, OSError) as error:
        sys.exit(str(error))
