"""Every feature loss: values of its authors, and properties that all losses share.

The choice of stages of networks is tested in test_feature_stages.py.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdtool.core.errors import UsageError
from kdtool.losses import FEATURE_LOSSES, feature_loss, logit_loss
from kdtool.losses.attention_transfer import attention_transfer
from kdtool.losses.reviewkd import Fusion, hierarchical_context

GOLDEN = Path(__file__).parents[1] / "golden"
VALUES = np.load(GOLDEN / "losses.npz")
CASES = [case for case in json.loads((GOLDEN / "losses.json").read_text()) if "student" not in case["inputs"]]
# Method of a case that is only a part of a loss → (loss, function)
PARTS = {"hierarchical_context": ("reviewkd", hierarchical_context)}
BY_HAND = {"fitnet"}  # computed on paper: test_a_hint_is_the_mean_squared_error_behind_the_regressor
PRECISIONS = [(torch.float64, 1e-6), (torch.float32, 1e-5)]

MAPS = ([(6, 8, 8), (8, 4, 4)], [(10, 8, 8), (12, 4, 4)])
TOKENS = ([(16, 8)] * 3, [(16, 12)] * 3)
SHAPES = {name: MAPS if len(loss.EXAMPLE[0]) == 3 else TOKENS for name, loss in FEATURE_LOSSES.items()}


def make(name: str, **params: Any) -> nn.Module:
    torch.manual_seed(0)
    return feature_loss(name, params)(*SHAPES[name])


def features(name: str, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> list[list[Tensor]]:
    """Features of student and teacher for 3 images."""
    generator = torch.Generator().manual_seed(1)
    return [
        [(torch.randn(3, *shape, generator=generator) * scale).to(dtype).requires_grad_() for shape in shapes]
        for shapes in SHAPES[name]
    ]


def with_noise(name: str, noise: Tensor) -> dict[str, Tensor]:
    """Argument that makes a loss with random numbers repeatable."""
    return {"noise": noise} if "noise" in inspect.signature(FEATURE_LOSSES[name].forward).parameters else {}


def golden(case: int, name: str, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(VALUES[f"{case}/{name}"]).to(dtype)


def assert_close(found: Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Compare relative to the largest value, because some gradients are of the order 1e-6."""
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance * largest)


