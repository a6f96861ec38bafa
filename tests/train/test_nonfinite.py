"""Steps whose loss or gradient is not finite: left out, listed, and too many stop the run."""

import pytest
import torch
from tiny_runs import recipe, rows, same_weights, weights

from facekd.distill.term import TERMS, Term
from facekd.errors import FacekdError
from facekd.train import loop
from facekd.train.loop import Interrupted
from facekd.train.stages import run_recipe

EPOCHS = {"schedule": {"epochs": 5}}  # 15 steps


class Planted(Term):
    """Not finite at the steps whose numbers are in `bad`; zero otherwise."""

    bad = frozenset()

    def forward(self, step):
        now = round(step.epoch * 3)
        return step.embeddings.sum() * (float("nan") if now in self.bad else 0.0)


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setitem(TERMS._entries, "planted", Planted)

    def at(*steps):
        monkeypatch.setattr(Planted, "bad", frozenset(steps))

    return at


LOSS = [{"term": "margin", "scale": 16.0}, {"term": "planted"}]
STAGE = EPOCHS | {"loss": LOSS}


def test_a_step_is_left_out_counted_and_its_images_listed(tmp_path, planted, monkeypatch):
    planted(4, 5, 9)
    moved, batches, real = {}, {}, loop.take_step

    def take_step(run, around, batch):
        before = [p.detach().clone() for p in run.parameters.values()]
        told = real(run, around, batch)
        now = run.parameters.values()
        moved[run.step] = any(not torch.equal(a, b) for a, b in zip(before, now, strict=True))
        batches[run.step] = batch.index.tolist()
        return told

    monkeypatch.setattr(loop, "take_step", take_step)
    run_recipe(recipe(tmp_path, {"s": STAGE | {"stop_after_nonfinite": 3}}))
    assert [step for step in range(15) if not moved[step]] == [4, 5, 9]
    listed = rows(tmp_path / "run/s/nonfinite.csv")
    for step in (4, 5, 9):
        assert [int(r["record"]) for r in listed if r["step"] == str(step)] == batches[step]
    assert len(listed) == 3 * 8
    assert rows(tmp_path / "run/s/metrics.csv")[-1]["skipped_steps"] == "3.0"
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / "run/s.pt").values())


def test_so_many_in_a_row_stop_and_the_first_tensor_is_named(tmp_path, planted):
    planted(4, 6, 7, 8)
    with pytest.raises(FacekdError) as error:
        run_recipe(recipe(tmp_path, {"s": STAGE | {"stop_after_nonfinite": 3}}))
    told = str(error.value)
    assert told.startswith("step 8: the loss is nan; not finite: planted.")
    assert "The first tensor that is not: the loss's terms.planted." in told
    assert "3 steps in a row" in told
    assert {r["step"] for r in rows(tmp_path / "run/s/nonfinite.csv")} == {"4", "6", "7", "8"}
    assert not (tmp_path / "run/s.pt").exists()


def test_statistics_that_took_it_in_stop_at_once(tmp_path, planted, monkeypatch):
    """No later step would mend a running mean that is not finite."""
    planted()
    real = loop._forward

    def forward(run, around, batch):
        if run.step == 4:
            with torch.no_grad():
                run.model.backbone[0].bias[0] = float("inf")
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)
    with pytest.raises(
        FacekdError, match=r"step 4: .*tensor that is not: the weight 0\.backbone\.0\.bias\."
    ):
        run_recipe(recipe(tmp_path, {"s": STAGE}))


def test_the_count_goes_over_a_stop(tmp_path, planted, monkeypatch):
    planted(1, 11)
    run_recipe(recipe(tmp_path / "whole", {"s": STAGE}))
    real = loop.Stopping.batches

    def batches(stopping, loader, check):
        for number, batch in enumerate(real(stopping, loader, check)):
            if number == 6:
                stopping._received.append(2)
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(loop.Stopping, "batches", batches)
        with pytest.raises(Interrupted, match="stopped at step 7 of 15"):
            run_recipe(recipe(tmp_path, {"s": STAGE}))
    run_recipe(recipe(tmp_path, {"s": STAGE}))
    assert same_weights(tmp_path / "run/s.pt", tmp_path / "whole/run/s.pt")
    ours, whole = (rows(f / "run/s/nonfinite.csv") for f in (tmp_path, tmp_path / "whole"))
    assert ours == whole
    assert rows(tmp_path / "run/s/metrics.csv")[-1]["skipped_steps"] == "2.0"
