"""Flags shared by commands: the settings, generated from their table, and --profile."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Set
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rtvc.device_choice import ChannelChoice, parse_channel
from rtvc.errors import RtvcError, UsageError, escaped
from rtvc.setting import Setting, Value, parse_number
from rtvc.settings import BUILT_IN, NO_MORPH, SETTINGS, Settings, grouped_settings

if TYPE_CHECKING:
    from rtvc.config.presets import Preset
    from rtvc.library import InstalledVoice

_PREFIX = "setting_"


class SettingAction(argparse.Action):
    """Stores the value of a setting, and in ``notes`` a sentence if it was rounded."""

    def __init__(self, *args: Any, setting: Setting, **facts: Any) -> None:
        super().__init__(*args, **facts)
        self._setting = setting

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse the value."""
        setattr(namespace, self.dest, self._setting.parse(values))
        if note := self._setting.rounding(values):
            namespace.notes = [*getattr(namespace, "notes", []), note]


def add_settings(parser: argparse.ArgumentParser, *, stored_only: bool = False) -> None:
    """Add ``--preset`` and one flag for each setting, or for each that a preset can hold."""
    sound = parser.add_argument_group("preset")
    sound.add_argument(
        "--preset",
        metavar="NAME",
        help="a preset ('rtvc presets' lists them) or the path of a preset file; flags override it",
    )
    for title, settings in grouped_settings().items():
        group = parser.add_argument_group(title)
        for setting in settings:
            if setting.stored or not stored_only:
                _add_setting(group, setting)


class Chosen(NamedTuple):
    """The settings of a command line.

    Attributes
    ----------
    settings
        All settings, after the preset and the flags.
    stated
        Names of the settings that the preset, a flag, or the voice that they choose sets.
    preset
        Name of the preset that the settings begin with, "" if there is none, if it is a file
        elsewhere, or if a flag chooses another voice.
    asked
        `stated` without what only the voice sets.
    """

    settings: Settings
    stated: frozenset[str]
    preset: str
    asked: frozenset[str]


def chosen(args: argparse.Namespace, base: Settings, name: str = "") -> Chosen:
    """Return `base`, changed by the preset and then by the flags of a command line.

    Where neither says anything, another voice brings the settings that it remembers.

    The file of the preset is read once; values in it that are rounded are printed. `name` is the
    preset that `base` begins with.

    Raises
    ------
    UsageError
        If the preset does not exist or is not valid.
    """
    from rtvc.library.names import absolute
    from rtvc.library.voice_defaults import find_defaults, follow_voice, own_settings, spelled

    given: dict[str, Value] = {
        key.removeprefix(_PREFIX): value
        for key, value in vars(args).items()
        if key.startswith(_PREFIX)
    }
    base = base.replace(voice=spelled(base.voice))
    if "voice" in given:
        given["voice"] = spelled(absolute(str(given["voice"])))
    if "morph_to" in given:
        given["morph_to"] = absolute(str(given["morph_to"]))
    stated: frozenset[str] = frozenset()
    if args.preset is not None:
        from rtvc.config.presets import listed_name

        preset = _find_preset(args.preset)

        def own(its: str) -> Settings:
            return own_settings(str(given.get("voice", its))).replace(voice=spelled(its))

        base = preset.apply_to(base, own)
        stated, name = preset.given, listed_name(args.preset)
        for note in preset.notes:
            print(escaped(note), file=sys.stderr)
    voice = str(given.get("voice", base.voice))
    if voice != base.voice:
        name = ""
        if args.preset is None:
            base = follow_voice(base, voice)
        else:
            base = base.replace(morph_to=NO_MORPH, morph=0.0)
    asked = stated | given.keys()
    if args.preset is not None or "voice" in given:
        remembered, damage = find_defaults(voice)
        stated |= remembered.keys()
        if damage:
            print(damage, file=sys.stderr)
    return Chosen(base.replace(**given), stated | asked, name, asked)