def golden_features(case: dict[str, Any], side: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Inputs of the student or the teacher, shallow ones first."""
    names = sorted((name for name in case["inputs"] if name.startswith(side)), reverse=True)
    return {name: golden(case["case"], name, dtype) for name in names}


def stages(inputs: dict[str, Tensor]) -> list[Tensor]:
    """One tensor for each stage; the input `…_shallow` (B, stages, N, D) has several."""
    return [
        stage
        for name, value in inputs.items()
        for stage in (value.unbind(1) if name.endswith("_shallow") else [value])
    ]


def golden_loss(case: dict[str, Any], dtype: torch.dtype, *sides: list[Tensor]) -> Tensor:
    """Value of the loss of a case, with the weights of the case in its helper layers."""
    if case["method"] in PARTS:
        part: Tensor = PARTS[case["method"]][1](*(side[0] for side in sides), **case["params"])
        return part
    loss = feature_loss(case["method"], case["params"])(*([one.shape[1:] for one in side] for side in sides))
    weights = [name for name in case["inputs"] if name.startswith("weight:")]
    state = {name.removeprefix("weight:"): golden(case["case"], name, dtype) for name in weights}
    loss.to(dtype).load_state_dict(state)
    noise = {name: golden(case["case"], name, dtype) for name in case["inputs"] if name == "noise"}
    value: Tensor = loss(*sides, **noise)
    return value


@pytest.mark.parametrize("dtype, tolerance", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['case']}-{case['method']}")
def test_value_and_gradient_are_the_authors(
    case: dict[str, Any], dtype: torch.dtype, tolerance: float
) -> None:
    student = golden_features(case, "student", dtype)
    wrt = student[case["wrt"]].requires_grad_()
    value = golden_loss(case, dtype, stages(student), stages(golden_features(case, "teacher", dtype)))
    value.backward()
    assert value.item() == pytest.approx(case["value"], rel=tolerance)
    assert_close(wrt.grad, VALUES[f"{case['case']}/grad_{case['wrt']}"], tolerance)


def test_every_loss_has_independent_values() -> None:
    of_cases = {PARTS[method][0] if method in PARTS else method for method in (c["method"] for c in CASES)}
    assert of_cases | BY_HAND == set(FEATURE_LOSSES)


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_cites_its_source(name: str) -> None:
    assert "arXiv:" in (inspect.getdoc(inspect.getmodule(FEATURE_LOSSES[name])) or "")


@pytest.mark.parametrize("name", FEATURE_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_finite_at_any_activations(name: str, dtype: torch.dtype, scale: float) -> None:
    loss = make(name)
    student, teacher = features(name, scale, dtype)
    value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    for feature in student:
        assert torch.isfinite(feature.grad).all()
    for parameter in loss.parameters():
        assert torch.isfinite(parameter.grad).all()
    assert all(feature.grad is None for feature in teacher), "the teacher must not learn"


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_autocast_changes_nothing(name: str) -> None:
    loss, noise = make(name), torch.rand(3, 16)
    student, teacher = features(name)
    expected = loss(student, teacher, **with_noise(name, noise))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(student, teacher, **with_noise(name, noise))
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_independent_of_the_batch(name: str) -> None:
    """The loss is a mean over the batch: twice the same images, equal loss (no batch statistics)."""
    loss, noise = make(name).double().eval(), torch.rand(3, 16)
    student, teacher = features(name, dtype=torch.float64)
    once = loss(student, teacher, **with_noise(name, noise))
    doubled = (
        [feature.repeat(2, *[1] * (feature.ndim - 1)) for feature in part] for part in (student, teacher)
    )
    twice = loss(*doubled, **with_noise(name, noise.repeat(2, 1)))
    assert once.item() == pytest.approx(twice.item(), rel=1e-9)


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_training_brings_it_down(name: str) -> None:
    """Helper layers and the student's features learn: each has a gradient that leads downhill."""
    loss, noise = make(name), torch.rand(3, 16)
    student, teacher = features(name)
    learning = [*student, *loss.parameters()]
    before = loss(student, teacher, **with_noise(name, noise))
    before.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in loss.parameters())
    assert all(feature.grad.abs().max() > 0 for feature in student)
    norm = torch.cat([tensor.grad.flatten() for tensor in learning]).norm()
    with torch.no_grad():
        for tensor in learning:
            tensor -= 0.01 * tensor.grad / norm
    assert loss(student, teacher, **with_noise(name, noise)) < before


@pytest.mark.parametrize("loss", [attention_transfer, hierarchical_context])
@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_zero_where_the_student_is_the_teacher(loss: Callable[..., Tensor], side: int) -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(3, 5, side, side, generator=generator).double() for _ in range(2))
    assert loss(teacher, teacher).item() == 0
    if side > 1:  # where the only place is looked at, attention is 1
        assert loss(student, teacher).item() > 1e-3


def test_attention_is_blind_to_scale_and_takes_any_power() -> None:
    student, teacher = (part[0] for part in features("attention_transfer", dtype=torch.float64))
    for p in (1, 3, 4):
        value = attention_transfer(student, teacher, p)
        assert attention_transfer(1e3 * student, 1e-3 * teacher, p).item() == pytest.approx(value.item())
        assert attention_transfer(-student, teacher, p).item() == pytest.approx(value.item())
    single = attention_transfer(1e4 * student.float(), teacher.float(), 12)  # 1e4 ** 12 overflows
    assert single.item() == pytest.approx(attention_transfer(student, teacher, 12).item(), rel=1e-4)


@pytest.mark.parametrize(("side", "share"), [(2, 4 / 49), (4, 16 / 49), (7, 1.0), (16, 1.0)])
def test_small_maps_need_not_outweigh_the_labels(side: int, share: float) -> None:
    shape = (3, side, side)
    student, teacher = torch.randn(2, 4, *shape, dtype=torch.float64)
    published = attention_transfer(student, teacher).item()
    for params, weight in (({}, 1.0), ({"min_positions": 49}, share)):
        value = feature_loss("attention_transfer", params)([shape], [shape])([student], [teacher])
        assert value.item() == pytest.approx(weight * published)


