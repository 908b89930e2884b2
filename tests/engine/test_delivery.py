import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from rtvc.engine.delivery import Concealment, Delivery
from rtvc.settings import RESERVE_MS
from tests.engine.speech_measures import speech

RATE = 48_000
BLOCK = 4800
HEADROOM = 2880
RESERVE = round(1e-3 * RESERVE_MS * RATE)


class Speaker:
    """An output ring that is emptied by hand."""

    def __init__(self):
        self.output = np.zeros(0, np.float32)
        self.at = 0
        self.tail = np.zeros(0, np.float32)
        self.missed = 0
        self.excess = 0

    def excess_latency(self):
        return self.excess

    def queued(self):
        return len(self.output) - self.at

    def write(self, samples, tail=None):
        self.output = np.concatenate([self.output, samples])
        self.tail = tail

    def take_missed(self):
        missed, self.missed = self.missed, 0
        return missed

    def play(self, samples):
        assert samples <= self.queued(), "the device ran dry"
        self.at += samples


def tone(start, samples, hz=200.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(start, start + samples) / RATE)).astype("f4")


def play(speaker, delivery, samples):
    """Let time pass with the watchdog running."""
    for _ in range(samples // 120):
        speaker.play(120)
        delivery.tick()


def run(lateness, blocks=40, surplus=lambda _: 0):
    """Deliver a tone in blocks, the n-th of which takes ``lateness(n)`` samples to make."""
    speaker, position = Speaker(), 0
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    waited = 0
    for n in range(blocks):
        play(speaker, delivery, max(0, BLOCK - waited))
        delivery.hold_latency(max(0, waited - BLOCK), HEADROOM)
        waited = max(0, waited - BLOCK)
        if delivery.pending_drop >= BLOCK:
            delivery.skip(BLOCK)
            position += BLOCK
            continue
        play(speaker, delivery, lateness(n))
        waited += lateness(n)
        delivery.deliver(tone(position, BLOCK))
        position += BLOCK
    return speaker, delivery


def test_on_time_nothing_is_touched():
    speaker, delivery = run(lambda n: 960)
    first = len(speaker.output) - 40 * BLOCK
    assert not speaker.output[:first].any()
    # After the first crossfade, bit for bit.
    np.testing.assert_array_equal(speaker.output[first + 480 :], tone(0, 40 * BLOCK)[480:])
    assert (delivery.late_blocks, delivery.concealed, delivery.dropped) == (0, 0, 0)


def latency_at_the_end(speaker, blocks):
    """Return the lag of the end of the output behind a stream without delay, in samples."""
    period = RATE / 200
    tail = speaker.output[-2400:]
    best = min(
        range(0, int(period)),
        key=lambda k: np.abs(tail - tone(blocks * BLOCK - 2400 + k, 2400)).sum(),
    )
    return best


@pytest.mark.parametrize("late", [2400, 4000, 6000, 30_000])
def test_a_late_block_is_concealed_counted_and_paid_for(late):
    speaker, delivery = run(lambda n: late if n == 20 else 960)
    over = late - (HEADROOM - RESERVE)
    if over <= 0:
        assert delivery.late_blocks == 0
        return
    assert 1 <= delivery.late_blocks <= 2 + over // BLOCK
    assert delivery.concealed >= over - 120
    assert delivery.dropped == delivery.concealed  # the latency is what it was
    assert delivery.pending_drop == 0
    assert latency_at_the_end(speaker, 40) == 0
    assert speaker.queued() < HEADROOM + BLOCK


# The last ones leave between 20 and 460 samples of the block at which the sound comes back.
@pytest.mark.parametrize("late", [4000, 6000, 30_000, *range(29_780, 30_240, 40)])
def test_concealment_does_not_click(late):
    speaker, _ = run(lambda n: late if n == 20 else 960)
    output = speaker.output[HEADROOM + 960 :]
    assert np.abs(np.diff(output, 2)).max() < 4 * 0.5 * (2 * np.pi * 200 / RATE) ** 2 + 1e-3


@seed(1)
@settings(max_examples=40, deadline=None, database=None)
@given(st.dictionaries(st.integers(1, 39), st.integers(0, 12_000), max_size=12))
def test_no_sequence_of_late_blocks_clicks(late):
    speaker, _ = run(lambda n: late.get(n, 960))
    output = speaker.output[HEADROOM + 960 :]
    assert np.abs(np.diff(output, 2)).max() < 4 * 0.5 * (2 * np.pi * 200 / RATE) ** 2 + 1e-3


def test_a_long_stall_ends_in_silence_and_is_reported():
    speaker, delivery = Speaker(), None
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    assert delivery.silent
    delivery.hold_latency(0, HEADROOM)
    delivery.deliver(tone(0, BLOCK))
    assert not delivery.silent
    play(speaker, delivery, 24_000)
    assert delivery.silent
    assert not speaker.output[-4800:].any()
    assert speaker.queued() == pytest.approx(RESERVE, abs=120)


@pytest.mark.parametrize("shift", [-1440, 1440])
def test_a_latency_that_has_shifted_is_brought_back(shift):
    """As after an overflow of the device: samples that never came, or came twice."""
    speaker = Speaker()
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    for n in range(60):
        if n:
            play(speaker, delivery, BLOCK)
        if n == 20:
            speaker.output = (
                np.concatenate([speaker.output, tone(0, shift)])
                if shift > 0
                else speaker.output[:shift]
            )
        delivery.hold_latency(0, HEADROOM)
        if n >= 45:
            assert abs(speaker.queued() - HEADROOM) < 480
        delivery.deliver(tone(n * BLOCK, BLOCK))
    assert delivery.late_blocks == 0


def test_after_a_held_interpreter_the_latency_is_nominal_at_once():
    """Neither the engine nor the watchdog runs for 0.5 s, and the device runs dry."""
    speaker = Speaker()
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    for n in range(20):
        play(speaker, delivery, BLOCK if n else 0)
        delivery.hold_latency(0, HEADROOM)
        delivery.deliver(tone(n * BLOCK, BLOCK))
    speaker.at = len(speaker.output)
    delivered = []
    for n in range(20, 25):
        delivery.tick()
        delivery.hold_latency((24 - n) * BLOCK, HEADROOM)
        if delivery.pending_drop >= BLOCK:
            delivery.skip(BLOCK)
        else:
            delivered.append(n)
            delivery.deliver(tone(n * BLOCK, BLOCK))
    assert len(delivered) <= 2
    assert speaker.queued() == pytest.approx(HEADROOM + BLOCK, abs=RESERVE)
    play(speaker, delivery, BLOCK)
    delivery.hold_latency(0, HEADROOM)
    assert speaker.queued() - delivery.pending_drop == pytest.approx(HEADROOM, abs=120)


def test_blocks_for_a_device_that_stands_still_are_dropped_and_not_late():
    speaker = Speaker()
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    for n in range(40):
        if not 10 <= n < 15:
            play(speaker, delivery, BLOCK)
        delivery.hold_latency(0, HEADROOM)
        if delivery.pending_drop >= BLOCK:
            delivery.skip(BLOCK)
        else:
            delivery.deliver(tone(n * BLOCK, BLOCK))
    assert delivery.late_blocks == 0
    assert delivery.concealed == 0
    assert delivery.dropped == 5 * BLOCK
    assert speaker.queued() == pytest.approx(BLOCK + HEADROOM, abs=480)


@pytest.mark.parametrize("hz", [60.0, 110.0, 237.0, 390.0])
def test_concealment_continues_in_phase_and_fades(hz):
    past = tone(0, 4800, hz)
    extension = Concealment(past, RATE)
    more = extension.read(2880)
    expected = tone(4800, 480, hz)
    assert np.corrcoef(more[:480], expected)[0, 1] > 0.98
    joined = np.concatenate([past, more])
    assert np.abs(np.diff(joined, 2)).max() < 3 * 0.5 * (2 * np.pi * hz / RATE) ** 2 + 1e-3
    assert extension.silent
    assert not extension.read(100).any()


def test_an_extension_of_silence_is_silence():
    assert not Concealment(np.zeros(4800, np.float32), RATE).read(480).any()


@pytest.mark.parametrize("missed", [480, 1500, 24_000])
def test_the_device_conceals_by_itself_while_no_thread_runs(missed):
    speaker = Speaker()
    delivery = Delivery(speaker, RATE)
    delivery.hold_latency(0, HEADROOM)
    for n in range(5):
        delivery.deliver(tone(n * BLOCK, BLOCK))
        speaker.play(BLOCK)
    tail, before = speaker.tail, len(speaker.output)
    played = np.concatenate([tail, np.zeros(missed, np.float32)])[:missed]
    speaker.output = np.concatenate([speaker.output[: speaker.at], played])
    speaker.at, speaker.missed = len(speaker.output), missed
    delivery.tick()
    whole = speaker.output[before - BLOCK :]
    steepest = 0.5 * 2 * np.pi * 200 / RATE
    assert np.abs(np.diff(whole)).max() < 2 * steepest
    assert delivery.concealed >= missed
    assert delivery.pending_drop >= missed
    assert np.abs(tail[-1]) < 1e-3


def test_concealment_is_no_sharper_than_the_speech_before_it():
    said = speech("2086-149214-0000")
    sharpness = []
    for at in range(9600, len(said) - 9600, 3001):
        past = said[at - 4800 : at]
        if np.abs(past).max() > 0.02:
            joined = np.concatenate([past[-2:], Concealment(past, RATE).read(3360)])
            assert np.abs(joined).max() <= np.abs(past).max()
            steady = np.abs(np.diff(past[-2400:], 2)).max()
            sharpness.append(np.abs(np.diff(joined, 2)).max() / steady)
    assert len(sharpness) > 90
    assert max(sharpness) < 1.2


def test_a_shorter_latency_is_reached_without_a_late_block():
    """Shortened by more than a block: whole blocks are skipped, and none was late."""
    speaker = Speaker()
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    position, late = 0, []
    headroom = 3 * BLOCK
    for n in range(30):
        if n:
            play(speaker, delivery, BLOCK)
        if n == 10:
            delivery.change_latency(HEADROOM - headroom, np.zeros(0, np.float32))
            headroom = HEADROOM
        delivery.hold_latency(0, headroom)
        if delivery.pending_drop >= BLOCK:
            delivery.skip(BLOCK)
        else:
            late.append(delivery.deliver(tone(position, BLOCK)))
        position += BLOCK
    assert delivery.late_blocks == 0
    assert not any(late)
    assert delivery.dropped >= 3 * BLOCK - HEADROOM - 480
    play(speaker, delivery, BLOCK)
    assert speaker.queued() == pytest.approx(HEADROOM, abs=480)


def test_a_longer_latency_keeps_what_was_late():
    """With a headroom that a late block needs, nothing of the block is dropped."""
    speaker = Speaker()
    delivery = Delivery(speaker, RATE)
    delivery.tick()
    dropped = []
    for n in range(12):
        if n:
            play(speaker, delivery, BLOCK)
        delivery.hold_latency(0, HEADROOM)
        if n == 10:
            play(speaker, delivery, HEADROOM + 1200)  # the step takes too long
            assert delivery.late
            pending = delivery.pending_drop
            assert pending > 1200
            delivery.change_latency(pending, np.zeros(0, np.float32))
            assert delivery.pending_drop == 0
        delivery.deliver(tone(n * BLOCK, BLOCK))
        dropped.append(delivery.dropped)
    assert dropped[10] == dropped[9]
    assert delivery.late_blocks == 1
    assert (
        np.abs(np.diff(speaker.output[BLOCK:], 2)).max() < 4 * 0.5 * (2 * np.pi * 200 / RATE) ** 2
    )
