"""Arrays through the public functions: layouts, rates, lengths, blocks, both kinds of voice."""

import gc
import subprocess
import sys
import threading
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

import rtvc
from rtvc.cli.main import main
from rtvc.live.demo import load_utterance
from tests.engine.rvc import rvc_stack
from tests.support.material import more
from tests.support.processes import started
from tests.support.voices import PlainVoice

pytestmark = pytest.mark.slow

OPEN: dict[str, Any] = {"mode": "dry", "gate": -90.0, "ceiling": 0.0}
"""Passes every sample, if it is quiet enough for the limiter."""
DTYPES = ("float16", "float32", "float64", "int16", "int32")


@cache
def speech(rate: int = 48_000, seconds: float = 1.0):
    samples = load_utterance()[24_000 : 24_000 + round(seconds * 48_000)]
    return np.asarray(soxr.resample(samples, 48_000, rate), np.float32)


@cache
def rvc_voice(continuous: bool = True):
    return rvc_stack.voice(pitch=rvc_stack.LocalPitch(), continuous=continuous)


def as_dtype(samples, dtype):
    scale = {"int16": 2.0**15, "int32": 2.0**31}.get(dtype)
    return samples.astype(dtype) if scale is None else np.rint(samples * scale).astype(dtype)


def relative_error(made, expected) -> float:
    """Decibels."""
    error = np.asarray(made, np.float64) - expected
    return float(10 * np.log10(np.mean(error**2) / np.mean(np.square(expected, dtype=np.float64))))