def file_path(text: str) -> Path:
    """Return the path of an argument; '~' is your home folder, in quotes and after '=' too."""
    return Path(os.path.expanduser(text))


def without_effect(chosen: Chosen, features: Set[str]) -> str:
    """Return "--NAME has" or "--NAME, --NAME have" for settings asked for that change nothing.

    Parameters
    ----------
    chosen
        The settings of a command line.
    features
        See `Setting.applies_to`.

    Returns
    -------
    str
        The beginning of a sentence, "" if all apply. A value at its default counts as applying.
    """
    differing = chosen.settings.changed().keys()
    changed = chosen.asked & differing
    morph = differing & {"morph_to", "morph"}
    alone = morph if len(morph) == 1 else set()  # a voice without a position, or the other way
    flags = [
        setting.flag
        for name, setting in SETTINGS.items()
        if name in changed and (name in alone or not setting.applies_to(features))
    ]
    return f"{', '.join(flags)} {'has' if len(flags) == 1 else 'have'}" if flags else ""


def forget_flags(args: argparse.Namespace) -> None:
    """Remove from a command line of ``run`` what the remembered run holds: settings and devices."""
    for name in [name for name in vars(args) if name.startswith(_PREFIX)]:
        delattr(args, name)
    args.preset = args.profile = args.input = args.output = args.monitor = None
    args.input_channel = None
    args.reset = False


def add_input_channel(
    parser: argparse._ArgumentGroup | argparse.ArgumentParser,
    mixed: str,
    default: ChannelChoice | None = None,
) -> None:
    """Add ``--input-channel``; `mixed` says what "mix" is the mean of."""
    parser.add_argument(
        "--input-channel",
        type=parse_channel,
        default=default,
        metavar="CHANNEL",
        help="channel of the input: its number from 1, 'loudest', or 'mix' for the mean " + mixed,
    )


