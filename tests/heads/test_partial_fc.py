"""A head spread over processes is the head in one: values, gradients, touched rows."""

import math

import pytest
import torch
from two_processes import in_this_process, run_together

from facekd.distill.objective import Objective
from facekd.distill.term import Term, build_terms
from facekd.errors import FacekdError
from facekd.heads import Classifier, ShardedClassifier
from facekd.heads.class_block import Classes
from facekd.heads.partial_fc import class_range

MADE = """
import torch
from facekd.distill.objective import Objective
from facekd.distill.term import Sizes, build_terms
from facekd.heads import Classifier, ShardedClassifier
from facekd.ranks import mean

rng = torch.Generator().manual_seed(3)
draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
CLASSES = 11  # 2 and 4 processes do not divide it
images, teacher, weight, teachers = draw(8, 5), draw(8, 4), draw(CLASSES, 4), draw(CLASSES, 4)
network = draw(5, 4)
labels = torch.tensor([0, 10, 4, 4, -1, 7, 2, 9])
position = torch.arange(8)
per = 8 // world
mine = slice(rank * per, rank * per + per)

def learn(kind, specs, rate=1.0, steps=2, frozen=False, optimizer=None):
    '''Steps of an objective on this process's images, gradients averaged as DDP does.'''
    student, of_teacher = (Classifier.from_weight(w, b, frozen=f) for w, b, f in
        ((weight, weight[:, 0], frozen), (teachers, teachers[:, 1], True)))
    if kind == "sharded":
        student = ShardedClassifier.part_of(student, rate)
        of_teacher = ShardedClassifier.part_of(of_teacher, rate)
    terms = build_terms(specs, Sizes(num_images=8, num_classes=CLASSES, student_dim=4,
                                     teacher_dim=4))
    objective = Objective(terms, student, of_teacher).double()
    matrix = network.clone().requires_grad_()
    found = {}
    for step in range(steps):
        z = 9 * (images[mine] @ matrix)
        z.retain_grad()
        total, values = objective(z, labels.roll(step)[mine], position[mine], teacher[mine])
        matrix.grad = student.weight.grad = None
        if student.bias is not None: student.bias.grad = None
        total.backward()
        found |= {f"{step} total": mean(total), f"{step} network": mean(matrix.grad)}
        found |= {f"{step} {name}": mean(value) for name, value in values.items()}
        if not frozen and student.weight.grad is not None:
            found[f"{step} rows weight"] = student.weight.grad
        if student.bias is not None and student.bias.grad is not None:
            found[f"{step} rows bias"] = student.bias.grad
        with torch.no_grad():
            matrix -= 0.1 * mean(matrix.grad)
            if student.weight.grad is not None: student.weight -= 0.1 * student.weight.grad
    assert of_teacher.weight.grad is None and (not frozen or student.weight.grad is None)
    found |= {"buffer " + k: v for k, v in objective.terms.state_dict().items()}
    return found
"""

MARGINS = ["arcface", "cosface", "combined", "sphereface", "adaface", "magface", "curricularface"]
LOSSES = {margin: [{"term": "margin", "margin": margin}] for margin in [*MARGINS, "softmax"]} | {
    "filtered": [{"term": "margin", "margin": "curricularface", "filter_above": 0.3}],
    "kd": [{"term": "margin"}, {"term": "kd"}, {"term": "l2e"}],
    "linear kd": [{"term": "kd", "logits": "linear"}],
    "th_kd": [
        {"term": "margin", "margin": "curricularface", "weight": 0.5},
        {"term": "margin", "margin": "magface", "head": "teacher", "weight": 0.5},
        {"term": "kd", "weight": 0.5},
        {"term": "kd", "head": "teacher", "weight": 0.5},
        {"term": "l2e"},
    ],
    "dist": [{"term": "margin", "margin": "adaface"}, {"term": "dist", "weight": 2.0}],
    "dist on the teacher's head": [{"term": "dist", "head": "teacher", "beta": 2.0}],
    "dot regression": [
        {"term": "dot_regression", "head": "student"},
        {"term": "dot_regression", "head": "teacher", "weight": 0.3},
    ],
    "margin distillation": [{"term": "margin_distillation", "scale": 8.0}, {"term": "margin"}],
    "gkd": [{"term": "gkd", "classes": 4, "skd": 0.5, "ramp_epochs": 0.0, "scale": 8.0}],
    "gkd of all classes": [{"term": "gkd", "classes": 11, "ramp_epochs": 0.0, "scale": 8.0}],
    "gkd with one class": [{"term": "gkd", "classes": 1, "ramp_epochs": 0.0, "scale": 8.0}],
    "gkd, adaptive": [
        {"term": "gkd", "group": "adaptive", "tau": 0.8, "ramp_epochs": 0.0, "scale": 8.0},
    ],
}
EVERY = f"""
for name, specs in {LOSSES!r}.items():
    result |= {{f"{{name}}: {{k}}": v for k, v in learn(KIND, specs).items()}}
frozen = learn(KIND, [{{"term": "margin", "margin": "adaface"}}], frozen=True)
result |= {{f"frozen: {{key}}": value for key, value in frozen.items()}}
"""