@pytest.mark.parametrize("scale", [1e-3, 10.0, 1e4])
def test_a_review_with_targets_of_unit_size_is_blind_to_the_teachers_scale(scale: float) -> None:
    student, teacher = features("reviewkd")
    loss = make("reviewkd", normalize=True)
    value = loss(student, teacher).item()
    scaled = [scale * feature for feature in teacher]
    assert loss(student, scaled).item() == pytest.approx(value, rel=1e-4)
    assert torch.isfinite(loss(student, [0 * feature for feature in teacher]))


def test_a_map_of_one_place_has_one_level() -> None:
    one, other = torch.zeros(2, 3, 1, 1), torch.full((2, 3, 1, 1), 2.0)
    assert hierarchical_context(one, other).item() == 4.0


@pytest.mark.parametrize("side, total", [(8, 1.875), (4, 1.75), (2, 1.5)])
def test_hierarchical_context_of_a_checkerboard_is_that_of_its_details(side: int, total: float) -> None:
    """All averages of a checkerboard are zero, so only the first of the weights 1, 1/2, 1/4, 1/8 matters."""
    board = torch.ones(1, 1, side, side)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = -1
    assert hierarchical_context(board, torch.zeros_like(board)).item() == pytest.approx(1 / total)


def test_a_hint_is_the_mean_squared_error_behind_the_regressor() -> None:
    """The regressor only doubles its input; batch statistics have mean 0 and variance 1."""
    loss = feature_loss("fitnet", {})([(1, 4, 4)], [(1, 4, 4)]).eval()
    convolution, normalization = loss.regressors[0]
    normalization.eps = 0.0
    nn.init.constant_(convolution.weight, 2.0)
    nn.init.zeros_(convolution.bias)
    student, teacher = torch.full((2, 1, 4, 4), -3.0), torch.ones(2, 1, 4, 4)
    assert loss([student], [teacher]).item() == 49.0


def test_a_fusion_weighs_the_stage_and_the_deeper_ones() -> None:
    """Convolutions have weight 1, both attentions are σ(0) = 1/2: (4 + 2) / 2."""
    fusion = Fusion(1, 1, 1, deepest=False).eval()
    for convolution, normalization in (fusion.enter, fusion.leave):
        nn.init.dirac_(convolution.weight)
        normalization.eps = 0.0
    nn.init.zeros_(fusion.attend.weight)
    nn.init.zeros_(fusion.attend.bias)
    deeper, size = torch.full((1, 1, 1, 1), 2.0), torch.Size((2, 2))
    output, residual = fusion(torch.full((1, 1, 2, 2), 4.0), deeper, size)
    assert torch.equal(output, torch.full((1, 1, 2, 2), 3.0))
    assert torch.equal(residual, output)


def test_a_review_goes_from_deep_to_shallow() -> None:
    """The last stage influences every level, the first stage only its own level."""
    loss = make("reviewkd").eval()
    outputs: dict[int, Tensor] = {}
    for level, fusion in enumerate(loss.fusions):
        fusion.register_forward_hook(lambda _, __, output, level=level: outputs.update({level: output[0]}))
    (first, last), teacher = features("reviewkd")
    loss([first, last], teacher)
    before = dict(outputs)
    loss([first + 1, last], teacher)
    assert [torch.equal(outputs[level], before[level]) for level in (0, 1, 2)] == [False, True, True]
    loss([first, last + 1], teacher)
    assert [torch.equal(outputs[level], before[level]) for level in (0, 1, 2)] == [False, False, False]


def test_only_masked_tokens_are_generated() -> None:
    """Half of the tokens, those with the largest noise, are masked; other tokens have no effect."""
    loss, noise = make("vitkd", alpha=0.0), torch.arange(16.0).repeat(3, 1)
    student, (first, second, deep) = features("vitkd")
    kept, masked = deep.detach().clone(), deep.detach().clone()
    kept[:, :8] += 1
    masked[:, 8:] += 1
    value = loss(student, [first, second, deep], noise).item()
    assert loss(student, [first, second, kept], noise).item() == value
    assert loss(student, [first, second, masked], noise).item() != pytest.approx(value, rel=1e-3)


def test_the_mask_is_drawn_from_torchs_generator() -> None:
    loss, (student, teacher) = make("vitkd"), features("vitkd")
    values = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        values.append(loss(student, teacher).item())
    assert values[0] == values[2] != values[1]


