"""Lists the devices and voices to choose from, in the background."""

from __future__ import annotations

from rtvc.errors import RtvcError
from rtvc.live.background import BackgroundThread
from rtvc.live.devices import AvailableDevices, DeviceProvider


class Scanner:
    """The devices and voices found by the last scan.

    Parameters
    ----------
    provider
        Lists the devices.

    Attributes
    ----------
    devices
        The devices found by the last scan. Read only.
    """

    def __init__(self, provider: DeviceProvider) -> None:
        self._provider = provider
        self.devices = AvailableDevices(scanned=False)
        self._voices: dict[str, str] | None = None
        self._message = ""
        self._scanning = False
        self._thread = BackgroundThread("rtvc scanner")
        self._closed = False

    @property
    def voices(self) -> dict[str, str]:
        """Names for ``Settings.voice``, each with a one-line description."""
        if self._voices is None:
            self._list_voices()
        return self._voices or {}

    def scan_devices(self) -> None:
        """Scan for devices, unless a scan is running."""
        if not (self._scanning or self._closed):
            self._scanning = True
            self._thread.submit(self._scan)

    def scan_voices(self) -> None:
        """Scan for voices."""
        if not self._closed:
            self._thread.submit(self._list_voices)

    def take_message(self) -> str:
        """Return why the last scan failed, once; "" if it did not."""
        message, self._message = self._message, ""
        return message

    def close(self) -> None:
        """Stop scanning."""
        self._closed = True
        self._provider.cancel_scan()
        self._thread.end()

    def _scan(self) -> None:
        try:
            self.devices = self._provider.scan()
        except RtvcError as error:
            self._message = str(error)
        finally:
            self._scanning = False

    def _list_voices(self) -> None:
        from rtvc.library.open_voice import list_voices

        self._voices = list_voices()
