"""FitNet against loops and the numbers of HeadSharingKD, TFace and GKD."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, C, D, compare, scalars_dot
from torch import Tensor

from facekd.backbones import create_backbone
from facekd.backbones.taps import stage_channels, tapped
from facekd.distill import Objective, Projector, Sizes, Step, build_terms, expand
from facekd.distill.fitnet import FitNet
from facekd.errors import FacekdError
from facekd.heads import Classifier


@pytest.mark.parametrize("shape", [(4, False), (7, True)])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "half_sum"])
def test_embeddings(reduction, normalize, shape):
    def slow(batch: Batch) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for s, t in zip(batch.projected, batch.t, strict=True):
            ns = torch.sqrt(scalars_dot(s, s)) if normalize else 1.0
            nt = torch.sqrt(scalars_dot(t, t)) if normalize else 1.0
            for k in range(len(t)):
                total = total + (s[k] / ns - t[k] / nt) ** 2
        return total / (B * len(batch.t[0])) if reduction == "mean" else total / (2 * B)

    compare(FitNet(normalize=normalize, reduction=reduction), slow, lambda: Batch(*shape))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("tface_distances", {}), ("gkd_fitnet", {"normalize": True, "reduction": "half_sum"})],
)
def test_authors_distance(name, settings):
    inputs, results = fixture(name)
    z = inputs["student"].requires_grad_()
    step = Step(z, torch.zeros(6), torch.arange(6), inputs["teacher"])
    value = FitNet(**settings)(step)
    close(value, results["fitnet"]["value"])
    value.backward()
    close(z.grad, results["fitnet"]["gradients"]["student"])


def maps_step(student: dict[int, Tensor], teacher: dict[int, Tensor]) -> Step:
    n = len(next(iter(student.values())))
    z = torch.zeros(n, D, dtype=torch.float64)
    position = torch.arange(n)
    return Step(z, position, position, student_maps=student, teacher_maps=teacher)


def built(
    stages: list[int], student: dict[int, int], teacher: dict[int, int], **settings
) -> FitNet:
    term = FitNet(stages=stages, **settings)
    term.build(Sizes(8, C, D, 7, student, teacher))
    return term.double()


def slow_hint(x: Tensor, conv: Tensor, scale: Tensor, shift: Tensor, t: Tensor) -> Tensor:
    """Sum over all components of (BN(conv x) - t)^2, pixel by pixel."""
    n, _, height, width = x.shape
    total = torch.zeros((), dtype=torch.float64)
    places = [(i, a, b) for i in range(n) for a in range(height) for b in range(width)]
    for c in range(len(conv)):
        values = {p: scalars_dot(conv[c, :, 0, 0], x[p[0], :, p[1], p[2]]) for p in places}
        mean = sum(values.values()) / len(places)
        spread = torch.sqrt(sum((v - mean) ** 2 for v in values.values()) / len(places) + 1e-5)
        for i, a, b in places:
            regressed = (values[i, a, b] - mean) / spread * scale[c] + shift[c]
            total = total + (regressed - t[i, c, a, b]) ** 2
    return total


@pytest.mark.parametrize("reduction", ["mean", "half_sum"])
def test_hints(reduction):
    rng = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    student = {2: draw(3, 2, 2, 3).requires_grad_(), 4: draw(3, 3, 1, 2).requires_grad_()}
    teacher = {2: draw(3, 4, 2, 3), 4: draw(3, 2, 1, 2)}
    term = built([4, 2], {2: 2, 4: 3}, {2: 4, 4: 2}, reduction=reduction)
    expected = torch.zeros((), dtype=torch.float64)
    for stage in (2, 4):
        conv, norm = term.regressors[str(stage)]
        total = slow_hint(student[stage], conv.weight, norm.weight, norm.bias, teacher[stage])
        count = teacher[stage].numel() if reduction == "mean" else 2 * 3
        expected = expected + total / count
    value = term(maps_step(student, teacher))
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    learning = [*student.values(), *term.parameters()]
    assert len(learning) == 8
    for found, slow in zip(
        torch.autograd.grad(value, learning), torch.autograd.grad(expected, learning), strict=True
    ):
        torch.testing.assert_close(found, slow, rtol=1e-8, atol=1e-10)


def test_authors_hint():
    inputs, results = fixture("headsharing_relations")
    term = built([2], {2: 4}, {2: 5})
    conv, norm = term.regressors["2"]
    with torch.no_grad():
        conv.weight.copy_(inputs["conv"])
    x = inputs["student_map"].requires_grad_()
    value = term(maps_step({2: x}, {2: inputs["teacher_map"]}))
    close(value, results["hint"]["value"])
    value.backward()
    found = {"student_map": x, "conv": conv.weight, "scale": norm.weight, "shift": norm.bias}
    for name, tensor in found.items():
        close(tensor.grad, results["hint"]["gradients"][name])


def test_two_networks_with_hints():
    """Real maps: the regressors learn, stand in the state, and rest in evaluation mode."""
    torch.manual_seed(0)
    student = create_backbone("mobilefacenet", D, input_size=32, width=0.25)
    teacher = create_backbone("mobilefacenet", 7, input_size=32, width=0.5).eval()
    sizes = Sizes(4, C, D, 7, stage_channels(student, 32), stage_channels(teacher, 32))
    terms = build_terms(expand({"preset": "fitnet", "stages": [2, 3]}), sizes)
    objective = Objective(terms, Classifier(C, D))
    assert objective.maps == {2, 3}
    images = torch.randn(4, 3, 32, 32)
    with tapped(student, objective.maps) as student_maps:
        z = student(images)
    with torch.no_grad(), tapped(teacher, objective.maps) as teacher_maps:
        teacher(images)
    maps = {"student_maps": student_maps, "teacher_maps": teacher_maps}
    total, values = objective(z, LABELS[:4], torch.arange(4), **maps)
    total.backward()
    torch.testing.assert_close(total, values["margin"] + 100 * values["fitnet"])
    regressors = {k: p for k, p in objective.named_parameters() if "regressors" in k}
    assert len(regressors) == 6
    assert all(p.grad.isfinite().all() for p in regressors.values())
    counts = [v for k, v in objective.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counts == [1, 1]
    objective.eval()
    objective(z, LABELS[:4], torch.arange(4), **maps)
    assert [v for k, v in objective.state_dict().items() if k.endswith("tracked")] == [1, 1]


def test_needs_and_errors():
    assert FitNet().needs == {"teacher_embeddings", "projector"}
    assert FitNet(stages=[3]).needs == {"feature_maps"}
    assert FitNet(stages=[3, 1]).maps == {1, 3}
    with pytest.raises(FacekdError, match=r"'fitnet': .* 4 wide and the teacher's 7"):
        FitNet()(Batch(7).step)
    with pytest.raises(FacekdError, match="teacher shows no feature map of stage 3"):
        built([3], {3: 4}, {})
    with pytest.raises(FacekdError, match="student shows no feature map of stage 3"):
        built([3], {}, {3: 4})
    with pytest.raises(FacekdError, match="normalize is for embeddings"):
        build_terms([{"term": "fitnet", "stages": [2], "normalize": True}])
    with pytest.raises(FacekdError, match="stages cannot be"):
        build_terms([{"term": "fitnet", "stages": [5]}])
    with pytest.raises(FacekdError, match="stages cannot be"):
        build_terms([{"term": "fitnet", "stages": 2}])
    sides = torch.zeros(2, 3, 4, 4).double(), torch.zeros(2, 3, 2, 2).double()
    with pytest.raises(FacekdError, match=r"stage 1 the student's .* 4 x 4 .* teacher's 2 x 2"):
        built([1], {1: 3}, {1: 3})(maps_step({1: sides[0]}, {1: sides[1]}))


def test_preset():
    form = {"normalize": False, "reduction": "mean"}
    assert expand("fitnet")[1] == {"term": "fitnet", "weight": 1.0, **form}
    hints = expand({"preset": "fitnet", "stages": [2]})
    assert hints[1] == {"term": "fitnet", "weight": 100.0, "stages": [2], **form}
    assert expand({"preset": "fitnet", "stages": [2], "beta": 3.0})[1]["weight"] == 3.0
    z, projector = torch.randn(B, D, requires_grad=True), Projector(D, 7)
    objective = Objective(build_terms(expand("fitnet")), Classifier(C, D), projector=projector)
    total, _ = objective(z, LABELS, torch.arange(B), torch.randn(B, 7))
    total.backward()
    assert projector[0].weight.grad.abs().sum() > 0
