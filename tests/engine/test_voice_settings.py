"""The settings of a voice do not shape another one."""

from rtvc.engine.voice_settings import VoiceSettings
from rtvc.settings import Settings

DEEP = Settings(voice="world", pitch=-4.0, formant=-2.0)
ANNA = Settings(voice="anna", output_gain=-3.0)


def test_a_voice_keeps_its_settings_while_another_one_is_requested():
    kept = VoiceSettings()
    assert kept.use(Settings(voice="world"), DEEP) is DEEP
    used = kept.use(Settings(voice="world"), ANNA)
    assert (used.pitch, used.formant) == (-4.0, -2.0)
    assert used.output_gain == -3.0


def test_a_voice_that_has_converted_nothing_has_the_settings_that_it_was_built_for():
    """Those of another voice, requested before the first block, would make it your own voice."""
    used = VoiceSettings().use(DEEP, ANNA)
    assert (used.pitch, used.formant) == (-4.0, -2.0)


def test_a_voice_that_takes_over_meanwhile_has_the_settings_that_it_was_built_for():
    kept = VoiceSettings()
    kept.use(ANNA, ANNA)
    used = kept.use(DEEP, Settings(voice="bob"))
    assert (used.pitch, used.formant) == (-4.0, -2.0)