SPECS = [
    {"term": "margin", "margin": "cosface", "scale": 8.0},
    {"term": "kd", "scale": 8.0},
    {"term": "dist", "scale": 8.0},
    {"term": "gkd", "classes": 5, "skd": 0.5, "ramp_epochs": 0.0, "scale": 8.0},
    {"term": "dot_regression", "head": "student"},
    {"term": "margin_distillation", "scale": 8.0},
]
SAMPLED = """
every, result = result, {}
from facekd.heads.drawn_rows import step_drawn_rows_alone
weight, teachers = (w.repeat(4, 1) + 0.1 * draw(44, 4) for w in (weight, teachers))
CLASSES = 44
labels = torch.tensor([0, 43, 20, 20, -1, 17, 2, 41])
torch.manual_seed(rank)
heads = [ShardedClassifier.part_of(Classifier.from_weight(w, frozen=f), 0.3)
         for w, f in ((weight, False), (teachers, True))]
objective = Objective(build_terms(SPECS), *heads)
chosen = []
choose = heads[0].choose
heads[0].choose = lambda labels: chosen.append(choose(labels)) or chosen[-1]
optimizer = torch.optim.SGD([heads[0].weight], lr=0.5, momentum=0.9, weight_decay=0.1)
step_drawn_rows_alone(optimizer)
z = images @ network
for step in range(3):
    own = z[mine].clone().requires_grad_()
    total, values = objective(own, labels[mine].roll(step), position[mine], teacher[mine])
    optimizer.zero_grad()
    total.backward()
    result |= {f"{step} {name}": value for name, value in values.items()}
    result[f"{step} drawn"] = chosen[-1].drawn + heads[0].rows.start
    result[f"{step} embeddings"] = own.grad / world
    result[f"{step} gradient"] = heads[0].weight.grad.coalesce().values()
    optimizer.step()
    result[f"{step} weight"] = heads[0].weight.detach().clone()
result["state"] = optimizer.state_dict()["state"][0]["momentum_buffer"]
result["weight"], result["teachers"] = weight, teachers
objective.eval()
result["columns when evaluated"] = torch.tensor(
    heads[0].cosines(z, heads[0].choose(labels[mine])).shape[1])
from facekd.ranks import gather, gather_own, rows_of_all, total
uneven = torch.arange(2.0 + rank, requires_grad=True)  # a record of the first process was skipped
joined = rows_of_all(uneven)
(joined.square().sum() * (rank + 1)).backward()
summand = torch.tensor(2.0 + rank, requires_grad=True)
(total(summand).square() * (rank + 1)).backward()
result |= {"joined": joined.detach(), "joined gradient": uneven.grad, "gathered": gather(uneven),
           "with own": gather_own(uneven).detach(), "sum gradient": summand.grad}
result = every | {f"sampled: {key}": value for key, value in result.items()}
"""


@pytest.fixture(scope="module")
def whole() -> dict[str, torch.Tensor]:
    """Values and gradients of one process with ordinary heads."""
    return in_this_process(MADE + "KIND = 'whole'" + EVERY)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    """What two processes found: every loss with all classes, and three steps with samples."""
    script = f"SPECS = {SPECS!r}" + MADE + "KIND = 'sharded'" + EVERY + SAMPLED
    return run_together(script, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_values_and_gradients_are_those_of_one_whole_head(world, whole, two, tmp_path):
    script = MADE + "KIND = 'sharded'" + EVERY
    if world == 2:
        found = two
    else:
        found = run_together(script, tmp_path, 4) if world == 4 else [in_this_process(script)]
    for key, expected in whole.items():
        if " rows " in key:
            together = torch.cat([each[key] for each in found])
            torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-11, msg=key)
        else:
            for each in found:
                torch.testing.assert_close(each[key], expected, rtol=1e-9, atol=1e-11, msg=key)
    assert sum("rows weight" in key for key in whole) > 20


