"""rtvc: a live voice changer.

For use from Python: `load_voice`, `convert` and `Converter` change recordings and streams,
`Session` changes a microphone live. Everything is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from rtvc._version import __version__

if TYPE_CHECKING:
    from rtvc.conversion import Converter, convert
    from rtvc.engine.voice import Voice
    from rtvc.errors import RtvcError, UsageError
    from rtvc.library.load_voice import load_voice
    from rtvc.library.voice_defaults import voice_settings
    from rtvc.session import Session
    from rtvc.setting import SettingError
    from rtvc.settings import Settings
    from rtvc.stats import State, Stats

__all__ = [
    "Converter",
    "RtvcError",
    "Session",
    "SettingError",
    "Settings",
    "State",
    "Stats",
    "UsageError",
    "Voice",
    "__version__",
    "convert",
    "load_voice",
    "voice_settings",
]

_MODULES = {
    "Converter": "rtvc.conversion",
    "RtvcError": "rtvc.errors",
    "Session": "rtvc.session",
    "SettingError": "rtvc.setting",
    "Settings": "rtvc.settings",
    "State": "rtvc.stats",
    "Stats": "rtvc.stats",
    "UsageError": "rtvc.errors",
    "Voice": "rtvc.engine.voice",
    "convert": "rtvc.conversion",
    "load_voice": "rtvc.library.load_voice",
    "voice_settings": "rtvc.library.voice_defaults",
}

if not TYPE_CHECKING:
    # Hidden from type checkers, for which it would make any name a member.
    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        member = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return member


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