def assert_same_in_blocks(voice, cuts, rate, **changes):
    """Compare a stream cut into blocks of these lengths, over and over, with the whole."""
    samples = speech(rate, 0.4)
    whole = rtvc.convert(samples, sample_rate=rate, voice=voice, **changes)
    converter = rtvc.Converter(voice, sample_rate=rate, **changes)
    made, at = [], 0
    for cut in [*cuts * (1 + len(samples) // max(1, sum(cuts))), len(samples)]:
        made.append(converter.process(samples[at : at + cut]))
        at = min(at + cut, len(samples))
        assert at - converter.latency * rate - 1 <= sum(map(len, made)) <= at
        if at == len(samples):
            break
    made.append(converter.flush())
    np.testing.assert_array_equal(np.concatenate(made), whole)


def output_of(program: str, *options: str, timeout: float) -> str:
    """Run a program that must end well and report nothing, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestLayout:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("channels", [None, 1, 2, 6])
    def test_the_result_has_the_shape_and_type_of_the_input(self, dtype, channels):
        samples = as_dtype(speech() * 0.5, dtype)
        if channels is not None:
            samples = np.repeat(samples[:, None], channels, axis=1)
        made = rtvc.convert(samples, sample_rate=48_000, **OPEN)
        assert (made.shape, made.dtype) == (samples.shape, samples.dtype)
        steps = {"float16": 2.0**-11, "int16": 1.0, "int32": 2.0**8}
        np.testing.assert_allclose(made, samples, atol=steps.get(dtype, 1e-7), rtol=0)

    def test_channels_are_averaged_and_the_result_is_on_all(self):
        left, right = speech(), 0.5 * speech()[::-1]
        made = rtvc.convert(np.stack([left, right], axis=1), sample_rate=48_000, **OPEN)
        np.testing.assert_array_equal(made[:, 0], made[:, 1])
        np.testing.assert_allclose(made[:, 0], (left + right) / 2, atol=1e-6)

    def test_other_byte_orders_strides_and_lists(self):
        samples = as_dtype(speech() * 0.5, "int16")
        for same in (samples.astype(">i2"), np.repeat(samples, 2)[::2]):
            made = rtvc.convert(same, sample_rate=48_000, **OPEN)
            np.testing.assert_allclose(made, samples, atol=1)
            assert made.dtype == same.dtype
        made = rtvc.convert(speech().tolist(), sample_rate=48_000, **OPEN)
        np.testing.assert_array_equal(made, speech())

    def test_integers_are_clipped_at_full_scale_not_wrapped(self):
        loud = np.full(48_000, 32_767, np.int16)
        loud[::2] = -32_768
        made = rtvc.convert(loud, sample_rate=48_000, output_gain=12, **OPEN)
        assert made.dtype == np.int16
        assert made.max() > 30_000
        assert made.min() < -30_000

    def test_the_input_is_not_changed_and_may_be_used_again(self):
        samples = speech().copy()
        rtvc.convert(samples, sample_rate=48_000, pitch=3)
        np.testing.assert_array_equal(samples, speech())
        converter = rtvc.Converter("world", sample_rate=48_000, **OPEN)
        buffer, made = np.empty(700, np.float32), []
        for at in range(0, len(samples), 700):
            block = buffer[: len(samples[at : at + 700])]
            block[:] = samples[at : at + 700]
            made.append(converter.process(block))
            block[:] = 9.0
        made.append(converter.flush())
        np.testing.assert_array_equal(np.concatenate(made), samples)

    @pytest.mark.parametrize(
        ("samples", "message"),
        [
            (np.zeros(10, np.uint8), "type uint8. Give floats"),
            (np.zeros(10, np.int64), "type int64. Give floats"),
            (np.zeros(10, np.int8), "type int8. Give floats"),
            (np.zeros(10, bool), "type bool. Give floats"),
            (np.zeros(10, np.complex64), "type complex64. Give floats"),
            (None, "type object. Give floats"),
            ("talk.wav", "type <U8. Give floats"),
            (np.float32(1), r"the shape \(\). Give"),
            (np.zeros((2, 3, 4)), r"the shape \(2, 3, 4\). Give"),
            (np.zeros((9, 0)), r"the shape \(9, 0\). Give"),
            (np.zeros((2, 48_000)), r"48000 channels. If it is \(channels, samples\), transpose"),
            ([[0.0], [0.0, 1.0]], "rows of different lengths"),
            (np.array([0.0, np.nan, np.inf]), "not finite .* at index 1. Remove"),
            (np.array([[0.0, 0.0], [0.0, -np.inf]]), "not finite .* at index 1. Remove"),
            (np.array([1e300]), r"reach 1e\+300, but"),
            (np.array([0.0, -20_000.0]), "reach 20000, but float .* Divide"),
        ],
    )
    def test_what_is_not_sound_is_refused_in_a_sentence(self, samples, message):
        with pytest.raises(rtvc.UsageError, match=message) as caught:
            rtvc.convert(samples, sample_rate=48_000)
        assert str(caught.value).startswith("The samples ")
        assert str(caught.value).endswith(".")
        converter = rtvc.Converter("world", sample_rate=48_000, **OPEN)
        with pytest.raises(rtvc.UsageError, match=message):
            converter.process(samples)
        converter.process(speech())
        assert len(converter.flush()) > 0

    @pytest.mark.parametrize("rate", [0, -1, 7999, 192_001, 44_100.5, np.nan, "48000", None, True])
    def test_a_wrong_rate_is_refused_in_a_sentence(self, rate):
        for use in (partial(rtvc.convert, speech()), partial(rtvc.Converter, "world")):
            with pytest.raises(rtvc.UsageError, match=r"^The sample rate is .* 8000 to 192000\.$"):
                use(sample_rate=rate)

    def test_whole_rates_of_any_type_are_taken(self):
        for rate in (44_100.0, np.int64(44_100), np.float64(44_100), np.float32(44_100)):
            assert rtvc.Converter("world", sample_rate=rate).sample_rate == 44_100


class TestLengthAndPlace:
    @given(
        rate=st.one_of(
            st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]),
            st.integers(8_000, 192_000),
        ),
        count=st.one_of(st.integers(0, 20), st.integers(0, 100_000)),
        dtype=st.sampled_from(DTYPES),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_length_at_any_rate_comes_back_as_long(self, rate, count, dtype):
        samples = np.zeros(count, np.float32)
        samples[count // 2 : count // 2 + 1] = 0.5
        samples = as_dtype(samples, dtype)
        made = rtvc.convert(samples, sample_rate=rate, voice=PlainVoice(), gate=-90.0)
        assert (made.shape, made.dtype) == (samples.shape, samples.dtype)

    @pytest.mark.parametrize("count", more([0, 1, 4_801, 100_000, 2, 479, 4_800], keep=3))
    @pytest.mark.parametrize("quality", ["live", "offline"])
    @pytest.mark.parametrize("kind", ["world", "rvc", "rvc by windows"])
    def test_every_kind_of_voice_keeps_the_length(self, kind, count, quality):
        voice = {"world": "world"}.get(kind) or rvc_voice(continuous=kind == "rvc")
        samples = np.resize(speech(), count)
        made = rtvc.convert(samples, sample_rate=48_000, voice=voice, quality=quality)
        assert made.shape == samples.shape
        assert np.isfinite(made).all()
        if count == 100_000:
            assert np.sqrt(np.mean(made**2)) > 0.01

    @pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
    def test_every_sound_stays_where_it_was(self, rate):
        samples = speech(rate) * np.hanning(rate)
        made = rtvc.convert(samples, sample_rate=rate, **OPEN)
        # Some of the uppermost octave of speech at a low rate is lost in conversion.
        allowed = -40 if rate < 16_000 else -60 if rate < 44_100 else -100
        shifted = relative_error(np.roll(made, 1), samples)
        assert relative_error(made, samples) < min(allowed, shifted - 20)

    @pytest.mark.parametrize("rate", more([44_100, 48_000]))
    def test_the_result_is_that_of_the_command(self, rate, tmp_path, monkeypatch):
        monkeypatch.setenv("RTVC_HOME", str(tmp_path))
        samples = speech(rate, 2.0)
        soundfile.write(tmp_path / "in.wav", samples, rate, subtype="FLOAT")
        files = [str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
        assert main(["convert", *files, "--pitch", "4", "--breathiness", "0.3"]) == 0
        expected, _ = soundfile.read(tmp_path / "out.wav")
        made = rtvc.convert(samples, sample_rate=rate, pitch=4, breathiness=0.3)
        np.testing.assert_allclose(made, expected, atol=2**-15)

    @pytest.mark.thorough
    def test_offline_quality_changes_every_rvc_voice(self):
        samples = speech(16_000)
        for continuous in (True, False):
            live, offline = (
                rtvc.convert(
                    samples, sample_rate=16_000, voice=rvc_voice(continuous), quality=quality
                )
                for quality in ("live", "offline")
            )
            assert not np.array_equal(live, offline)


class TestConverter:
    @given(
        cuts=st.lists(st.integers(0, 9_000), min_size=1, max_size=12),
        rate=st.sampled_from([16_000, 44_100, 48_000, 44_101]),
        block=st.sampled_from([20, 100, 370]),
    )
    @settings(max_examples=6, deadline=None)
    def test_the_result_does_not_depend_on_the_blocks(self, cuts, rate, block):
        assert_same_in_blocks("world", cuts, rate, pitch=3, block=block)

    @pytest.mark.parametrize("rate", [16_000, 44_100])
    def test_nor_does_that_of_an_rvc_voice(self, rate):
        assert_same_in_blocks(rvc_voice(), [1, 0, 3_000, 77], rate, pitch=3)

    def test_single_samples(self):
        samples = speech(8_000, 0.4)
        converter = rtvc.Converter("world", sample_rate=8_000, block=50)
        made = []
        for at in range(len(samples)):
            made.append(converter.process(samples[at : at + 1]))
            assert sum(map(len, made)) >= at - converter.latency * 8_000
        made.append(converter.flush())
        whole = rtvc.convert(samples, sample_rate=8_000, block=50)
        np.testing.assert_array_equal(np.concatenate(made), whole)

    def test_stereo_int16_blocks_stay_so(self):
        samples = np.repeat(as_dtype(speech(44_100) * 0.5, "int16")[:, None], 2, axis=1)
        converter = rtvc.Converter("world", sample_rate=44_100, formant=2)
        made = [converter.process(samples[:0]), converter.process(samples), converter.flush()]
        assert {(part.shape[1:], part.dtype) for part in made} == {((2,), np.dtype(np.int16))}
        whole = rtvc.convert(samples, sample_rate=44_100, formant=2)
        np.testing.assert_array_equal(np.concatenate(made), whole)

    def test_a_stream_keeps_to_one_format(self):
        converter = rtvc.Converter("world", sample_rate=48_000, **OPEN)
        first = converter.process(speech())
        for other in (speech()[:, None], speech().astype(np.float64)):
            with pytest.raises(rtvc.UsageError, match=r"These samples are .*\(samples,\) float32"):
                converter.process(other)
        made = np.concatenate([first, converter.flush()])
        np.testing.assert_array_equal(made, speech())

    def test_nothing_in_gives_nothing_out(self):
        made = rtvc.Converter("world", sample_rate=48_000).flush()
        assert (made.shape, made.dtype) == ((0,), np.dtype(np.float32))

    def test_after_flush_it_is_over(self):
        converter = rtvc.Converter("world", sample_rate=48_000)
        converter.process(speech())
        converter.flush()
        for use in (lambda: converter.process(speech()), converter.flush):
            with pytest.raises(rtvc.UsageError, match=r"flushed\. Make another one"):
                use()

    def test_a_voice_that_fails_ends_it(self):
        def fail(count):
            if count == 2:
                raise rtvc.RtvcError("The voice is hoarse.")

        converter = rtvc.Converter(PlainVoice(on_render=fail), sample_rate=48_000, gate=-90)
        with pytest.raises(rtvc.RtvcError, match="hoarse"):
            converter.process(speech())
        with pytest.raises(rtvc.UsageError, match=r"failed or was interrupted\. Make another"):
            converter.process(speech())
        with pytest.raises(rtvc.RtvcError, match="hoarse"):
            rtvc.convert(speech(), sample_rate=48_000, gate=-90, voice=PlainVoice(on_render=fail))

    def test_what_it_says_of_itself(self):
        converter = rtvc.Converter("world", rtvc.Settings(pitch=4), sample_rate=48_000)
        assert repr(converter) == "<Converter 'world', 48000 Hz, latency 0.123 s>"
        assert converter.settings == rtvc.Settings(pitch=4)
        assert converter.latency == pytest.approx(0.123, abs=0.001)
        assert rtvc.Converter("world", sample_rate=48_000, block=20).latency < 0.06


class TestThreads:
    @pytest.mark.thorough
    def test_any_thread_may_process(self):
        samples, made = speech(16_000), {}
        converter = rtvc.Converter(rvc_voice(), sample_rate=16_000)
        for at in range(0, len(samples), 4_000):

            def process(at=at):
                made[at] = converter.process(samples[at : at + 4_000])

            thread = threading.Thread(target=process)
            thread.start()
            thread.join()
        out = np.concatenate([*made.values(), converter.flush()])
        np.testing.assert_array_equal(
            out, rtvc.convert(samples, sample_rate=16_000, voice=rvc_voice())
        )

    def test_no_thread_is_left(self):
        def converters():
            gc.collect()
            return sum(thread.name == "rtvc converter" for thread in threading.enumerate())

        rtvc.convert(speech(), sample_rate=48_000)
        with pytest.raises(rtvc.RtvcError, match="has no speaker 7"):
            rtvc.Converter(rvc_voice(), sample_rate=48_000, speaker=7)
        assert converters() == 0
        flushed = rtvc.Converter("world", sample_rate=48_000)
        forgotten = rtvc.Converter("world", sample_rate=48_000)
        forgotten.process(speech())
        assert converters() == 2
        flushed.flush()
        assert converters() == 1
        del forgotten
        assert converters() == 0

    @pytest.mark.thorough
    @pytest.mark.slow
    def test_a_program_may_end_with_a_converter_in_use(self):
        program = (
            "import threading, numpy as np, rtvc\n"
            "from tests.engine.rvc import rvc_stack\n"
            "from rtvc.engine.thread_bound import run_in_thread\n"
            "voice = run_in_thread(lambda: rvc_stack.voice(pitch=rvc_stack.LocalPitch()), 'load')\n"
            "def use():\n"
            "    global converter\n"
            "    converter = rtvc.Converter(voice, sample_rate=16_000)\n"
            "    print(converter.process(np.zeros(9000, np.float32)).shape)\n"
            "thread = threading.Thread(target=use)\n"
            "thread.start()\n"
            "thread.join()\n"
        )
        for _ in range(2):
            output_of(program, timeout=60)

    @pytest.mark.skipif(sys.platform == "darwin", reason="macOS is not safe after a fork")
    def test_a_forked_process_converts_as_its_parent_does(self):
        """It has none of the threads that its parent has used."""
        program = (
            "import multiprocessing, numpy as np, rtvc\n"
            "samples = np.sin(np.arange(9_000) / 50, dtype=np.float32)\n"
            "def convert(at):\n"
            "    return rtvc.convert(samples, sample_rate=48_000)\n"
            "def use(at):\n"
            "    try:\n"
            "        converter.process(samples)\n"
            "    except rtvc.UsageError as error:\n"
            "        return str(error)\n"
            "converter = rtvc.Converter('world', sample_rate=48_000)\n"
            "made = convert(0)\n"
            "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
            "    print(np.array_equal(pool.map_async(convert, [1]).get(30)[0], made))\n"
            "    print(pool.map_async(use, [1]).get(30)[0])\n"
        )
        printed = output_of(program, "-W", "ignore::DeprecationWarning", timeout=90)
        same, refused = printed.splitlines()
        assert same == "True"
        assert "before the process was forked" in refused

    @pytest.mark.thorough
    @pytest.mark.parametrize("kind", ["world", "rvc"])
    def test_several_converters_share_a_voice(self, kind):
        voice = rtvc.load_voice("world") if kind == "world" else rvc_voice()
        samples = speech(16_000)
        expected = rtvc.convert(samples, sample_rate=16_000, voice=voice, pitch=2)
        made = [None] * 3

        def convert(at):
            made[at] = rtvc.convert(samples, sample_rate=16_000, voice=voice, pitch=2)

        threads = [threading.Thread(target=convert, args=(at,)) for at in range(len(made))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in made:
            np.testing.assert_array_equal(result, expected)

    def test_calls_at_once_take_turns(self):
        samples = speech()
        converter = rtvc.Converter("world", sample_rate=48_000, **OPEN)
        lengths = []

        def process():
            for at in range(0, 9_600, 960):
                lengths.append(len(converter.process(samples[at : at + 960])))

        threads = [threading.Thread(target=process) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(lengths) + len(converter.flush()) == 4 * 9_600


class TestSettings:
    def test_settings_as_an_object_as_keywords_and_as_both_are_the_same(self):
        ways: tuple[tuple[rtvc.Settings | None, dict[str, Any]], ...] = (
            (rtvc.Settings(pitch=4, formant=2), {}),
            (None, {"pitch": 4, "formant": 2}),
            (rtvc.Settings(pitch=4), {"formant": 2}),
        )
        made = [
            rtvc.convert(speech(), sample_rate=48_000, settings=settings, **changes)
            for settings, changes in ways
        ]
        np.testing.assert_array_equal(made[0], made[1])
        np.testing.assert_array_equal(made[0], made[2])

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ({"settings": rtvc.Settings(pitch=4), "pitch": 3}, "'pitch' is given twice"),
            ({"pich": 3}, "pich"),
            ({"pitch": 99}, "'pitch' is 99"),
            ({"settings": {"pitch": 4}}, "settings are of type dict. Give rtvc.Settings"),
        ],
    )
    def test_bad_settings_are_refused_in_a_sentence(self, words, message):
        with pytest.raises(rtvc.UsageError, match=message):
            rtvc.convert(speech(), sample_rate=48_000, **words)
        with pytest.raises(rtvc.UsageError, match=message):
            rtvc.Converter("world", sample_rate=48_000, **words)

    def test_the_voice_is_given_once(self):
        for use in (partial(rtvc.convert, speech()), rtvc.Converter):
            with pytest.raises(rtvc.UsageError, match="voice is given twice, also as 'Anna'"):
                use(voice="world", settings=rtvc.Settings(voice="Anna"), sample_rate=48_000)
        with pytest.raises(rtvc.UsageError, match=r"type int\. Give the name"):
            rtvc.convert(speech(), sample_rate=48_000, voice=4)  # type: ignore[arg-type]
        with pytest.raises(rtvc.UsageError, match="quality is 'best'"):
            rtvc.convert(speech(), sample_rate=48_000, quality="best")  # type: ignore[arg-type]
        for dtype in ("float32", "int16"):
            samples = as_dtype(speech(), dtype)
            with pytest.raises(rtvc.UsageError, match="channels of the samples cancel"):
                rtvc.convert(np.stack([samples, -samples], 1), sample_rate=48_000)

    def test_the_voice_of_the_settings_is_used(self, tmp_path, monkeypatch):
        monkeypatch.setenv("RTVC_HOME", str(tmp_path))
        with pytest.raises(rtvc.UsageError, match="There is no voice 'Anna'"):
            rtvc.convert(speech(), sample_rate=48_000, settings=rtvc.Settings(voice="Anna"))


@pytest.mark.slow
def test_an_interrupt_ends_a_long_conversion(tmp_path):
    program = (
        "import numpy as np, rtvc\n"
        "from rtvc.engine.chain import Chain\n"
        "step, steps = Chain.step, []\n"
        "def counted(*given):\n"
        "    steps.append(1)\n"
        "    if len(steps) == 100: print('it converts', flush=True)\n"
        "    return step(*given)\n"
        "Chain.step = counted\n"
        "noise = np.random.default_rng(0).standard_normal(48_000 * 600).astype('f4') * 0.1\n"
        "rtvc.convert(noise, sample_rate=48_000, block=20)\n"
    )
    words = [sys.executable, "-c", program]
    with started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "it converts\n"
        process.send_signal(2)
        _, err = process.communicate(timeout=20)
        assert "KeyboardInterrupt" in err


def test_a_stream_of_channels_that_cancel_each_other_is_silent():
    samples = np.stack([speech(), -speech()], 1)
    converter = rtvc.Converter("world", sample_rate=48_000, **OPEN)
    made = np.concatenate([converter.process(samples), converter.flush()])
    assert made.shape == samples.shape
    assert not made.any()
    untouched = rtvc.Converter("world", sample_rate=48_000).flush()
    assert untouched.shape == (0,)
    assert untouched.dtype == np.float32


def test_a_voice_that_is_named_morphs(anna):
    samples = speech(seconds=0.4)
    deep = rtvc.convert(samples, sample_rate=48_000, pitch=-5, formant=-2, output_gain=-2)
    for voice in ("world", rtvc.load_voice("world"), None):
        made = rtvc.convert(samples, sample_rate=48_000, voice=voice, morph_to="deep", morph=1)
        np.testing.assert_array_equal(made, deep)
    between: dict[str, Any] = {"morph_to": "anna", "morph": 0.5}
    assert repr(rtvc.Converter("anna", sample_rate=48_000, **between)).startswith(
        "<Converter 'anna "
    )
    with pytest.raises(rtvc.UsageError, match=r"^To morph, give the first voice by its name"):
        rtvc.Converter(rtvc.load_voice("anna"), sample_rate=48_000, **between)