def add_live_input_channel(parser: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add ``--input-channel`` for a microphone."""
    add_input_channel(
        parser,
        "of the first two that have sound (default: the remembered one, for the remembered "
        "microphone, else mix)",
    )


def add_profile(parser: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add ``--profile``."""
    from rtvc.calibration.profiles import PROFILES

    parser.add_argument(
        "--profile",
        choices=PROFILES,
        metavar="NAME",
        help="quality: context 2.5 s, large margin; balanced: 1 s; fast: 0.5 s, shortest block, "
        "small margin. It sets context, and with --latency auto or the results of 'rtvc "
        "calibrate' block and headroom, unless you set them; it is remembered",
    )


def add_compute(parser: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add ``--compute``."""
    from rtvc.config.compute_file import DEVICES

    parser.add_argument(
        "--compute",
        choices=DEVICES,
        metavar="DEVICE",
        help="compute the networks of RVC voices on the gpu, on the cpu, or on the gpu if MLX "
        "finds one (auto); it is remembered, for all commands",
    )


def choose_device(args: argparse.Namespace, *, remember: bool) -> None:
    """Use the device of ``--compute``, if it is given, and remember it.

    Raises
    ------
    UsageError
        If it is the GPU, and MLX finds none.
    """
    if args.compute is None:
        return
    from rtvc.config.compute_file import save_device
    from rtvc.system.mlx_environment import request_device

    request_device(args.compute)
    if args.compute == "gpu":
        # Raises an error without a GPU, which the built-in voice would not need.
        import_module("rtvc.engine.models.ops.backend")
    if remember:
        try:
            save_device(args.compute)
        except RtvcError as error:
            print(f"The choice of --compute is not remembered. {error}", file=sys.stderr)


def require_voice(settings: Settings) -> None:
    """Check that an installed voice, its base models and needed packages exist, paths excepted.

    A substitute for the pitch estimator is reported.

    Raises
    ------
    UsageError
        If there is no such voice; a similar name is suggested.
    RtvcError
        If base models or packages are missing; the message has the command that installs them.
    """
    from rtvc.engine.dsp.noise_suppression import require_suppressor
    from rtvc.library import estimator_in_use, installed_voice, is_path, require_base_models
    from rtvc.library.base_models import install_advice
    from rtvc.library.preset_morph import resolve_morph

    require_suppressor(settings.noise)
    resolve_morph(settings)
    if settings.voice != BUILT_IN and settings.morphs:
        second = settings.morph_to
        if second != BUILT_IN and not is_path(second):
            installed_voice(second)
    if settings.voice != BUILT_IN and not is_path(settings.voice):
        voice = _find_voice(settings.voice)
        require_base_models(voice, settings.pitch_method)
        used = estimator_in_use(settings.pitch_method)
        if voice.manifest.uses_pitch and used != settings.pitch_method:
            print(
                f"The pitch estimator RMVPE is not installed: using {used}. "
                f"{install_advice([settings.pitch_method])}",
                file=sys.stderr,
            )


def _find_preset(name: str) -> Preset:
    """Return a preset by its name or path, and say so if it is the name of a voice."""
    from rtvc.cli.hints import is_preset, is_voice
    from rtvc.config.presets import find_preset

    try:
        return find_preset(name)
    except UsageError:
        if is_preset(name) or not is_voice(name):
            raise
        raise UsageError(
            f"There is no preset {name!r}. It is a voice: choose it as the voice."
        ) from None


def _find_voice(name: str) -> InstalledVoice:
    """Return an installed voice by its name, and say so if it is the name of a preset."""
    from rtvc.cli.hints import is_preset
    from rtvc.library import installed_voice

    try:
        return installed_voice(name)
    except UsageError:
        if not is_preset(name):
            raise
        raise UsageError(
            f"There is no voice {name!r}. It is a preset: choose it as the preset."
        ) from None


def shape_voice(args: argparse.Namespace) -> bool:
    """Return whether a command line sets the preset or any setting of the voice."""
    groups = grouped_settings()
    names = {setting.name for setting in groups[next(iter(groups))]}
    return args.preset is not None or any(_PREFIX + name in vars(args) for name in names)


def seconds(text: str) -> float:
    """Return the value of ``--seconds``.

    Raises
    ------
    UsageError
        If it is not a number above 0.
    """
    try:
        value = parse_number(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--seconds is {text!r}, but must be a number above 0.")
    return value


def frames_per_second(text: str) -> int:
    """Return the value of ``--fps``.

    Raises
    ------
    UsageError
        If it is not a whole number from 1 to 60.
    """
    if not (text.isdecimal() and 1 <= int(text) <= 60):
        raise UsageError(f"--fps is {text!r}, but must be a whole number from 1 to 60.")
    return int(text)


def described(values: dict[str, Value]) -> str:
    """Return settings as text, such as "pitch 4 semitones, whisper true"."""
    parts = []
    for name, value in values.items():
        unit = SETTINGS[name].unit
        text = f"{value:g}" if isinstance(value, float) else str(value)
        text = text.lower() if isinstance(value, bool) else text
        parts.append(f"{name.replace('_', ' ')} {text}" + (f" {unit}" if unit else ""))
    return ", ".join(parts)


def _add_setting(group: argparse._ArgumentGroup, setting: Setting) -> None:
    dest = _PREFIX + setting.name
    help_text = setting.help[0].lower() + setting.help[1:].rstrip(".")
    if setting.kind is bool:
        group.add_argument(
            setting.flag,
            dest=dest,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=f"{help_text} (default {'on' if setting.default else 'off'})",
        )
        return
    default = f"{setting.default:g}" if isinstance(setting.default, float) else str(setting.default)
    group.add_argument(
        setting.flag,
        dest=dest,
        action=SettingAction,
        setting=setting,
        default=argparse.SUPPRESS,
        metavar=(setting.unit or ("NAME" if setting.kind is str else "NUMBER")).upper(),
        help=f"{help_text}; {setting.allowed} (default {default})".replace("%", "%%"),
    )