@pytest.fixture(scope="module")
def sampled(two) -> list[dict[str, torch.Tensor]]:
    """Three steps of two processes that each draw 0.3 of their 22 classes."""
    own = "sampled: "
    return [{k.removeprefix(own): v for k, v in each.items() if k.startswith(own)} for each in two]


def batch(step: int) -> list[int]:
    halves = ([0, 43, 20, 20], [-1, 17, 2, 41])
    return [half[(i - step) % 4] for half in halves for i in range(4)]


def test_images_own_classes_are_drawn_and_others_up_to_the_rate(sampled):
    others = set()
    for step in range(3):
        for half, each in enumerate(sampled):
            drawn = each[f"{step} drawn"].tolist()
            assert drawn == sorted(set(drawn))
            assert len(drawn) == 6  # floor(0.3 x 22)
            assert set(drawn) <= set(range(22 * half, 22 * half + 22))
            assert set(drawn) >= {c for c in batch(step) if c // 22 == half}
            others |= set(drawn)
    assert len(others) > 20  # they differ from step to step
    assert all(each["columns when evaluated"] == 22 for each in sampled)


def test_the_losses_are_those_over_the_drawn_classes_alone(sampled):
    """Heads of the drawn rows in one process, for which other tests have slow versions."""
    made: dict[str, torch.Tensor] = {}
    exec(MADE, names := {"rank": 0, "world": 1, "result": made})
    for step in range(3):
        drawn = torch.cat([each[f"{step} drawn"] for each in sampled])
        before = (
            torch.cat([each[f"{step - 1} weight"] for each in sampled])
            if step
            else sampled[0]["weight"]
        )
        heads = [
            Classifier.from_weight(before[drawn], frozen=False),
            Classifier.from_weight(sampled[0]["teachers"][drawn]),
        ]
        labels = torch.tensor([drawn.tolist().index(c) if c >= 0 else -1 for c in batch(step)])
        z = (names["images"] @ names["network"]).requires_grad_()
        total, values = Objective(build_terms(SPECS), *heads)(
            z, labels, names["position"], names["teacher"]
        )
        total.backward()
        close = {"rtol": 1e-9, "atol": 1e-11}
        for each in sampled:
            for name, value in values.items():
                torch.testing.assert_close(each[f"{step} {name}"], value, **close)
        for what, gradient in (("embeddings", z.grad), ("gradient", heads[0].weight.grad)):
            found = torch.cat([each[f"{step} {what}"] for each in sampled])
            torch.testing.assert_close(found, gradient, **close)
        slow = slow_cosface(z.tolist(), before.tolist(), drawn.tolist(), batch(step))
        assert sampled[0][f"{step} margin"].item() == pytest.approx(slow, rel=1e-9)


def slow_cosface(z, weight, drawn, labels) -> float:
    """Mean cross-entropy of 8 (cos - 0.35 at the target) over the drawn classes."""
    losses = []
    for row, label in zip(z, labels, strict=True):
        if label < 0:
            continue
        logits = {}
        for c in drawn:
            dot = math.fsum(a * b for a, b in zip(row, weight[c], strict=True))
            cosine = dot / math.hypot(*row) / math.hypot(*weight[c])
            logits[c] = 8.0 * (cosine - 0.35 * (c == label))
        losses.append(math.log(math.fsum(map(math.exp, logits.values()))) - logits[label])
    return math.fsum(losses) / len(losses)


def test_only_drawn_rows_change_and_keep_a_momentum_of_their_own(sampled):
    for half, each in enumerate(sampled):
        weight = [row.clone() for row in each["weight"][22 * half : 22 * half + 22]]
        momentum = [torch.zeros_like(row) for row in weight]
        for step in range(3):
            drawn = (each[f"{step} drawn"] - 22 * half).tolist()
            for c, gradient in zip(drawn, each[f"{step} gradient"], strict=True):
                momentum[c] = 0.9 * momentum[c] + gradient + 0.1 * weight[c]
                weight[c] = weight[c] - 0.5 * momentum[c]
            untouched = [c for c in range(22) if c not in drawn]
            last = each[f"{step - 1} weight"] if step else each["weight"][22 * half :][:22]
            assert torch.equal(each[f"{step} weight"][untouched], last[untouched])
            torch.testing.assert_close(each[f"{step} weight"], torch.stack(weight))
        torch.testing.assert_close(each["state"], torch.stack(momentum))


def test_rows_of_all_processes_carry_all_losses_gradients_though_their_numbers_differ(sampled):
    for place, each in enumerate(sampled):
        for name in ("joined", "gathered", "with own"):
            assert each[name].tolist() == [0, 1, 0, 1, 2]
        assert each["joined gradient"].tolist() == [6 * x for x in range(2 + place)]
        assert each["sum gradient"] == 2 * 5 * (1 + 2)


def test_the_classes_of_ranks_follow_each_other_and_differ_by_one_at_most():
    for classes, ranks in ((11, 4), (8, 4), (4, 4), (1000, 7), (3, 1)):
        ranges = [class_range(classes, place, ranks) for place in range(ranks)]
        assert [c for own in ranges for c in own] == list(range(classes))
        assert max(map(len, ranges)) - min(map(len, ranges)) <= 1
    with pytest.raises(FacekdError, match="3 identities are too few for 4 processes"):
        class_range(3, 0, 4)


@pytest.mark.parametrize("classes", [11, (1 << 14) + 5, (3 << 14) + 7])
def test_it_begins_as_the_whole_head_and_leaves_the_generator_there(classes):
    torch.manual_seed(5)
    whole = Classifier(classes, 3)
    after = torch.rand(4)
    torch.manual_seed(5)
    sharded = ShardedClassifier(classes, 3)
    assert torch.equal(sharded.weight, whole.weight)
    assert torch.equal(torch.rand(4), after)


def test_more_images_than_the_rate_allows_draw_their_classes_and_no_others():
    head = ShardedClassifier(20, 4, sample_rate=0.1)
    block = head.choose(torch.tensor([3, 19, 3, -1, 8]))
    assert block.drawn.tolist() == [3, 8, 19]
    assert block.column.tolist() == [0, 2, 0, -1, 1]
    assert len(head.choose(torch.tensor([-1, -1])).drawn) == 2
    assert len(ShardedClassifier(20, 4, sample_rate=0.01).choose(torch.tensor([-1])).drawn) == 1


def test_a_sample_follows_the_generator():
    head = ShardedClassifier(50, 4, sample_rate=0.2)
    labels = torch.tensor([3, 40])
    state = torch.get_rng_state()
    first, second = head.choose(labels).drawn, head.choose(labels).drawn
    torch.set_rng_state(state)
    assert torch.equal(head.choose(labels).drawn, first)
    assert torch.equal(head.choose(labels).drawn, second)
    assert not torch.equal(first, second)


def test_equal_cosines_make_a_group_of_just_so_many_classes():
    block = ShardedClassifier(9, 4).choose(torch.tensor([3, -1]))
    rows = torch.tensor([[0.0] * 9, [1.0, 0, 0, 2, 0, 0, 0, 0, 1]])
    for classes in (block, Classes(block.column)):
        assert classes.largest(rows, 4).sum(dim=1).tolist() == [4, 4]
        assert classes.largest(rows, 3)[1].nonzero().flatten().tolist() == [0, 3, 8]
        assert classes.largest(rows, 9).all()


def test_terms_that_read_all_classes_at_once_are_refused():
    class Whole(Term):
        needs = frozenset({"student_head"})

    heads = ShardedClassifier(6, 4), ShardedClassifier(6, 4)
    with pytest.raises(FacekdError, match=r"term 'mine' reads all classes .*use .*gkd, kd, margin"):
        Objective([("mine", 1.0, Whole())], *heads)
    with pytest.raises(FacekdError, match="spread both"):
        Objective(build_terms([{"term": "kd"}]), heads[0], Classifier(6, 4))
    with pytest.raises(FacekdError, match="one centre a class"):
        ShardedClassifier.part_of(Classifier(6, 4, centres=2))
    with pytest.raises(FacekdError, match="was given 5-wide ones"):
        heads[0].cosines(torch.ones(2, 5), heads[0].choose(torch.tensor([1, 2])))
