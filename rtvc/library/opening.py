"""Opens what a person names: a file, a folder, an archive or an address with voices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtvc.engine.weights.recognise import FileKind, recognise, require_weights
from rtvc.errors import UsageError
from rtvc.library import names
from rtvc.library.addresses import is_address, without_secrets
from rtvc.library.archives import unpack
from rtvc.library.download import ReportProgress, discard, download
from rtvc.library.finding import SUFFIXES, FoundVoice, find_voices, index_beside
from rtvc.library.home import staging


@contextmanager
def opened(source: str, progress: ReportProgress) -> Iterator[list[FoundVoice]]:
    """Find the voices in a file, a folder, an archive or at an address.

    What was downloaded or unpacked for it is gone afterwards; a complete download stays where
    only the request was wrong (`UsageError`), so that the next one need not load it again.

    Parameters
    ----------
    source
        A path, or an address that begins with ``http://`` or ``https://``.
    progress
        Is told how far a download is.

    Raises
    ------
    RtvcError
        If there is no voice, or it cannot be read or downloaded.
    """
    if not is_address(source):
        with _found(Path(source).expanduser().absolute()) as found:
            yield found
        return
    fetched = download(source, progress)
    try:
        with staging() as stage:
            # The name that it goes by is that of its site, also in messages.
            named = stage / (names.safe(fetched.name) or "download")
            named.symlink_to(fetched.path)
            with _found(named) as found:
                origin = without_secrets(source)
                yield [dataclasses.replace(one, origin=origin) for one in found]
    except UsageError:
        raise
    except Exception:
        discard(source)
        raise
    discard(source)


@contextmanager
def _found(path: Path) -> Iterator[list[FoundVoice]]:
    if path.is_dir():
        yield find_voices(path, path.name)
    elif recognise(path) is FileKind.ARCHIVE:
        with staging() as stage:
            unpack(path, stage, SUFFIXES)
            yield find_voices(stage, path.stem)
    else:
        require_weights(path, "a voice")
        stem = names.without_training_marks(path.stem)
        yield [FoundVoice(path, index_beside(path), names.suggested_name(stem))]
