"""Installed voices and base models.

This package exports the functions that read the library; they import nothing heavy. The
functions that add to it are in `opening`, `adding` and `setting_up`, which import the readers
of weights.
"""

from rtvc.library.base_models import (
    base_model_path,
    estimator_in_use,
    missing_models,
    require_base_models,
)
from rtvc.library.home import data_folder
from rtvc.library.names import is_path
from rtvc.library.voices import (
    InstalledVoice,
    Manifest,
    installed_voice,
    list_removed,
    list_voices,
    remove_voice,
    rename_voice,
    restore_voice,
)

__all__ = [
    "InstalledVoice",
    "Manifest",
    "base_model_path",
    "data_folder",
    "estimator_in_use",
    "installed_voice",
    "is_path",
    "list_removed",
    "list_voices",
    "missing_models",
    "remove_voice",
    "rename_voice",
    "require_base_models",
    "restore_voice",
]
