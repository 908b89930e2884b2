"""What plain mode announces, and what its commands do."""

import dataclasses

import pytest

from rtvc.config.panel_state import PanelState
from rtvc.config.preset_manager import PresetManager
from rtvc.config.presets import user_folder
from rtvc.config.remembered import RememberedRun
from rtvc.device_choice import SYSTEM_DEFAULT
from rtvc.errors import UsageError
from rtvc.live.actions import Actions
from rtvc.live.announcer import Announcer, in_words
from rtvc.live.commands import Commands
from rtvc.live.controller import Controller
from rtvc.live.devices import DeviceNames, device_label
from rtvc.live.mode_keys import ModeKeys
from rtvc.settings import Settings
from rtvc.stats import Latency, State, Stats
from tests.tui.simulated_devices import SimulatedDevices

NAMES = DeviceNames("mic", "speaker")
LIVE = Stats(
    state=State.CONVERTED, blocks=10, voice="world", latency=Latency(block=0.1, headroom=0.08)
)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


class Run:
    """An announcer that is asked every tenth of a second."""

    def __init__(self):
        self._announcer = Announcer()
        self.now = 0.0

    def then(self, stats, settings=None, names=NAMES):
        self.now += 0.1
        return self._announcer.update(stats, settings or Settings(), names, self.now)


def test_only_changes_are_announced():
    run = Run()
    begin = run.then(LIVE)
    assert "Microphone 'mic', speaker 'speaker'." in begin
    assert "The voice is 'world'." in begin
    assert "The latency is 180 ms." in begin
    for blocks in range(20):
        assert run.then(dataclasses.replace(LIVE, blocks=blocks)) == []
    muted = dataclasses.replace(LIVE, state=State.MUTED)
    assert run.then(muted, Settings(mode="muted")) == ["Muted."]
    assert run.then(dataclasses.replace(LIVE, voice="anna")) == [begin[0], "The voice is 'anna'."]


def test_only_devices_that_are_known_are_named():
    run = Run()
    assert not any("speaker" in line for line in run.then(LIVE, names=DeviceNames()))
    assert run.then(LIVE, names=DeviceNames("USB")) == ["Microphone 'USB'."]
    assert in_words(DeviceNames("USB")) == "Microphone 'USB'."
    assert in_words(DeviceNames("", "TV", "Phones")) == "Speaker 'TV', monitor 'Phones'."
    assert in_words(DeviceNames("a", "b")) == "Microphone 'a', speaker 'b'."
    assert in_words(DeviceNames()) == ""


def test_a_lost_device_is_announced_once_and_so_is_its_return():
    run = Run()
    begin = run.then(LIVE)
    lost = dataclasses.replace(LIVE, state=State.DEVICE_LOST, reason="'mic' is gone. Connect it.")
    [line] = run.then(lost)
    assert line.endswith(" 'mic' is gone. Connect it.")
    assert run.then(lost) == []
    back = run.then(LIVE, names=NAMES._replace(input="other"))
    assert back == [begin[0], "Microphone 'other', speaker 'speaker'."]


def test_late_blocks_are_announced_at_most_once_in_ten_seconds():
    run = Run()
    run.then(LIVE)
    lines = []
    for late in range(1, 16):
        run.now += 5.9
        lines += run.then(dataclasses.replace(LIVE, late_blocks=late))
    assert lines[0] == "1 block was late: there was a gap."
    assert set(lines[1:]) == {"2 blocks were late: there was a gap."}
    assert len(lines) == 8


def test_a_machine_that_is_too_slow_is_announced_at_most_once_in_ten_seconds():
    run = Run()
    begin = run.then(LIVE)
    lines = []
    for late in range(10, 400):
        lines += run.then(dataclasses.replace(LIVE, late_blocks=late))
    assert lines[0].startswith("Too slow. ")
    assert 2 <= len(lines) <= 5
    run.now += 10
    assert run.then(dataclasses.replace(LIVE, late_blocks=late)) == [begin[0]]


def test_small_changes_of_the_latency_are_not_announced():
    run = Run()
    run.then(LIVE)
    assert run.then(dataclasses.replace(LIVE, latency=Latency(block=0.1, headroom=0.085))) == []
    longer = dataclasses.replace(LIVE, latency=Latency(block=0.15, headroom=0.08))
    assert run.then(longer) == ["The latency is 230 ms."]


def test_reduced_work_is_announced():
    run = Run()
    run.then(LIVE)
    reduced = dataclasses.replace(LIVE, degraded="context 500 ms")
    assert run.then(reduced) == ["Reduced to keep up: context 500 ms."]
    assert run.then(LIVE) == ["Nothing is reduced any more."]


class Typist:
    """Commands on a run that has not been started."""

    def __init__(self, *, never_dry: bool = False):
        self.controller = Controller(
            SimulatedDevices(), RememberedRun(), remember=False, never_dry=never_dry
        )
        presets = PresetManager()
        presets.scan()
        self.now = 0.0
        self.mode_keys = ModeKeys(clock=lambda: self.now)
        actions = Actions(self.controller, presets, PanelState(), self.mode_keys)
        actions.fill_favourites()
        self.commands = Commands(
            self.controller,
            actions,
            presets,
            status=lambda: "All is well.",
            check_voice=self._check_voice,
        )

    def _check_voice(self, settings):
        if settings.voice not in self.controller.scanner.voices:
            raise UsageError(f"There is no voice {settings.voice!r}.")

    @property
    def settings(self):
        return self.controller.settings


