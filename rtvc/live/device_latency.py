"""Measures the latency of open devices, and keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtvc.config.measured_latency import MeasuredLatency, refuse_newer, save_latency
from rtvc.live.devices import OpenDevices

if TYPE_CHECKING:
    from rtvc.audio.loop_latency import LoopLatency
    from rtvc.device_choice import DeviceIdentity


def measure_devices(devices: OpenDevices, *, ended: Callable[[], str] = lambda: "") -> LoopLatency:
    """Measure the latency of devices with audible chirps, and keep it if it is reliable.

    Parameters
    ----------
    devices
        Open devices, not started yet.
    ended
        Called every 10 ms. Returns why nothing more may be played, "" to continue.

    Raises
    ------
    RtvcError
        If the chirps do not come back, a device fails, `ended` returns a reason, or the result
        cannot be saved.
    """
    from rtvc.audio.loop_latency import measure_loop_latency

    refuse_newer()  # before anything is played
    seen: list[tuple[tuple[DeviceIdentity, DeviceIdentity] | None, str]] = []
    loop = measure_loop_latency(
        devices.endpoint,
        running=lambda: seen.append((devices.identities(), devices.streams())),
        ended=ended,
    )
    used, streams = seen[0]
    if loop.reliable and streams and used:
        save_latency(
            MeasuredLatency(
                input=used[0],
                output=used[1],
                streams=streams,
                seconds=loop.measured,
                reported=loop.reported,
                jitter=loop.jitter,
                at=time.time(),
            )
        )
    return loop
