"""What there is to choose from, looked for again and again in the background."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rtvc.errors import RtvcError
from rtvc.live.devices import AvailableDevices, DeviceProvider


class Scanner:
    """The devices and voices of the last look.

    Parameters
    ----------
    provider
        The devices.

    Attributes
    ----------
    devices
        What the last look found.
    """

    def __init__(self, provider: DeviceProvider) -> None:
        self._provider = provider
        self.devices = AvailableDevices()
        self._voices: dict[str, str] | None = None
        self._news = ""
        self._looking = False
        self._thread = ThreadPoolExecutor(1, "rtvc scanner")
        self._closed = False

    @property
    def voices(self) -> dict[str, str]:
        """The voices that ``Settings.voice`` can name, each with a sentence about it."""
        if self._voices is None:
            self._find_voices()
        return self._voices or {}

    def look_for_devices(self) -> None:
        """Look; nothing happens while it is being done."""
        if not (self._looking or self._closed):
            self._looking = True
            self._thread.submit(self._scan)

    def look_for_voices(self) -> None:
        """Look."""
        if not self._closed:
            self._thread.submit(self._find_voices)

    def take_news(self) -> str:
        """Return once what went wrong, "" if nothing did."""
        news, self._news = self._news, ""
        return news

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _scan(self) -> None:
        try:
            self.devices = self._provider.scan()
        except RtvcError as error:
            self._news = str(error)
        finally:
            self._looking = False

    def _find_voices(self) -> None:
        from rtvc.library.open_voice import list_voices

        self._voices = list_voices()
