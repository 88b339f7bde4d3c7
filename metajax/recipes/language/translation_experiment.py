"""The experiment of prepared translations."""

from metajax.recipes.experiment import Experiment
from metajax.recipes.language import translation_report as report
from metajax.recipes.language.low_resource import TokenLoss, low_resource, tokens_right
from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_elsewhere import elsewhere
from metajax.recipes.language.translation_learners import LEARNERS, learner_of, tokens_read

VALIDATION = 8
"""Validation tasks."""


def experiment(p: Prepared) -> Experiment:
    """Returns the experiment of prepared sentences."""
    s, learner = p.settings, learner_of(p)
    row, loss = LEARNERS[s.learner], TokenLoss(s.smoothing)
    support = s.support if row.inner else 1
    train = low_resource(p.train, support=support, query=s.query, word_dropout=s.word_dropout)
    least = int(p.val.numbers.min()) - s.query
    share = max(1, least // s.batches) * s.batches if row.inner else 1
    val = low_resource(p.val, support=min(support, share), query=s.query)
    return Experiment(
        settings=s,
        learner=learner,
        loss=loss,
        objective=row.objective(learner, loss),
        optimizer=row.optimizer(s.outer_rate, s.outer_steps),
        train=train,
        val=val,
        test=val,
        metric=tokens_right,
        metric_name="next tokens right %",
        scale=100.0,
        higher_is_better=True,
        columns=(f"step {learner.num_steps}",),
        eval_steps=None,
        validation_steps=learner.num_steps,
        validation_tasks=VALIDATION,
        test_tasks=VALIDATION,
        digits=1,
        inductive=False,
        learned=f"from {' and '.join(s.languages)} to translate {s.third}, out of {tokens_read(p):,} tokens.",
        next_flags=f"--on FILE.xx, beside FILE.{p.corpus.target} with the translations",
        picture=None,
        test_name=p.corpus.name,
        judge=lambda meta_params, seed: report.judged(p, meta_params, seed),
        on=lambda name, data, shots: elsewhere(p, experiment(p), name),
        prepared=p,
    )
