"""What a learner reads across domains."""

import jax
import numpy as np

from metajax.data.invented_ratings import invented_ratings
from metajax.recipes.recommendation import inputs
from metajax.recipes.recommendation.prepared import prepared
from metajax.recipes.recommendation.ratings import Ratings

SHRINKAGE = (1.0, 3.0, 3.0, 5.0, 0.0, 5.0, 1.0)


def test_tags_of_the_target_domain_are_no_inputs():
    across = Ratings(scenario="cross", target=("Horror", "Space"), shrinkage=SHRINKAGE)
    p = prepared(across)
    whole = invented_ratings()
    columns = [whole.tags.index(tag) for tag in across.target]
    target = np.any(whole.features[:, columns], axis=1)
    # No item of the target domain has a rating for training, or statistics.
    np.testing.assert_array_equal(p.split.new, target)
    assert not target[p.ratings.item[p.split.train]].any()
    assert not p.known.number[target].any()
    # Neither tables nor tasks show the tags.
    assert not p.ratings.features[:, columns].any()
    items = inputs.table(p.ratings, p.known)
    sample = inputs.training_tasks(p.ratings, p.split, p.known, id_dropout=0.0)
    tasks = [
        inputs.frozen_tasks(items, p.known, p.split, t, 3) for t in (p.split.val, p.split.test)
    ]
    for task in (sample(jax.random.key(0)), *tasks):
        for part in (task.support, task.query):
            assert not np.asarray(part.x["features"])[..., columns].any()
