import pytest
import torch

from facekd.distill import Objective, Projector, build_terms, expand
from facekd.errors import FacekdError
from facekd.heads import Classifier

B, C = 6, 7
LABELS = torch.arange(B)


def make(loss, d_s=4, d_t=4, **changes):
    torch.manual_seed(0)
    parts = {
        "student_head": Classifier(C, d_s, bias=True),
        "teacher_head": Classifier(C, d_t, bias=True),
        "projector": Projector(d_s, d_t) if d_s != d_t else None,
    }
    return Objective(build_terms(expand(loss)), **(parts | changes))


def call(objective, d_s=4, d_t=4, dtype=torch.float32):
    torch.manual_seed(1)
    z = torch.randn(B, d_s, dtype=dtype, requires_grad=True)
    t = torch.randn(B, d_t, requires_grad=True)
    total, values = objective(z, LABELS, LABELS, t)
    return z, t, total, values


def test_the_total_is_the_weighted_sum_of_the_values():
    specs = [
        {"term": "margin", "weight": 0.25},
        {"term": "kd", "head": "teacher", "weight": 3.0},
        {"term": "l2e", "weight": 0.0},
    ]
    objective = make(specs)
    _, _, total, values = call(objective)
    assert list(values) == ["margin", "kd_teacher", "l2e"]
    expected = 0.25 * values["margin"] + 3.0 * values["kd_teacher"]
    torch.testing.assert_close(total.detach(), expected)
    assert values["l2e"] > 0
    assert not any(v.requires_grad for v in values.values())
    assert objective.needs == {
        "labels", "student_head", "teacher_head", "teacher_embeddings", "projector"
    }  # fmt: skip


def test_nothing_of_the_teacher_learns():
    objective = make("th_kd", d_t=5)
    z, t, total, _ = call(objective, d_t=5)
    before = {name: p.clone() for name, p in objective.named_parameters()}
    learning = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1, weight_decay=0.1)
    total.backward()
    optimizer.step()
    assert t.grad is None
    assert z.grad.abs().sum() > 0
    changed = {n for n, p in objective.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {
        "student_head.weight",
        "projector.0.weight",
        "projector.1.weight",
        "projector.1.bias",
    }


def test_unequal_widths_pass_through_the_projector():
    objective = make("th_kd", d_s=4, d_t=9)
    z, t, _, values = call(objective, d_t=9)
    objective_after = make("th_kd", d_s=9, d_t=9)
    objective_after.teacher_head = objective.teacher_head
    projected = Projector(4, 9)
    projected.load_state_dict(objective.projector.state_dict())
    _, direct = objective_after(projected(z), LABELS, LABELS, t)
    for name in ("margin_teacher", "kd_teacher", "l2e"):
        torch.testing.assert_close(values[name], direct[name])


def test_projector_is_linear_without_bias_then_batch_norm():
    projector = Projector(4, 9)
    assert [tuple(p.shape) for p in projector.parameters()] == [(9, 4), (9,), (9,)]
    out = projector(torch.randn(64, 4))
    torch.testing.assert_close(out.mean(0), torch.zeros(9), atol=1e-5, rtol=0)


def test_autocast_and_bf16_embeddings_change_nothing_but_the_input():
    objective = make("th_kd", d_t=5).eval()
    z = torch.randn(B, 4).bfloat16()
    t = torch.randn(B, 5)
    plain, values = objective(z.float(), LABELS, LABELS, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under, values_under = objective(z, LABELS, LABELS, t)
    assert under.dtype == torch.float32
    assert torch.equal(plain, under)
    assert values == values_under


def test_what_a_loss_lacks_is_told_before_the_first_step():
    with pytest.raises(FacekdError, match="term 'margin_teacher' needs the teacher head"):
        make("proxyless", teacher_head=None)
    with pytest.raises(FacekdError, match="term 'margin' needs the student head"):
        make("arcface", student_head=None)
    with pytest.raises(FacekdError, match="7 classes and the teacher's 8"):
        make("th_kd", teacher_head=Classifier(8, 4))
    with pytest.raises(FacekdError, match="4 wide and the teacher's head reads 9"):
        make("th_kd", d_t=9, projector=None)
    make("l2e", teacher_head=None)
    make("proxyless", student_head=None)
    with pytest.raises(FacekdError, match="teacher's embeddings"):
        make("l2e")(torch.randn(B, 4), LABELS, LABELS)


def test_one_frozen_head_may_serve_both_sides():
    """SH-KD's last stage with a frozen student head: teacher and student share it."""
    shared = Classifier(C, 4).freeze()
    objective = make("th_kd", student_head=shared, teacher_head=shared)
    z, _, total, values = call(objective)
    total.backward()
    assert values["margin"] == values["margin_teacher"]
    assert z.grad.abs().sum() > 0
    assert shared.weight.grad is None


def test_state_comes_back():
    objective, other = make("th_kd", d_t=5), make("th_kd", d_t=5)
    call(objective, d_t=5)
    torch.nn.init.normal_(objective.student_head.weight)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(call(objective.eval(), d_t=5)[2], call(other.eval(), d_t=5)[2])
