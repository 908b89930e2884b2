"""Single keys and typed commands that control a live run without the panel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rtvc.config.preset_manager import PresetManager, format_value, setting_label
from rtvc.device_choice import SYSTEM_DEFAULT
from rtvc.errors import RtvcError, UsageError, did_you_mean
from rtvc.library.names import absolute
from rtvc.library.voice_defaults import follow_voice
from rtvc.live.actions import Actions
from rtvc.live.controller import Controller
from rtvc.live.devices import DeviceChoice
from rtvc.setting import Setting, Value
from rtvc.settings import SETTINGS, Settings

KEYS = "m mutes, space is your own voice, 1 to 9 load presets, r records, q quits."
HELP = """\
m                  mute, or open again
space              your own voice (asks first), or back to the changed one
1 to 9             load a favourite preset
r                  start or stop a recording
q                  quit
:status            the state, the voice, the latency
:pitch -4          change a setting; ':set pitch -4' is the same
:pitch             its value, its range and what it does
:voice anna        another voice; ':voice' lists them
:preset deep       load a preset; ':preset' lists them
:save NAME         save the settings as a preset
:remember          let the voice remember its settings
:undo, :redo       undo the last change, or do it again
:input NAME        another microphone, or default; also :output NAME
:monitor NAME      hear yourself on a second speaker, or default; off ends it
:minute            write the last minute to a folder
:mute, :own, :record, :quit     what the keys do"""
_OWN_VOICE = (
    " space is your own voice,",
    "space              your own voice (asks first), or back to the changed one\n",
    ", :own",
)
"""What the two texts say about your own voice."""
NO_DEVICE_NAMES = {"input": "default", "output": "default", "monitor": "off"}
"""What is typed for the system's default, or for no monitor."""


