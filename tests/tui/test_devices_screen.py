"""The screen of the devices: the channel of a microphone."""

from dataclasses import replace

import pytest

from rtvc.config.remembered import load_remembered
from rtvc.stats import State
from tests.tui.conftest import in_loop
from tests.tui.simulated_devices import USB, SimulatedDevices, identity

pytestmark = pytest.mark.slow

INTERFACE = replace(USB, name="Interface", inputs=3)


@pytest.mark.thorough
@in_loop
async def test_c_chooses_the_channel_of_the_marked_microphone(open_panel):
    provider = SimulatedDevices()
    provider.inputs.append(INTERFACE)
    async with open_panel(provider=provider) as it:
        it.panel.controller._remember = True
        await it.press("d")
        await it.reads("Interface 44100 Hz", "c input channel")
        await it.press("end")
        for label, channel in (
            ("loudest channel", "loudest"),
            ("channel 1", 1),
            ("channel 2", 2),
            ("channel 3", 3),
        ):
            await it.press("c")
            await it.reads(f"* Interface {label}, 44100 Hz")
            await it.until(lambda channel=channel: it.controller.wanted.channel == channel)
        await it.hears(State.CONVERTED)
        assert it.controller.wanted.input == identity(INTERFACE)
        await it.press("c")
        await it.until(lambda: it.controller.wanted.channel == "mix")
        await it.press("tab", "c", "c")  # from another list too; only the last one is opened
        await it.until(lambda: it.controller.wanted.channel == 1)
        await it.hears(State.CONVERTED)
        await it.press("escape")
    run = load_remembered()[0]
    assert (run.input, run.input_channel) == (identity(INTERFACE), 1)


@pytest.mark.thorough
@in_loop
async def test_the_default_microphone_has_a_channel_too(open_panel):
    async with open_panel() as it:
        await it.press("d")
        await it.reads("USB Microphone")
        await it.press("home", "c")
        await it.reads("system default loudest channel")
        await it.until(lambda: it.controller.wanted.channel == "loudest")
        assert it.controller.wanted.input == ""
        it.provider.inputs.clear()
        await it.until(lambda: "USB Microphone" not in it.text())
        await it.press("c")
        assert it.controller.requested.channel == "loudest", "nobody knows its channels"


@pytest.mark.thorough
@in_loop
async def test_headphones_are_advised_until_the_echo_is_cancelled(open_panel):
    async with open_panel() as it:
        await it.press("d")
        await it.reads("Wear headphones, or set echo to cancel")
        it.controller.apply(it.controller.settings.replace(echo="cancel"))
        await it.until(lambda: "headphones, or" not in it.text())
        await it.press("escape")
