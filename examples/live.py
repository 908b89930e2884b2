"""Change your voice live: from the microphone to the speaker, with a change while it runs.

Wear headphones. Ctrl-C stops it.

    python examples/live.py
    python examples/live.py --input USB --output BlackHole --voice Anna --seconds 20
"""

import argparse
import sys

import rtvc


def main() -> None:
    """Run until the time is over, and print what happens every second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", help="microphone (default: the system's)")
    parser.add_argument("--output", help="speaker (default: the system's)")
    parser.add_argument("--voice", default="world", help="voice (default: world)")
    parser.add_argument("--seconds", type=int, default=10, help="how long (default: 10)")
    arguments = parser.parse_args()
    settings = rtvc.Settings(voice=arguments.voice, pitch=4)
    with rtvc.Session.live(
        input=arguments.input, output=arguments.output, settings=settings
    ) as session:
        for second in range(arguments.seconds):
            if second == arguments.seconds // 2:
                session.apply(pitch=-4)
            if session.wait(1):
                break
            stats = session.stats()
            print(
                f"{stats.state}, latency {1000 * stats.latency.total:.0f} ms, "
                f"pitch {stats.input_f0_hz:.0f} -> {stats.output_f0_hz:.0f} Hz, "
                f"{stats.late_blocks} late blocks. {stats.reason}"
            )


if __name__ == "__main__":
    try:
        main()
    except rtvc.RtvcError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