def test_networks_of_one_width_need_no_linear_maps() -> None:
    loss = feature_loss("vitkd", {})([(16, 8)] * 3, [(16, 8)] * 3)
    assert [name for name, _ in loss.named_parameters() if "align" in name] == []
    same = features("vitkd")[0]
    alone = feature_loss("vitkd", {"beta": 0.0})([(16, 8)] * 3, [(16, 8)] * 3)
    assert alone(same, same).item() == 0


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_a_trial_draws_no_random_numbers(name: str) -> None:
    """Otherwise a check of the recipe would change the student's initial weights."""
    before = torch.get_rng_state()
    feature_loss(name, {})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "side, shape, kernel",
    [(8, (8, 8), (1, 1)), (8, (4, 4), (3, 3)), (7, (4, 4), (3, 3)), (4, (8, 8), (4, 4)), (8, (5, 6), (4, 3))],
)
def test_a_hint_fits_maps_of_other_sizes(side: int, shape: tuple[int, int], kernel: tuple[int, int]) -> None:
    loss = feature_loss("fitnet", {})([(3, side, side)], [(5, *shape)])
    assert loss.regressors[0][0].kernel_size == kernel
    with torch.no_grad():
        student, teacher = torch.randn(4, 3, side, side), torch.randn(4, 5, *shape)
        assert loss.regressors[0](student).shape == teacher.shape
        assert torch.isfinite(loss([student], [teacher]))


def test_vitkd_needs_a_shallow_and_a_deep_stage() -> None:
    with pytest.raises(UsageError, match="shallow stages and a deep stage; given: 1; allowed: 2 or more"):
        feature_loss("vitkd", {})([(16, 8)], [(16, 12)])


def test_a_hint_much_larger_than_the_students_map_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a map of 4×4 cannot be fitted to the teacher's 16×16"):
        feature_loss("fitnet", {})([(3, 4, 4)], [(5, 16, 16)])


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("attention_transfer", {"p": 0.5}, r"student\.features\.p is 0\.5; allowed: 1 or more"),
        ("reviewkd", {"mid_channels": 0}, r"student\.features\.mid_channels is 0; allowed: 1 or more"),
        ("vitkd", {"alpha": -1.0}, r"student\.features\.alpha is -1\.0; allowed: 0 or more"),
        ("vitkd", {"beta": -1.0}, r"student\.features\.beta is -1\.0; allowed: 0 or more"),
        ("vitkd", {"mask_ratio": 1.0}, r"student\.features\.mask_ratio is 1\.0; allowed: between 0 and 1"),
        ("vitkd", {"mask_ratio": "half"}, r"mask_ratio is 'half'; allowed: a finite number\.\n.*=0\.5"),
        ("vitkd", {"alpha": float("inf")}, r"student\.features\.alpha is inf; allowed: a finite number"),
        ("attention_transfer", {"min_positions": -1}, r"min_positions is -1; allowed: 0 or more"),
        ("attention_transfer", {"p": float("inf")}, r"features\.p is inf; allowed: a finite number"),
        ("reviewkd", {"mid_channels": True}, r"mid_channels is True; allowed: a whole number"),
        ("reviewkd", {"mid_channels": 2.5}, r"mid_channels is 2\.5; allowed: a whole number\.\n.*=512"),
        ("vitkd", {"ratio": 0.5}, r"student\.features\.ratio: .* allowed: alpha, beta, mask_ratio"),
        ("fitnet", {"p": 2}, r"student\.features\.p: the loss 'fitnet' has no such parameter; allowed: none"),
        ("hint", {}, r"student\.features\.name is 'hint'; allowed: fitnet, attention_transfer"),
        ("kd", {}, r"student\.features\.name is 'kd'.*\nkd is a logit loss: --set student\.loss\.name=kd"),
    ],
)  # fmt: skip
def test_wrong_settings_name_the_field(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        feature_loss(name, params)


def test_a_feature_loss_in_place_of_a_logit_loss_says_where_it_belongs() -> None:
    with pytest.raises(UsageError, match=r"fitnet is a feature loss: --set student\.features\.name=fitnet"):
        logit_loss("fitnet", {})
