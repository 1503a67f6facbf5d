"""The benchmarks measure the same model on both sides, and their arithmetic is right."""

import dataclasses
import json
import math
import time
from types import SimpleNamespace

import pytest
from cuda.device_on_cpu import OnCpu

from benchmarks import gpu, on_gpu, report, runner, sweep
from benchmarks.command import Options, contenders, file_name, shape_of
from benchmarks.runner import Result, markdown, measure, table_rows
from benchmarks.shape import GEMM_FLOPS, Shape
from minivit.backend import host
from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.models.config import PRESETS
from minivit.models.cost import num_parameters

TINY = Shape(dim=16, depth=1, num_heads=2, batch=4, image_size=8, threads=1)


def config_of(shape: Shape) -> ViTConfig:
    return ViTConfig(**shape.vit)


def test_the_flop_count_matches_the_model_summary():
    from minivit.models.summary import rows

    for shape in (TINY, Shape()):
        assert shape.flops == sum(row.flops for row in rows(ViT(config_of(shape))))


def test_the_pytorch_model_has_the_same_number_of_parameters():
    pytest.importorskip("torch")
    from benchmarks.torch_vit import ViT as TorchViT

    for shape in (TINY, Shape()):
        torch_count = sum(p.numel() for p in TorchViT(shape).parameters())
        assert torch_count == num_parameters(config_of(shape))


def test_a_named_model_has_its_own_sizes_and_the_batch_size_of_the_flag():
    flags = Shape(batch=8, threads=1, activation="gelu_tanh")
    for name in ("B/16", *(f"{size}/4" for size in PRESETS)):
        shape = shape_of(Options(shape=flags, model=name))
        named = ViTConfig.preset(name)
        assert config_of(shape) == dataclasses.replace(named, activation="gelu_tanh")
        assert (shape.batch, shape.threads, shape.device) == (8, 1, "cpu")


@pytest.mark.parametrize("model", ["resnet-20", "hybrid-B/16", "B16"])
def test_a_model_that_the_other_frameworks_lack_is_refused(model):
    with pytest.raises(UserError, match=model):
        shape_of(Options(model=model))


def test_invalid_numbers_raise_a_user_error():
    with pytest.raises(UserError, match="rounds is 0"):
        Options(rounds=0)
    with pytest.raises(UserError, match="num_heads 5"):
        shape_of(Options(shape=Shape(num_heads=5)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), "inference"),
        (Options(model="B/16"), "inference_b16"),
        (Options(shape=Shape(activation="gelu_tanh")), "inference_gelu_tanh"),
        (Options(sweep="batch"), "inference_batch"),
        (Options(model="B/16", name="mine"), "mine"),
    ],
)
def test_file_names_say_what_was_measured(options, expected):
    assert file_name(options, "inference") == expected


@pytest.mark.parametrize(
    ("flags", "supported"),
    [
        ("fpu sse2 avx512f avx512vl", False),
        ("fpu avx512_bf16", True),
        ("fpu amx_bf16", True),
        ("fp asimd bf16", True),
    ],
)
def test_bfloat16_is_measured_if_the_cpu_supports_it(flags, supported, monkeypatch):
    monkeypatch.setattr(host, "_cpuinfo", lambda: f"flags : {flags}\n")
    monkeypatch.setattr(runner, "installed", lambda name: name != "jax")
    found, (jax, *bf16) = contenders(["jax", "torch", "torch-bf16"], TINY)
    assert found == ["minivit", "torch", *["torch-bf16"] * supported]
    assert jax == "jax is left out: it is not installed"
    assert len(bf16) == (not supported)
    assert all("torch-bf16 is left out: this CPU has no bfloat16" in line for line in bf16)
    gpu = dataclasses.replace(TINY, device="cuda")
    assert contenders(["torch-bf16"], gpu) == (["minivit", "torch-bf16"], [])


def test_contenders_take_turns_in_separate_processes(capsys):
    results = measure(["minivit"], TINY, train=True, rounds=2, steps=1)
    printed = capsys.readouterr().err
    assert "round 1 of 2: minivit " in printed
    assert "round 2 of 2: minivit " in printed
    assert set(results) == {"minivit", "gemm"}
    for result in results.values():
        assert len(result.seconds) == 2
        assert min(result.seconds) > 0
        assert result.peak_bytes > 2**20


