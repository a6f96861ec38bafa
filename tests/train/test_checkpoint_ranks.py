"""Checkpoints of several processes: each writes its rows, and any other number reads them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from two_processes import in_this_process, run_together

from facekd.errors import FacekdError
from facekd.train import checkpoints

CLASSES, WIDTH, STEP = 7, 4, 3

# Each rank builds the whole from one seed and takes its rows of it.
MAKE = f"""
import math, random
from pathlib import Path
import torch.nn.functional as F
from torch import nn
from facekd import ranks
from facekd.errors import FacekdError
from facekd.train.checkpoint import Training
from facekd.train.checkpoints import Checkpoints

def rows_of(rank, world):
    each = math.ceil({CLASSES} / world)
    return range(min(rank * each, {CLASSES}), min((rank + 1) * each, {CLASSES}))

class Head(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.head = nn.Linear(1, 1, bias=False)
        self.head.weight = nn.Parameter(weight.clone())
        self.register_buffer("threshold", torch.zeros(2))

def make(seed, rank, world):
    torch.manual_seed(seed)
    weight, gradient = torch.randn({CLASSES}, {WIDTH}), torch.randn({CLASSES}, {WIDTH})
    rows = rows_of(rank, world)
    mine = slice(rows.start, rows.stop)
    model, objective = nn.Linear({WIDTH}, {WIDTH}), Head(weight[mine])
    objective.threshold += seed
    parameters = {{f"0.{{k}}": p for k, p in model.named_parameters()}}
    parameters |= {{f"1.{{k}}": p for k, p in objective.named_parameters()}}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    objective.head.weight.grad = gradient[mine].clone()
    optimizer.step()
    sharded = {{"objective.head.weight": rows}} if world > 1 else {{}}
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return Training(model, objective, optimizer, parameters, scaler, step={STEP}, sharded=sharded)

def state(run):
    drawn = {{"random": torch.rand(3), "python": torch.tensor(random.random())}}
    head = run.objective.head.weight
    found = {{"model": run.model.weight, "weight": head, "threshold": run.objective.threshold}}
    found |= {{"loss": loss(run), **run.optimizer.state[head], **drawn}}
    return {{k: v.detach().clone() for k, v in found.items()}}

def loss(run):
    images = torch.randn(5, {WIDTH}, generator=torch.Generator().manual_seed(1))
    logits = run.model(images) @ run.objective.head.weight.T
    parts = [torch.empty(5, len(rows_of(r, ranks.world()))) for r in range(ranks.world())]
    if ranks.world() > 1:
        import torch.distributed as dist
        dist.all_gather_object(parts, logits.detach())
    else:
        parts = [logits]
    return F.cross_entropy(torch.cat(parts, 1), torch.arange(5)).detach()
"""

SAVE = """
run = make(0, rank, world)
torch.manual_seed(100 + rank)
random.seed(rank)
kept = Checkpoints(Path("{at}"), 2)
kept.save(run, dict(settings=dict(a=1)))
result.update({{f"saved.{{k}}": v for k, v in state(run).items()}})
"""

LOAD = """
run = make(9, rank, world)
kept = Checkpoints(Path("{at}"), 2)
kept.load(kept.find(), run)
assert run.step == 3
result.update({{f"{name}.{{k}}": v for k, v in state(run).items()}})
"""

# Rank 1 of three cannot write; then, heads that have fewer rows than the checkpoint.
FAIL = """
import resource
run.step = 4
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
if rank == 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limit[1]))
try:
    kept.save(run, dict(settings=dict(a=1)))
except FacekdError as error:
    result["full"] = torch.tensor(list(str(error).encode()))
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
rows_of = lambda rank, world: range(2 * rank, 2 * rank + 2)
try:
    kept.load(kept.find(), make(0, rank, world))
except FacekdError as error:
    result["fewer"] = torch.tensor(list(str(error).encode()))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """One process saves and three load it; three save, and three, two and one load that."""
    folder = tmp_path_factory.mktemp("ranks")
    three, two, alone = folder / "three", folder / "two", folder / "alone"
    for place in (three, two, alone):
        place.mkdir()
    steps = [SAVE.format(at=three), LOAD.format(at=three, name="same")]
    steps += [LOAD.format(at=alone, name="from one"), LOAD.format(at=three, name="last"), FAIL]
    return {
        "folder": three,
        "one saves": in_this_process(MAKE + SAVE.format(at=alone)),
        "three": run_together(MAKE + "".join(steps), three, world=3),
        "two": run_together(MAKE + LOAD.format(at=three, name="cut"), two),
        "one": in_this_process(MAKE + LOAD.format(at=three, name="cut")),
    }


