"""Seeds and settings in one program: the numbers of members alone, intervals by hand, the chosen cell."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.train import advance, checkpoint, together
from metajax.train.feed import Drawn
from metajax.train.loop import first_state
from metajax.train.records import read_metrics
from metajax.train.sweep import over_members

LINE = mj.Model(init=lambda key, x: jax.random.normal(key), apply=lambda w, x: w * x)
SAMPLE = mj.tasks.sinusoid(shot=2)
LEARNER = mj.maml(LINE, mj.mse, optax.sgd(0.01), num_steps=1)
OBJECTIVE = mj.query_loss(LEARNER, mj.mse)
RATES = (0.01, 0.1)


def fitted(key, rate, steps=3):
    return mj.fit(
        LEARNER, OBJECTIVE, optax.sgd(rate), SAMPLE, key=key, outer_steps=steps, meta_batch=2,
        show_progress=False,
    )  # fmt: skip


def last(key, rate):
    state = fitted(key, rate)
    return {"w": state.meta_params, "step": state.step}


def test_members_are_those_of_single_runs():
    swept = mj.sweep(
        last, seeds=(4, 1, 2), grid={"rate": RATES}, members_per_pass=1, mesh=mj.task_mesh()
    )
    assert swept.cells == ({"rate": 0.01}, {"rate": 0.1})
    alone = [
        [fitted(jax.random.key(seed), rate).meta_params for seed in (4, 1, 2)] for rate in RATES
    ]
    np.testing.assert_allclose(swept.found["w"], alone, rtol=1e-6)


def test_a_member_that_diverges_spoils_no_other():
    swept = mj.sweep(last, seeds=(0, 1), grid={"rate": (0.1, 1e38)})
    alone = mj.sweep(last, seeds=(0, 1), grid={"rate": (0.1,)})
    np.testing.assert_array_equal(swept.found["step"][0], [3, 3])
    assert (swept.found["step"][1] < 3).all()
    np.testing.assert_array_equal(swept.found["w"][0], alone.found["w"][0])


def test_a_seed_may_have_more_than_32_bits():
    found = mj.sweep(jax.random.key_data, seeds=[3, 3_000_000_000]).found[0]
    expected = [jax.random.key_data(jax.random.key(seed)) for seed in (3, 3_000_000_000)]
    np.testing.assert_array_equal(found, expected)


def test_intervals_are_students():
    # The tables have t = 4.303 for 2 degrees of freedom; 1, 2 and 3 have deviation 1.
    found = mj.over_seeds([[1.0, 5.0], [2.0, 5.0], [3.0, float("inf")]])
    np.testing.assert_allclose(found.mean, [2, 5])
    np.testing.assert_allclose(found.interval, [4.303 / 3**0.5, 0], rtol=1e-3)
    np.testing.assert_array_equal(found.number, [3, 2])
    assert np.isnan(mj.over_seeds([1.0]).interval)


def test_the_cell_with_fewer_diverged_seeds_and_then_the_better_mean_is_chosen():
    nan = float("nan")
    cells = [[0.1, nan], [0.3, 0.5], [0.2, 0.7]]
    assert mj.best_cell(cells) == 1
    assert mj.best_cell(cells, higher_is_better=True) == 2
    assert mj.best_cell([[nan, 0.3], [0.2, nan]]) == 1
    assert mj.best_cell([[nan], [nan]]) is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"seeds": ()}, "seeds: there are no values"),
        ({"seeds": (1, 1)}, "seeds: 1 is given twice"),
        ({"seeds": (0.5,)}, "seeds=0.5 must be an integer"),
        ({"seeds": (0,), "grid": {"rate": ()}}, "rate: there are no values"),
        ({"seeds": (0,), "grid": {"rate": (0.1, 0.1)}}, "rate: 0.1 is given twice"),
        ({"seeds": (0,), "grid": {"rate": (float("nan"),)}}, "rate=nan must be a number"),
        ({"seeds": (0,), "grid": {"rate": "0.1"}}, "rate='0.1' must be a number"),
    ],
)
def test_what_cannot_be_swept_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mj.sweep(last, **arguments)


def programs(mesh):
    """Those of `fitted`."""

    def pieces(values):
        keys = jax.random.split(jax.random.key(values["seed"]), 3)
        return mj.outer_step(OBJECTIVE, optax.sgd(values["rate"])), keys

    def begin(values, _):
        (init, _), (init_key, _, check_key) = pieces(values)
        state = first_state(LEARNER, OBJECTIVE, init, Drawn(SAMPLE, 2), init_key, check_key)
        return advance.begin(state, advance.Window())

    def step(one, stop):
        (_, update), (_, step_key, _) = pieces(one[0])
        return advance.on_drawn(update, 2, one[1], stop, SAMPLE, step_key)

    mapped = [
        over_members(function, 1, mesh) for function in (begin, step, lambda one, _: one[1] ** 2)
    ]
    return together.Programs(
        mesh,
        lambda values: mapped[0](values, ()),
        lambda values, carry, stop: mapped[1]((values, carry), stop),
        lambda values, meta_params: mapped[2]((values, meta_params), ()),
    )


def members(folder, seeds):
    facts = [
        {"key": [0, seed], "key_impl": "fry", "meta_batch": 2, "report_every": 2} for seed in seeds
    ]
    return [
        together.Member(f"seed-{seed}", folder / f"seed-{seed}", {}, fact)
        for seed, fact in zip(seeds, facts, strict=True)
    ]


def train(folder, seeds, rates, steps):
    values = {"seed": np.array(seeds, np.int32), "rate": np.array(rates, np.float32)}
    return together.train(
        programs(mj.task_mesh()), values, members(folder, seeds), where=folder, outer_steps=steps,
        report_every=2,
    )  # fmt: skip


def test_folders_of_members_are_runs_that_go_on_in_the_same_bits(tmp_path, capsys):
    seeds, rates = (3, 5, 6), (0.1, 1e38, 0.01)  # three members on two devices
    assert train(tmp_path / "whole", seeds, rates, 5)
    assert "seed-5 stopped being finite in outer step" in capsys.readouterr().out
    assert train(tmp_path / "parts", seeds[:1], rates[:1], 2)  # one member is ahead of the others
    assert train(tmp_path / "parts", seeds, rates, 3)
    assert train(tmp_path / "parts", seeds, rates, 5)
    for seed in seeds:
        whole, parts = (tmp_path / kind / f"seed-{seed}" for kind in ("whole", "parts"))
        ends = [checkpoint.newest(folder / "checkpoints") for folder in (whole, parts)]
        assert ends[0].step == ends[1].step
        for one, other in zip(*(jax.tree.leaves(end.tree) for end in ends), strict=True):
            np.testing.assert_array_equal(one, other)
    alone = fitted(jax.random.key(3), 0.1, 5)
    restored = checkpoint.restore(tmp_path / "parts" / "seed-3" / "checkpoints")
    np.testing.assert_allclose(restored["meta_params"], alone.meta_params, rtol=1e-6)
    rows = read_metrics(tmp_path / "whole" / "seed-3")
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert rows[-1]["validation"] == pytest.approx(float(alone.meta_params) ** 2, rel=1e-5)
    failure = json.loads((tmp_path / "parts" / "seed-5" / "failure.json").read_text())
    assert failure["step"] < 5 and not jnp.isfinite(float(failure["loss"]))
