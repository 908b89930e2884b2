"""Measures the latency of open devices, and keeps it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rtvc.config.measured_latency import MeasuredLatency, save_latency
from rtvc.live.devices import OpenDevices
from rtvc.stats import Latency

if TYPE_CHECKING:
    from rtvc.audio.loop_latency import LoopLatency


def measure_devices(devices: OpenDevices) -> LoopLatency:
    """Measure the latency of devices with audible chirps, and keep it if it is reliable.

    Parameters
    ----------
    devices
        Open devices, not started yet.

    Raises
    ------
    RtvcError
        If the chirps do not come back, a device fails, or the result cannot be saved.
    """
    from rtvc.audio.loop_latency import measure_loop_latency

    streams = []
    loop = measure_loop_latency(devices.endpoint, running=lambda: streams.append(devices.streams()))
    if loop.reliable:
        save_latency(
            MeasuredLatency(
                input=devices.names.input,
                output=devices.names.output,
                streams=streams[0],
                seconds=loop.measured,
                reported=loop.reported,
                jitter=loop.analysis.jitter_s,
                at=time.time(),
            )
        )
    return loop


def measured_total(latency: Latency, measured: MeasuredLatency) -> float:
    """Return the latency from microphone to speaker with the measured part of the devices."""
    return latency.total - latency.device_in - latency.device_out + measured.seconds
