"""`rtvc bench`: its figures, its counts, and the command as typed."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import cache
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from rtvc.cli import bench_report
from rtvc.engine.chain import Chain
from rtvc.engine.models import winograd
from rtvc.engine.models.hubert import Hubert
from rtvc.engine.models.ops import ops
from rtvc.engine.models.rmvpe import RmvpeEstimator
from rtvc.engine.models.synthesizer import Synthesizer
from rtvc.engine.profiling import random_weights, stage_times
from rtvc.engine.profiling.bench import Bench, spread
from rtvc.engine.profiling.op_count import Counts
from rtvc.engine.profiling.random_weights import KINDS, random_voice
from rtvc.engine.rvc import decoder, pitch_track
from rtvc.engine.rvc.voice import RvcVoice
from rtvc.engine.weights.rmvpe import rmvpe_shapes
from rtvc.engine.world.voice import WorldVoice
from rtvc.errors import RtvcError, UsageError
from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.setting_up import install_from_folder
from rtvc.settings import Settings
from rtvc.system.energy import EnergyMeter
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.engine.rvc.rvc_stack import voice as golden_voice
from tests.support.patience import measured
from tests.support.processes import started
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.small_networks import small_encoder, small_rmvpe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHORT = Settings(voice="small", block=100.0, context=300.0)
NETWORKS = {"content encoder", "pitch", "text encoder", "flow", "decoder"}


MEASURED_VOICE = {
    "name": "v2-40k",
    "stages": {"pitch": {"ms": {"p50": 3.0}}},
    "ms": {"min": 9.0, "p50": 10.0, "p99": 12.0},
    "gflop": 5.0,
    "primitives": 700,
    "weight_mb": 300.0,
    "mlx_peak_mb": 400.0,
    "resident_peak_mb": 900.0,
    "joules": 0.5,
}
"""What a comparison reads of a voice in a report."""


@cache
def small_voice(kind="v2-40k"):
    network = random_voice(*KINDS[kind], width=16, initial=64)
    estimator = small_rmvpe()
    return RvcVoice(kind, network, small_encoder(), lambda method: estimator)


def test_the_figures_of_a_voice():
    bench = Bench(small_voice(), SHORT)
    for _ in range(4):
        bench.step()
    bench.step_by_stages()
    bench.count()
    found = bench.figures()
    assert (found.name, found.rate, found.steps) == ("small", 40_000, 4)
    assert 0 < found.ms.min <= found.ms.p50 <= found.ms.p95 <= found.ms.p99 <= found.ms.max
    assert found.real_time == found.ms.p50 / 100.0
    assert set(found.stages) == NETWORKS | {"rest"}
    assert list(found.stages) == [stage for stage in stage_times.STAGES if stage in found.stages]
    for stage in NETWORKS:
        facts = found.stages[stage]
        assert min(facts.ms.min, facts.gflop, facts.primitives, facts.weight_mb) > 0
    assert found.stages["rest"].primitives == 0
    for name in ("gflop", "primitives", "weight_mb"):
        parts = sum(getattr(stage, name) for stage in found.stages.values())
        assert getattr(found, name) == pytest.approx(parts)
    assert found.mlx_peak_mb > found.weight_mb
    assert 50 < found.resident_peak_mb < 10_000
    assert found.joules is None


def test_the_built_in_voice_is_measured_as_a_whole(monkeypatch):
    steps = []
    real = Chain.step

    def step(*args):
        steps.append(real(*args))
        return steps[-1]

    monkeypatch.setattr(Chain, "step", step)
    bench = Bench(WorldVoice(), SHORT.replace(voice="world"))
    bench.step()
    assert steps[-1].input_f0_hz == pytest.approx(100.0, rel=0.01)
    bench.step_by_stages()
    bench.count()
    found = bench.figures()
    assert set(found.stages) == {"rest"}
    assert found.gflop == found.primitives == 0


@measured
@pytest.mark.parametrize(
    ("owner", "name", "stage"),
    [
        (pitch_track, "target_f0", "pitch"),
        (decoder, "sample_linear", "decoder"),
        (decoder, "make_excitation", "decoder"),
    ],
)
def test_what_is_around_a_network_counts_with_it(monkeypatch, owner, name, stage):
    bench = Bench(small_voice(), SHORT)
    real = getattr(owner, name)

    def slow(*args, **kwargs):
        time.sleep(0.05)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, slow)
    bench.step_by_stages()
    bench.step()
    found = {part: figures.ms.min for part, figures in bench.figures().stages.items()}
    slowed = {part for part, ms in found.items() if ms >= 50}
    assert slowed == {stage}


def test_retrieval_is_a_stage_of_a_voice_with_an_index():
    settings = SHORT.replace(index_rate=0.5)
    bench = Bench(golden_voice(), settings)
    bench.step()
    bench.step_by_stages()
    bench.count()
    assert bench.figures().stages["retrieval"].ms.min > 0


@measured
def test_stages_are_timed_from_outside_and_add_up():
    voice = small_voice()
    parts = stage_times.stage_methods(voice, SHORT)
    before = {part: vars(part.owner).get(part.method) for part in parts}
    with stage_times.time_stages(parts) as seconds:
        began = time.perf_counter()
        assert Hubert.convolve is not before[parts[0]]
        time.sleep(0.02)
        features = voice.content.rows(voice.content.begin(np.zeros(16_000, np.float32)))
        mx.eval(features)
        whole = time.perf_counter() - began
    assert features.shape == (49, 768)
    assert seconds["rest"] >= 0.02
    assert seconds["content encoder"] > 0
    assert sum(seconds.values()) == pytest.approx(whole, abs=2e-3)
    assert {part: vars(part.owner).get(part.method) for part in parts} == before


def test_parts_are_put_back_after_an_error():
    parts = stage_times.stage_methods(small_voice(), SHORT)
    real = Hubert.transform
    config = dataclasses.replace(small_encoder().config, projection=None)
    encoder = random_weights.random_encoder(config)
    with pytest.raises(RtvcError, match="final projection"), stage_times.time_stages(parts):
        encoder.features(mx.zeros(1600), project=True)
    assert Hubert.transform is real


@pytest.mark.thorough
def test_every_size_is_counted():
    for block, context in ((20.0, 200.0), (250.0, 200.0), (1000.0, 500.0)):
        settings = SHORT.replace(block=block, context=context)
        assert set(stage_times.count_step(small_voice(), settings)) == NETWORKS


@pytest.mark.full_size
def test_counts_of_a_full_size_step_are_those_of_the_formulas(monkeypatch):
    """v2 40k at the reference's settings; shared figures of the same step: 74 GFLOP in all."""
    monkeypatch.setattr(
        random_weights,
        "random_weights",
        lambda shapes: {name: np.zeros(shape, np.float32) for name, shape in shapes.items()},
    )
    estimator = random_weights.random_rmvpe()
    encoder = random_weights.random_encoder()
    network = random_voice("v2", 40_000)
    voice = RvcVoice("zeros", network, encoder, lambda method: estimator)
    settings = Settings(voice="zeros", block=250.0, context=2500.0, pitch_floor=100.0)
    seen = {}

    def heard(name, owner, method, shape_of):
        real = getattr(owner, method)

        def watched(*args, **kwargs):
            made = real(*args, **kwargs)
            seen[name] = shape_of(args, made)
            return made

        monkeypatch.setattr(owner, method, watched)

    statistics = type(network.network), "statistics"
    heard("samples", Hubert, "convolve", lambda args, made: args[1].shape[0])
    heard("frames", *statistics, lambda args, made: (args[1].shape[1], made[0].shape[1]))
    heard("decoded", type(network.network.vocoder), "stream", lambda args, made: args[5])
    heard("pitch", RmvpeEstimator, "log_mel", lambda args, made: made.shape[0])
    held = mx.get_active_memory()
    mx.reset_peak_memory()
    counts = stage_times.count_step(voice, settings)
    # No network ran: the first convolution of the content encoder alone gives 18 MB.
    assert mx.get_peak_memory() - held < 5e6
    frames, needed = seen["frames"]
    assert 275 <= frames <= 281
    assert seen["pitch"] % 32 == 0

    gflop = {stage: of.flop / 1e9 for stage, of in counts.items()}
    assert gflop["content encoder"] == pytest.approx(
        hubert_gflop(seen["samples"], stride_two=2.5, spectra=True), rel=0.01
    )
    # What nobody hears of the last layer, and products that were folded, may be missing.
    assert 0.8 < gflop["text encoder"] / text_encoder_gflop(frames, needed) < 1.01
    assert 0.8 < gflop["flow"] / flow_gflop(needed) < 1.01
    # Beyond the block are a few samples of each layer, which later layers hear.
    assert seen["decoded"] == 25
    products = {3: 2, 7: 5, 11: 7.5} if ops.uses_winograd() else {k: k for k in (3, 7, 11)}
    assert 1.0 < gflop["decoder"] / decoder_gflop(25, products) < 1.08

    # The same work as measured elsewhere, for as many frames.
    assert hubert_gflop(seen["samples"]) == pytest.approx(13.8 + 25.2, rel=0.03)
    # 2.3 with the rows of padding that are left out here; a CPU leaves out some more of them.
    assert gflop["pitch"] * 32 / seen["pitch"] == pytest.approx(1.88, rel=0.04)
    assert gflop["flow"] * 55 / needed == pytest.approx(0.59, rel=0.2)
    whole = decoder_gflop(25, {k: k for k in (3, 7, 11)})
    assert whole == pytest.approx(22.9, rel=0.01)

    # Every weight is read, once; of a table of 256 or 109 rows only some are.
    megabytes = sum(counts.values(), Counts()).weight_bytes / 1e6
    shapes = rmvpe_shapes(random_weights.FULL_RMVPE).values()
    held_mb = sum(array.nbytes for array in encoder.weights.values()) / 1e6
    held_mb += sum(4 * math.prod(shape) for shape in shapes) / 1e6
    assert 0.7 * (held_mb + 110) < megabytes < 1.01 * (held_mb + 110)


