"""Real speech for tests: five utterances of LibriSpeech, see data/speech/README.md."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data" / "speech"
UTTERANCES = sorted(FOLDER.glob("*.wav"))
