"""The parts of ``rtvc report``, each in a process of its own.

``python -m rtvc.cli.report_parts PART VOICE SECONDS LIVE`` prints the result as JSON.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtvc.engine.voice import Voice
    from rtvc.live.devices import OpenDevices
    from rtvc.settings import Settings

RANDOM_VOICE = "v2-40k"
"""The full-size voice with random weights, of the size of most voices."""


def devices() -> list[dict[str, Any]]:
    """Return the devices with their names."""
    from rtvc.audio.devices import list_devices

    return [dataclasses.asdict(device) for device in list_devices()]


def calibration(voice: str, seconds: float) -> dict[str, Any]:
    """Measure the steps of a voice, as ``rtvc calibrate`` does, and keep nothing."""
    from rtvc.calibration.conditions import conditions
    from rtvc.engine.profiling.step_timing import PARTS_SHARE, measure, measure_processing
    from rtvc.live.demo import load_utterance
    from rtvc.system.realtime_mode import realtime_mode
    from rtvc.system.thread_priority import raise_thread_priority

    settings = _settings(voice)
    with realtime_mode():
        raise_thread_priority()
        measured = measure(_voice(voice), settings, load_utterance(), conditions(), seconds=seconds)
        processing = measure_processing(load_utterance(), seconds=PARTS_SHARE * seconds)
    return dataclasses.asdict(dataclasses.replace(measured.timing, processing=processing))


def live(voice: str, seconds: float, *, with_devices: bool) -> dict[str, Any]:
    """Run the engine on the bundled utterance, on the clock of the devices, in silence."""
    from rtvc.cli.run_report import run_report
    from rtvc.live.device_session import DeviceSession

    opened = _devices(seconds, with_devices=with_devices)
    session = DeviceSession(opened, _settings(voice), _voice)
    session.start()
    try:
        session.session.wait(seconds)
        stats = session.session.stats()
        return run_report(
            session.session.settings, stats, seconds, opened.described(), session.measured
        )
    finally:
        session.stop()


def _settings(voice: str) -> Settings:
    from rtvc.settings import Settings

    return Settings(voice=voice, gate=-90.0, pitch=4.0, formant=2.0, index_rate=0.0)


def _voice(name: str) -> Voice:
    from rtvc.engine.profiling.random_weights import KINDS, random_rvc_voice
    from rtvc.library.computing import prepare_computing
    from rtvc.library.open_voice import find_voice

    if name not in KINDS:
        return find_voice(name)
    prepare_computing()
    return random_rvc_voice(name)


def _devices(seconds: float, *, with_devices: bool) -> OpenDevices:
    """Return the devices of the last run with known sound and silence, or a simulated device."""
    import numpy as np

    from rtvc.audio.device_search import find_device
    from rtvc.audio.endpoint import ENGINE_RATE
    from rtvc.audio.known_input import KnownInput
    from rtvc.audio.silent_output import SilentOutput
    from rtvc.audio.simulated import SimulatedDevice
    from rtvc.config.remembered import load_remembered
    from rtvc.errors import RtvcError
    from rtvc.live.demo import load_utterance
    from rtvc.live.devices import DeviceNames, DeviceSelection, OpenDevices, SystemDevices

    sound = load_utterance()
    if with_devices:
        selection = DeviceSelection.of(load_remembered()[0])._replace(monitor="")
        try:
            find_device(selection.input or None, "input")
            find_device(selection.output or None, "output")
        except RtvcError as error:
            print(error, file=sys.stderr)
        else:
            opened = SystemDevices().open(selection)
            endpoint = SilentOutput(KnownInput(opened.endpoint, sound))
            return dataclasses.replace(opened, endpoint=endpoint)
    enough = np.resize(sound, round((seconds + 5.0) * ENGINE_RATE))
    simulated = SimulatedDevice(enough, wall_clock=True)
    return OpenDevices(simulated, DeviceNames("simulated", "simulated"))


def main(part: str, voice: str, seconds: str, wanted: str) -> None:
    """Print one part."""
    from rtvc.cli.leaving import leave_if_hung
    from rtvc.cli.run_report import as_json
    from rtvc.system.library_output import separate_library_output

    separate_library_output()
    found: Any
    if part == "devices":
        found = devices()
    elif part == "calibration":
        found = calibration(voice, float(seconds))
    else:
        found = live(voice, float(seconds), with_devices=wanted == "devices")
    print(as_json(found), flush=True)
    leave_if_hung(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