def hubert_gflop(samples, *, stride_two=3, spectra=False):
    """Of seven convolutions, the convolution of positions and twelve layers.

    `stride_two` are the products of an output of a convolution of kernel 3 and stride 2; with
    `spectra` the convolution of positions has blocks of 73 outputs and transforms of 200 samples.
    """
    flop, rows = 0, samples
    for kernel, stride, inputs in zip(
        (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), (1, *[512] * 6), strict=True
    ):
        rows = (rows - kernel) // stride + 1
        flop += 2 * rows * (stride_two if kernel == 3 else kernel) * inputs * 512
    flop += 2 * rows * 512 * 768
    if spectra:
        parts = 101 * math.ceil((rows + 1) / 73) * 2
        flop += 2 * 768 * parts * (rows + 2 * 48 + 2 * (rows + 1))
    else:
        flop += 2 * (rows + 1) * 128 * 48 * 768
    layer = 2 * rows * (4 * 768**2 + 2 * 768 * 3072) + 4 * rows**2 * 768
    return (flop + 12 * layer) / 1e9


def text_encoder_gflop(frames, projected):
    """Of the features' map, six layers with relative positions, and the projection."""
    attention = 2 * frames * 4 * 192**2 + 4 * frames**2 * 192 + 4 * frames * 21 * 192
    layer = attention + 2 * frames * 2 * 3 * 192 * 768
    return (2 * frames * 768 * 192 + 6 * layer + 2 * projected * 192 * 384) / 1e9