def test_commands_change_settings():
    it = Typist()
    assert it.commands.line(":pitch -4") == "pitch: 0 -> -4 semitones."
    assert it.settings.pitch == -4
    assert it.commands.line("set index-rate 0.2") == "index rate: 0.5 -> 0.2."
    assert it.commands.line(":whisper on") == "whisper: no -> yes."
    assert it.commands.line(":whisper on") == "Nothing changes: it is so already."
    assert it.commands.line(":block 95").startswith("'block' is rounded") is False
    assert "pitch: -4 semitones; a number from -24 to 24 semitones." in it.commands.line(":pitch")
    assert it.commands.line(":block 95")
    assert it.commands.line(":undo") == "block: 100 ms, automatic again"
    assert it.commands.line(":block 100") == "block: 100 ms, no longer automatic."
    assert it.commands.line(":status") == "All is well."


def test_refused_values_are_told_in_a_sentence_and_change_nothing():
    it = Typist()
    before = it.settings
    assert it.commands.line(":pitch 99") == (
        "'pitch' is 99, but must be a number from -24 to 24 semitones. "
        "The nearest valid value is 24."
    )
    assert it.commands.line(":ptich 3") == (
        "There is no command or setting 'ptich'. Did you mean 'pitch'?"
    )
    assert it.commands.line(":preset dep") == "There is no preset 'dep'. Did you mean 'deep'?"
    assert it.commands.line(":voice nobody") == "There is no voice 'nobody'."
    assert it.commands.line(":set voice nobody") == "There is no voice 'nobody'."
    assert "no command or setting 'xyz'" in it.commands.line("xyz")
    assert it.commands.line("") == ""
    assert it.settings == before


def test_the_mode_is_no_setting():
    it = Typist()
    said = "There is no command or setting 'mode'. m mutes and unmutes"
    for line in (":mode dry", ":set mode dry"):
        assert it.commands.line(line) == f"{said}; space is your own voice, and back."
    assert it.settings.mode == "converted"
    assert Typist(never_dry=True).commands.line(":mode dry") == f"{said}."


def test_keys_and_commands_do_the_same():
    it = Typist()
    assert "Loaded preset 'deep'." in it.commands.line(":preset DEEP")
    assert it.settings.pitch == -5
    it.commands.key("1")
    assert it.settings.pitch != -5
    it.commands.key("m")
    assert it.settings.mode == "muted"
    it = Typist()
    it.commands.line(":mute")
    assert it.settings.mode == "muted"
    it.commands.key("x")
    assert not it.commands.ended
    it.commands.line("q")
    assert it.commands.ended


def test_your_own_voice_is_asked_for():
    it = Typist()
    asked = "Your own voice on air? Press space again within 5 s; Escape: no."
    assert it.commands.key(" ") == asked
    for key in ("1", "m"):
        it.now += 1
        it.commands.key(key)
    assert it.settings.mode == "muted"
    it.now += 1
    assert it.commands.key(" ") == "The output is muted. Press m to unmute."
    it.commands.key("m")
    it.commands.line(":own")
    it.now += 1
    it.commands.line(":pitch 3")
    assert it.commands.key(" ") == asked, "a command is no answer"
    it.now += 1
    it.commands.line(":own")
    assert it.settings.mode == "dry"
    it.now += 1
    it.commands.line("space")
    assert it.settings.mode == "converted"


def test_devices_and_presets_by_name():
    it = Typist()
    it.commands.line(":input USB Microphone")
    it.commands.line(":monitor External Headphones")
    assert it.controller.wanted.input == ""  # not before the devices are open
    assert it.commands.line(":save mine") == "Saved preset 'mine'."
    assert it.commands.line(":save mine").startswith("Updated 'mine'.")
    assert "mine" in it.commands.line(":preset")
    assert it.commands.line(":voice") == "Voices: world."
    assert "needs a name" in it.commands.line(":save")
    asked = it.commands.line(":output")
    assert asked.startswith("Name a device, or 'default': ':output NAME'. 'rtvc devices' in")
    it.controller.close()


def test_devices_in_quick_succession_are_all_used():
    it = Typist()
    it.commands.line(":input USB Microphone")
    it.commands.line(":output External Headphones")
    used = it.controller.requested
    assert [device_label(one) for one in (used.input, used.output)] == [
        "USB Microphone",
        "External Headphones",
    ]
    it.controller.close()


def test_default_is_the_device_of_the_system_in_each_direction():
    it = Typist()
    for what in ("input", "output", "monitor"):
        it.commands.line(f":{what} External Headphones")
        it.commands.line(f":{what} Default")
    assert it.controller.requested[:3] == ("", "", SYSTEM_DEFAULT)
    it.commands.line(":monitor OFF")
    assert it.controller.requested.monitor == ""
    it.controller.close()


def test_of_names_that_differ_in_case_the_one_that_is_typed_is_used():
    user_folder().mkdir(parents=True)
    (user_folder() / "Deep.yaml").write_text("pitch: 3\n")
    it = Typist()
    assert it.commands.line(":preset deep").startswith("Loaded preset 'deep'.")
    assert it.commands.line(":preset Deep").startswith("Loaded preset 'Deep'.")
    assert it.commands.line(":preset DEEP").startswith("Loaded preset ")


def test_a_preset_saved_with_its_suffix_keeps_its_description():
    user_folder().mkdir(parents=True)
    file = user_folder() / "mine.yaml"
    file.write_text("description: For calls.\npitch: 3\n")
    it = Typist()
    it.commands.line(":preset mine")
    it.commands.line(":pitch 5")
    assert it.commands.line(":save mine.yaml").startswith("Updated 'mine'.")
    assert "For calls." in file.read_text()