class Commands:
    """Does what a key or a command says, and returns what to answer.

    Parameters
    ----------
    controller, actions, preset_manager
        The live run, its actions, and the presets.
    status
        Returns the lines of ``:status``.
    check_voice
        Raises `RtvcError` if the voice of settings cannot be used.

    Attributes
    ----------
    ended
        Whether the user has quit.
    """

    def __init__(
        self,
        controller: Controller,
        actions: Actions,
        preset_manager: PresetManager,
        *,
        status: Callable[[], str],
        check_voice: Callable[[Settings], None],
    ) -> None:
        self._controller = controller
        self._actions = actions
        self._preset_manager = preset_manager
        self._check_voice = check_voice
        self.ended = False
        self._keys: dict[str, Callable[[], str]] = {
            "m": actions.toggle_mute,
            " ": self._own_voice,
            "space": self._own_voice,  # in a pipe a key has a name
            "r": actions.press_record,
            "q": self._quit,
            **{str(digit): partial(actions.load_favourite, digit) for digit in range(1, 10)},
        }
        self._commands: dict[str, Callable[[str], str]] = {
            "mute": lambda _: actions.toggle_mute(),
            "own": lambda _: self._own_voice(),
            "record": lambda _: actions.toggle_recording(),
            "quit": lambda _: self._quit(),
            "status": lambda _: status(),
            "help": lambda _: offered(HELP, never_dry=controller.never_dry),
            "set": self._set,
            "voice": self._voice,
            "preset": self._preset,
            "save": self._save,
            "remember": lambda _: actions.remember_voice(),
            "undo": lambda _: actions.undo(),
            "redo": lambda _: actions.redo(),
            "minute": lambda _: actions.save_minute(),
            **{what: partial(self._device, what) for what in NO_DEVICE_NAMES},
        }

    def key(self, key: str) -> str:
        """Do what a key says; other keys than those of `KEYS` do nothing."""
        act = self._keys.get(key.lower(), lambda: "")
        if act != self._own_voice:
            self._actions.mode_keys.withdraw()
        return self.attempt(act)

    def line(self, line: str) -> str:
        """Do what a line says: a command, with or without its colon, or the name of a key."""
        if line.lower() in self._keys:
            return self.key(line)
        return self.attempt(partial(self._run, line.strip().removeprefix(":").strip()))

    def attempt(self, act: Callable[[], str]) -> str:
        """Call `act`, and return its message, or the reason why it failed."""
        try:
            return act()
        except RtvcError as error:
            return str(error)
        except OSError as error:  # such as a deleted current folder; the run continues
            return f"The operation failed: {error.strerror or error}."

    def _run(self, line: str) -> str:
        name, _, rest = line.partition(" ")
        if not name:
            return ""
        if name.lower() != "own":
            self._actions.mode_keys.withdraw()
        if command := self._commands.get(name.lower()):
            return command(rest.strip())
        return self._set(line)

    def _set(self, line: str) -> str:
        name, _, text = line.partition(" ")
        if not name:
            raise UsageError("Name a setting: ':set NAME VALUE'.")
        setting = SETTINGS.get(name.lower().replace("-", "_"))
        names = [name for name, setting in SETTINGS.items() if setting.stored]
        if setting is None or setting.name not in names:
            hint = did_you_mean(name, [*names, *self._commands], "':help' lists the commands.")
            if setting is not None:  # the mode, which a similar name would not change
                own = "" if self._controller.never_dry else "; space is your own voice, and back"
                hint = f"m mutes and unmutes{own}."
            raise UsageError(f"There is no command or setting {name!r}. {hint}")
        if not text.strip():
            current = getattr(self._controller.settings, setting.name)
            shown = format_value(setting.name, current, unit=True)
            return f"{setting_label(setting.name)}: {shown}; {setting.allowed}. {setting.help}"
        if setting.name == "voice":
            return self._voice(text.strip())
        done = self._change(setting, setting.parse(text.strip()))
        return " ".join(filter(None, (done, setting.rounding(text) if setting.is_number else "")))

    def _voice(self, name: str) -> str:
        voices = list(self._controller.scanner.voices)
        if not name:
            return f"Voices: {', '.join(voices)}."
        name = _known(name, voices) or absolute(name)
        self._check_voice(follow_voice(self._controller.settings, name))
        return self._change(SETTINGS["voice"], name)

    def _preset(self, name: str) -> str:
        self._preset_manager.scan()
        names = [entry.name for entry in self._preset_manager.entries]
        if not name:
            return f"Presets: {', '.join(names)}."
        known = _known(name, names)
        if not known:
            raise UsageError(
                f"There is no preset {name!r}. "
                + (
                    self._preset_manager.problem
                    or did_you_mean(name, names, "':preset' lists the presets.")
                )
            )
        return self._actions.load_preset(known)

    def _save(self, name: str) -> str:
        if not name:
            raise UsageError("The preset needs a name: ':save NAME'.")
        _, description = self._actions.proposed_preset()
        return self._actions.save_preset(name, description if self._actions.updates(name) else "")

    def _device(self, what: str, name: str) -> str:
        if not name:
            raise UsageError(
                f"Name a device, or '{NO_DEVICE_NAMES[what]}': ':{what} NAME'. 'rtvc devices' in "
                "another terminal lists them."
            )
        choice: DeviceChoice = "" if name.lower() == NO_DEVICE_NAMES[what] else name
        selection = self._controller.requested
        if what == "input":
            selection = selection.with_input(choice)
        elif what == "output":
            selection = selection._replace(output=choice)
        else:
            default = name.lower() == NO_DEVICE_NAMES["output"]
            selection = selection._replace(monitor=SYSTEM_DEFAULT if default else choice)
        self._controller.select_devices(selection)
        return ""

    def _change(self, setting: Setting, value: Value) -> str:
        before, chosen = self._controller.settings, self._controller.chosen
        self._actions.change(setting, value)
        changes = self._actions.changes_since(before, chosen)
        return f"{', '.join(changes)}." if changes else "Nothing changes: it is so already."

    def _own_voice(self) -> str:
        return self._actions.toggle_dry() or self._actions.mode_keys.question

    def _quit(self) -> str:
        self.ended = True
        return ""


def _known(name: str, names: list[str]) -> str:
    """Return the name as it is, else the first that differs in case only, "" if there is none."""
    others = (known for known in names if known.lower() == name.lower())
    return name if name in names else next(others, "")


def offered(text: str, *, never_dry: bool) -> str:
    """Return `KEYS` or `HELP`, without your own voice if the run refuses it."""
    for part in _OWN_VOICE if never_dry else ():
        text = text.replace(part, "")
    return text
