"""Lists of devices as PortAudio gives them on some machines."""

from __future__ import annotations

from rtvc.audio.devices import Device


def listed(*rows: tuple[str, str, int, int]) -> list[Device]:
    """Return devices from name, host API, inputs and outputs; the first ones are the defaults."""
    first_input = next((n for n, row in enumerate(rows) if row[2]), -1)
    first_output = next((n for n, row in enumerate(rows) if row[3]), -1)
    return [
        Device(n, *row, 48_000.0, n == first_input, n == first_output, False)
        for n, row in enumerate(rows)
    ]


MACBOOK = listed(
    ("MacBook Pro Microphone", "Core Audio", 1, 0),
    ("MacBook Pro Speakers", "Core Audio", 0, 2),
    ("BlackHole 2ch", "Core Audio", 2, 2),
    ("Scarlett 18i20 USB", "Core Audio", 20, 20),
)
# Bluetooth headphones are two devices with one name, and both receivers call themselves the same.
TWO_RECEIVERS = listed(
    ("MacBook Pro Microphone", "Core Audio", 1, 0),
    ("Wireless GO II RX", "Core Audio", 2, 0),
    ("AirPods Pro", "Core Audio", 1, 0),
    ("AirPods Pro", "Core Audio", 0, 2),
    ("Wireless GO II RX", "Core Audio", 2, 0),
    ("USB  Audio", "Core Audio", 1, 2),
    ("USB Audio", "Core Audio", 1, 2),
)
THREE_MICROPHONES = listed(
    ("USB Audio Device", "Core Audio", 1, 0),
    ("USB Audio Device", "Core Audio", 1, 0),
    ("USB Audio Device", "Core Audio", 1, 0),
    ("MacBook Pro Speakers", "Core Audio", 0, 2),
)
STUDIO = listed(
    ("Studio Display Microphone", "Core Audio", 1, 0),
    ("Studio Display Speakers", "Core Audio", 0, 8),
    ("BlackHole 2ch", "Core Audio", 2, 2),
    ("BlackHole 16ch", "Core Audio", 16, 16),
    ("Aggregate Device", "Core Audio", 3, 4),
    ("iPhone Microphone", "Core Audio", 1, 0),
)
BUILT_IN = {
    "English": ("MacBook Pro Microphone", "MacBook Pro Speakers", "External Headphones"),
    "German": ("MacBook Pro-Mikrofon", "MacBook Pro-Lautsprecher", "Externe Kopfhörer"),
    "French": ("Micro MacBook Pro", "Haut-parleurs MacBook Pro", "Écouteurs externes"),
    "Spanish": (
        "Micrófono del MacBook Pro",
        "Bocinas del MacBook Pro",
        "Auriculares externos",
    ),
    "Italian": ("Microfono MacBook Pro", "Altoparlanti MacBook Pro", "Cuffie esterne"),
    "Japanese": ("MacBook Proのマイク", "MacBook Proのスピーカー", "外部ヘッドフォン"),
    "Chinese": ("MacBook Pro麦克风", "MacBook Pro扬声器", "外置耳机"),
}
"""Microphone, speakers and plugged-in headphones of a MacBook, as macOS translates them."""
# One card under two host APIs, and a microphone whose name begins as another one's.
LINUX = listed(
    ("HDA Intel PCH: ALC257 Analog (hw:0,0)", "ALSA", 2, 2),
    ("Mikro 2 (webcam)", "ALSA", 1, 0),
    ("Mikro", "ALSA", 1, 0),
    ("pulse", "ALSA", 32, 32),
    ("Built-in Audio", "ALSA", 2, 2),
    ("Built-in Audio", "JACK Audio Connection Kit", 2, 2),
    ("default", "ALSA", 32, 32),
)