def assert_cut_anew(saved, found, name):
    for key in ("weight", "exp_avg", "exp_avg_sq"):
        whole = torch.cat([part[f"saved.{key}"] for part in saved])
        assert whole.shape == (CLASSES, WIDTH)
        assert torch.equal(torch.cat([part[f"{name}.{key}"] for part in found]), whole)
    for part in found:
        for key in ("model", "threshold", "step"):
            assert torch.equal(part[f"{name}.{key}"], saved[0][f"saved.{key}"])
        loss = part[f"{name}.loss"]
        assert torch.allclose(loss, saved[0]["saved.loss"], atol=1e-5, rtol=0)


def test_another_number_of_processes_cuts_the_rows_anew(seen):
    assert_cut_anew(seen["three"], seen["two"], "cut")
    assert_cut_anew(seen["three"], [seen["one"]], "cut")
    assert_cut_anew([seen["one saves"]], seen["three"], "from one")


def test_the_same_number_goes_on_with_every_bit_and_its_own_random_numbers(seen):
    for part in seen["three"]:
        keys = [key.removeprefix("saved.") for key in part if key.startswith("saved.")]
        assert {"weight", "exp_avg", "random", "python"} < set(keys)
        assert all(torch.equal(part[f"same.{k}"], part[f"saved.{k}"]) for k in keys)
    for key in ("saved.random", "saved.python"):
        assert len({part[key].flatten()[0].item() for part in seen["three"]}) == 3


def test_each_rank_writes_its_rows_and_the_manifest_tells_which(seen):
    folder = seen["folder"] / f"checkpoints/step-0000000{STEP}"
    told = json.loads((folder / "manifest.json").read_text())
    names = [f"optimizer.{key}.1.head.weight" for key in ("exp_avg", "exp_avg_sq")]
    names.append("objective.head.weight")
    assert told["sharded"] == {key: [[0, 3], [3, 6], [6, 7]] for key in names}
    assert told["files"].keys() == {f"rank{r}.safetensors" for r in range(3)}
    with safe_open(folder / "rank1.safetensors", framework="pt") as file:
        assert set(file.keys()) == {*names, "rng.torch"}


def test_a_checkpoint_of_format_2_loads_for_ever(tmp_path):
    fixture = Path(__file__).parents[1] / "fixtures/checkpoint_format2"
    shutil.copytree(fixture, tmp_path / f"checkpoints/step-0000000{STEP}")
    found = in_this_process(MAKE + LOAD.format(at=tmp_path, name="old"))
    parts = [load_file(fixture / f"rank{r}.safetensors") for r in range(2)]
    assert torch.equal(found["old.model"], parts[0]["model.weight"])
    for key, name in (
        ("weight", "objective.head.weight"),
        ("exp_avg", "optimizer.exp_avg.1.head.weight"),
        ("exp_avg_sq", "optimizer.exp_avg_sq.1.head.weight"),
    ):
        assert torch.equal(found[f"old.{key}"], torch.cat([part[name] for part in parts]))


def test_a_rank_that_cannot_write_fails_all_and_leaves_the_last_one(seen):
    for part in seen["three"]:
        told = bytes(part["full"].tolist()).decode()
        assert "cannot write" in told
        assert "File too large" in told
        assert "The last good checkpoint is untouched." in told
    names = [p.name for p in (seen["folder"] / "checkpoints").iterdir()]
    assert names == [f"step-0000000{STEP}"]


def test_a_head_of_other_classes_is_refused(seen):
    for part in seen["three"]:
        assert "has 7 rows, and 6 are needed" in bytes(part["fewer"].tolist()).decode()


def test_a_file_that_rank_0_does_not_see_is_told(tmp_path, monkeypatch):
    """As when the hosts do not share the run folder: the file is on another disk."""
    real = checkpoints.write_part

    def elsewhere(folder, training):
        part = real(folder, training)
        (folder / "rank0.safetensors").unlink()
        return part

    monkeypatch.setattr(checkpoints, "write_part", elsewhere)
    with pytest.raises(FacekdError, match="must be on a disk that all hosts share"):
        in_this_process(MAKE + SAVE.format(at=tmp_path))
    assert list((tmp_path / "checkpoints").iterdir()) == []