def test_a_terminal_shows_the_current_contender_and_round(capsys, monkeypatch):
    monkeypatch.setattr(runner.sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(runner, "Worker", lambda *_: SimpleNamespace(run=answer, stop=stop))
    stopped = []

    def answer(steps):
        time.sleep(0.11)  # a bar is drawn ten times a second
        return {"seconds": [1.0] * steps, "peak_bytes": 1}

    def stop():
        stopped.append(True)

    measure(["minivit"], TINY, train=True, rounds=2, steps=1)
    printed = capsys.readouterr().err
    for words in ("warming up gemm", "round 1 of 2: minivit:", "round 2 of 2: gemm:", "5/6"):
        assert words in printed
    assert len(stopped) == 2


def test_a_contender_that_crashes_is_an_error():
    with pytest.raises(RuntimeError, match="nobody"):
        measure(["nobody"], TINY, train=True, rounds=1, steps=1)


def test_ratios_are_per_round_and_the_limit_comes_from_matrix_products():
    shape = Shape(batch=10, threads=2)
    results = {
        "minivit": Result([1.0, 2.0, 4.0], 100_000_000),
        "torch": Result([3.0, 4.0, 4.0], 400_000_000),
        "gemm": Result([1.0, 1.0, 1.0], 0),
    }
    ours, theirs, limit = table_rows(results, shape, train=True)
    assert ours["minivit_over_it"] == 1.0
    assert theirs["minivit_over_it"] == 2.0
    assert theirs["ratio_range"] == [1.0, 3.0]
    assert limit["images_per_s"] == pytest.approx(2 * GEMM_FLOPS / (3 * shape.flops))
    assert ours["share_of_gemm_limit"] == pytest.approx(5.0 / limit["images_per_s"])
    assert "2.00 (1.00–3.00)" in markdown([ours, theirs, limit])


def test_a_report_has_a_table_a_data_file_and_a_plot(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    results = {"minivit": Result([1.0], 1), "gemm": Result([1.0], 1)}
    rows = table_rows(results, TINY, True)
    report.write("x", "Title", TINY, rows, "python -m this", ["jax is left out: why"])
    assert (
        json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["command"] == "python -m this"
    )
    page = (tmp_path / "x.md").read_text(encoding="utf-8")
    assert "python -m this" in page
    assert "\n\njax is left out: why.\n\n" in page
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_a_sweep_changes_one_size_and_what_depends_on_it():
    wide = sweep._with(Shape(), "dim", 384)
    assert (wide.dim, wide.num_heads) == (384, 6)
    large = sweep._with(Shape(), "image_size", 64)
    assert (large.image_size, large.batch) == (64, 32)


def test_a_sweep_over_threads_reports_the_speed_up():
    measured = {1: {"minivit": 50.0, "torch": 40.0}, 2: {"minivit": 95.0, "torch": 60.0}}
    *_, last = sweep._table("threads", measured).splitlines()
    assert last == "| 2 over 1 | 1.90× | 1.50× |"
    assert "over" not in sweep._table("batch", measured)


@pytest.mark.parametrize("train", [True, False])
def test_images_of_224_pixels_in_patches_of_4_give_3137_tokens(train):
    shape = dataclasses.replace(TINY, image_size=224, patch_size=4, batch=2)
    assert shape.tokens == 3137
    results = measure(["minivit"], shape, train, rounds=1, steps=1)
    rows = table_rows(results, shape, train)
    assert f"| {results['minivit'].peak_bytes / 1e6:.0f} MB |" in markdown(rows)


def test_on_a_gpu_the_fused_step_is_timed():
    shape = dataclasses.replace(TINY, dim=32, activation="gelu_tanh")
    stepper = on_gpu.make_stepper(shape, "fp32", OnCpu())
    loss = stepper.train(stepper.prepare(0), 0, 1e-3).loss
    assert float(loss) == pytest.approx(math.log(10), rel=1e-3)  # the head starts at zero


def test_the_gpu_table_compares_like_with_like():
    seconds = {"minivit-bf16": 1.0, "minivit-tf32": 4.0, "torch-bf16-compiled": 2.0}
    seconds |= {"torch-bf16": 3.0, "torch": 6.0, "copy": 1.0, "gemm": 1.0}
    results = {name: Result([s, s], 0) for name, s in seconds.items()}
    rows = {row["name"]: row for row in gpu.table_rows(results, Shape(batch=10))}
    assert rows[gpu.CONTENDERS["torch-bf16-compiled"]]["minivit_over_it"] == 2.0
    assert rows[gpu.CONTENDERS["torch"]]["minivit_over_it"] == 1.5
    assert rows[gpu.CONTENDERS["minivit-bf16"]]["minivit_over_it"] is None
    bandwidth = 2 * on_gpu.COPIED
    fraction = rows[gpu.CONTENDERS["minivit-bf16"]]["share_of_roofline"]
    assert fraction == pytest.approx(10 * gpu.bytes_of(Shape()) / bandwidth)
    assert "| 10 | minivit" in gpu.markdown(list(rows.values()))
