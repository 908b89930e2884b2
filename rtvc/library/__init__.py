"""Installed voices and base models: where they live, and how they come and go.

What reads is here and light. What adds is in `opening`, `adding` and `setting_up`, which bring the
readers of weights with them.
"""

from rtvc.library.base_models import base_model_path, missing_models, require_ready
from rtvc.library.home import home
from rtvc.library.names import is_path
from rtvc.library.voices import (
    InstalledVoice,
    Manifest,
    find_removed,
    installed_voice,
    list_voices,
    remove_voice,
    rename_voice,
    restore_voice,
)

__all__ = [
    "InstalledVoice",
    "Manifest",
    "base_model_path",
    "find_removed",
    "home",
    "installed_voice",
    "is_path",
    "list_voices",
    "missing_models",
    "remove_voice",
    "rename_voice",
    "require_ready",
    "restore_voice",
]