def flow_gflop(frames):
    """Of four couplings with three gated convolutions each; the speaker's part is one row."""
    coupling = 2 * frames * (2 * 96 * 192 + 3 * 5 * 192 * 384 + 2 * 192 * 384 + 192 * 192)
    return 4 * (coupling + 2 * 256 * 1152) / 1e9


def decoder_gflop(frames, products):
    """Of v2 40k: the first convolution, four stages, the last convolution.

    `products` are those of a sample, for every kernel of the residual blocks of wide stages.
    """
    flop, rows, width = 2 * frames * 7 * 192 * 512, frames, 512
    for rate, kernel, excite in zip((10, 10, 2, 2), (16, 16, 4, 4), (80, 8, 4, 1), strict=True):
        flop += 2 * rows * kernel * width * width // 2
        rows, width = rows * rate, width // 2
        flop += 2 * rows * excite * width
        wide = width >= winograd.MIN_CHANNELS
        flop += sum(2 * rows * (n if wide else k) * width**2 * 6 for k, n in products.items())
    return (flop + 2 * rows * 7 * width) / 1e9


@pytest.mark.thorough
def test_counts_are_those_of_the_operator_set_that_runs(monkeypatch):
    """In a process of its own: the set is chosen when the networks are imported."""
    code = """if True:
        from rtvc.engine.profiling.stage_times import count_step
        from tests.cli.test_bench import SHORT, small_voice
        for stage, of in count_step(small_voice(), SHORT, as_gpu=True).items():
            print(stage, of.primitives, of.flop, sep=",")
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RTVC_OPERATORS": "gpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(",") for line in done.stdout.splitlines()]
    gpu = {stage: Counts(int(primitives), float(flop)) for stage, primitives, flop in lines}
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    cpu = stage_times.count_step(small_voice.__wrapped__(), SHORT)
    for counts in (gpu, cpu):  # which may be one function for a GPU
        counts["flow"] += counts.pop("text encoder", Counts())
    assert set(gpu) == set(cpu) == NETWORKS - {"text encoder"}
    for stage, of in cpu.items():
        assert gpu[stage].primitives <= of.primitives
        if stage != "decoder":
            assert gpu[stage].flop == pytest.approx(of.flop, rel=0.15)
    assert 0.65 < cpu["decoder"].flop / gpu["decoder"].flop < 0.9
    assert gpu["decoder"].primitives < 0.6 * cpu["decoder"].primitives
    assert gpu["content encoder"].primitives < 0.6 * cpu["content encoder"].primitives


@pytest.mark.thorough
def test_a_part_that_is_compiled_into_another_counts_there(monkeypatch):
    voice = small_voice()
    apart = stage_times.count_step(voice, SHORT)
    real = Synthesizer.latent
    compiled = mx.compile(lambda *given: real(voice.voice.network, *given))
    monkeypatch.setattr(Synthesizer, "latent", lambda self, *given: compiled(*given))
    together = stage_times.count_step(voice, SHORT)
    assert "text encoder" not in together
    assert together["flow"].flop == apart["flow"].flop + apart["text encoder"].flop
    fused = apart["flow"].primitives + apart["text encoder"].primitives
    assert 0 < together["flow"].primitives < fused
    with stage_times.time_stages(stage_times.stage_methods(voice, SHORT)) as seconds:
        chain = Chain(voice, SHORT)
        noise = np.random.default_rng(0).normal(0, 0.1, chain.block)
        chain.step(noise.astype(np.float32), SHORT)
    assert seconds["flow"] > 0
    assert "text encoder" not in seconds


def test_spread():
    found = spread([0.001 * n for n in range(101)])
    assert dataclasses.astuple(found) == pytest.approx((0, 50, 95, 99, 100))


def test_energy_is_the_sum_of_the_packages_and_survives_the_end_of_the_counter(tmp_path):
    for name, value in (("intel-rapl:0", 900), ("intel-rapl:0:0", 5), ("intel-rapl:1", 10)):
        zone = tmp_path / name
        zone.mkdir()
        (zone / "max_energy_range_uj").write_text("999\n")
        (zone / "energy_uj").write_text(f"{value}\n")
    meter = EnergyMeter(tmp_path)
    assert meter.joules() == 0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100\n")  # past 999: 200 more
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("60\n")
    assert meter.joules() == pytest.approx(250e-6)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("70\n")
    assert meter.joules() == pytest.approx(260e-6)


def test_without_counters_the_reason_is_told(tmp_path):
    with pytest.raises(RtvcError, match=f"no RAPL counters in {tmp_path}"):
        EnergyMeter(tmp_path)
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    with pytest.raises(RtvcError, match="cannot be read"):
        EnergyMeter(tmp_path)


@pytest.fixture
def anna(tmp_path, monkeypatch):
    """An installed voice of small networks, for the commands of a test."""
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    return add_voice(FoundVoice(GOLDEN / "voice_v1_f0_40k.pth", INDEX, "Anna"))


def bench_command(*words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "rtvc", "bench", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.thorough
def test_from_json_to_a_comparison(anna, tmp_path):
    wanted = ("--voice", "Anna", "--steps", "3", "--block", "100", "--context", "300")
    first = bench_command(*wanted, "--json").stdout
    report = json.loads(first)
    assert report["complete"]
    assert report["settings"]["block"] == 100
    assert report["commit"]
    assert report["hardware"]["cores"] == os.cpu_count()
    assert report["device"] in ("cpu", "gpu")
    assert "blas" in report["blas"].lower() or "Accelerate" in report["blas"]
    (voice,) = report["voices"]
    assert (voice["name"], voice["steps"]) == ("Anna", 3)
    assert set(voice["stages"]) == {*NETWORKS, "retrieval", "rest"}

    before = tmp_path / "before.json"
    before.write_text(first)
    table = bench_command(*wanted, "--compare", before).stdout
    assert "Compared with" in table
    assert f"{voice['ms']['p50']:.1f}" in table
    ratios = {
        line.rsplit(maxsplit=3)[0].strip(): float(line.split()[-1])
        for line in table[table.index("ratio\n") :].splitlines()[1:]
    }
    assert ratios["GFLOP"] == ratios["primitives"] == ratios["weights read, MB"] == 1
    assert ratios["step p50, ms"] > 0

    again = json.loads(bench_command(*wanted, "--json", "--compare", before).stdout)
    of = again["ratios"]["Anna"]["step p50, ms"]
    assert of["before"] == voice["ms"]["p50"]
    assert of["now"] == again["voices"][0]["ms"]["p50"]
    assert of["ratio"] == pytest.approx(of["now"] / of["before"])


@pytest.mark.thorough
def test_the_table_of_a_voice_names_all_of_it(anna):
    words = ("--voice", "Anna", "--steps", "2", "--block", "100", "--context", "300")
    table = bench_command(*words).stdout
    for word in ("MLX", "BLAS", "block 100 ms", "GFLOP", "p99", "real-time factor", "resident"):
        assert word in table
    rows = [line.split("  ")[1] for line in table.splitlines() if line.startswith("  ")]
    assert rows[:7] == list(stage_times.STAGES)


@pytest.mark.thorough
def test_progress_is_shown_and_an_interrupt_tells_what_is_known(anna, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    words = ("--voice", "Anna", "--steps", "100000", "--block", "100", "--json")
    command = [sys.executable, "-m", "rtvc", "bench", *words]
    terminal = PseudoTerminal()
    with (
        closing(terminal),
        started(command, stdout=subprocess.PIPE, stderr=terminal.inner, text=True) as process,
    ):
        terminal.read_until("Anna [", times=4, seconds=60)  # it says "Anna: loading" first
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        terminal.read_until("Interrupted")
    assert process.returncode == 130
    report = json.loads(out)
    assert not report["complete"]
    assert 0 < report["voices"][0]["steps"] < 100_000
    assert report["voices"][0]["stages"] == {}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--steps", "0"], "--steps is '0'"),
        (["--steps", "many"], "--steps is 'many', but must be a whole number"),
        (["--block", "5"], "'block' is 5, but must be a number from 20 to 1000 ms"),
        (["--rate", "44k"], "--rate is '44k', but must be one of"),
        (["--voice", "Nobody"], "Nobody"),
        (["--voice", "v2-40k", "./none.pth"], "There is no file or folder './none.pth'"),
        (["--compare", "none.json"], "none.json cannot be read"),
        (["--compare", "rubbish.json"], "is not a report of 'rtvc bench --json'"),
        (["--compare", "other.json"], "was measured with context 500.0"),
    ],
)
def test_a_wrong_request_is_one_sentence(words, part, anna, tmp_path):
    (tmp_path / "rubbish.json").write_text("[1, 2]")
    other = bench_report.new_report(Settings(block=250.0, context=500.0), "", "cpu", "")
    (tmp_path / "other.json").write_text(json.dumps(other))
    done = bench_command(*words, code=2)
    assert part in done.stderr
    assert done.stderr.startswith("rtvc: ")


def test_a_report_that_was_changed_is_refused(tmp_path):
    settings = Settings(block=250.0, context=500.0)
    whole = bench_report.new_report(settings, "", "cpu", "")
    whole["voices"] = [MEASURED_VOICE]
    path = tmp_path / "before.json"

    def read(report):
        path.write_text(json.dumps(report))
        return bench_report.read_report(path, settings)

    found = read(whole)
    assert bench_report.ratios(found, found)["v2-40k"]["step p50, ms"]["ratio"] == 1
    voice = MEASURED_VOICE
    changed = [
        {name: value for name, value in whole.items() if name != missing}
        for missing in ("settings", "hardware", "when", "voices")
    ]
    changed += [
        {**whole, "settings": {}},
        {**whole, "settings": 3},
        {**whole, "hardware": {}},
        {**whole, "hardware": None},
        {**whole, "voices": {"v2-40k": voice}},
    ]
    changed += [{**whole, "voices": [{**voice, name: "x"}]} for name in voice if name != "name"]
    changed += [
        {**whole, "voices": [{key: value for key, value in voice.items() if key != missing}]}
        for missing in voice
    ]
    for report in changed:
        with pytest.raises(UsageError, match="another version of rtvc has written it, or it was"):
            read(report)
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="is not a report of"):
        bench_report.read_report(path, settings)


def test_rates_and_kinds_are_told_apart():
    from rtvc.cli.bench import _names

    assert _names([], []) == list(KINDS)
    assert _names([], ["40k"]) == ["v1-40k", "v2-40k"]
    assert _names(["Anna", "v2-40k"], ["40k"]) == ["Anna", "v2-40k", "v1-40k"]
