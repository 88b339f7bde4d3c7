"""Baselines that learn from similar users and items: genres, factors, neighbours."""

from functools import partial

import numpy as np

from metajax.recipes.recommendation.frozen import Frozen
from metajax.recipes.recommendation.judge import Predict
from metajax.recipes.recommendation.setting import Setting


def folded(s: Setting, factors: np.ndarray, strength: float, tasks: Frozen, k: int) -> np.ndarray:
    """The fair prediction, and ridge regression of what it leaves on factors of the items."""
    left, fair = s.left(tasks, k)
    design = factors[tasks.support_item[:, :k]]
    gram = np.einsum("tka,tkb->tab", design, design) + strength * np.eye(factors.shape[1])
    right = np.einsum("tka,tk->ta", design, left)
    taste = np.linalg.solve(gram, right[..., None])[..., 0]
    return fair + np.einsum("ta,tqa->tq", taste, factors[tasks.query_item])


def genres(s: Setting) -> Predict:
    """Ridge regression of what the fair baseline leaves on the features of items."""
    centred = s.ratings.features - s.ratings.features[s.ratings.item[s.split.train]].mean(axis=0)
    return s.best(partial(folded, s, centred, b) for b in (5.0, 10.0, 20.0, 40.0, 80.0))


def factorised(s: Setting, width: int, strength: float, *, rounds: int = 12, seed: int = 0):
    """Factors of items `(items, width)`, by alternating least squares on what the biases leave."""
    user, item, left = s.training()
    users, items = len(s.ratings.users), len(s.ratings.items)

    def solve(index, number, design):
        gram = np.zeros((number, width, width))
        right = np.zeros((number, width))
        np.add.at(gram, index, design[:, :, None] * design[:, None, :])
        np.add.at(right, index, design * left[:, None])
        return np.linalg.solve(gram + strength * np.eye(width), right[..., None])[..., 0]

    of_items = 0.1 * np.random.default_rng(seed).normal(size=(items, width))
    for _ in range(rounds):
        of_users = solve(user, users, of_items[item])
        of_items = solve(item, items, of_users[user])
    return of_items


def factorisation(s: Setting) -> Predict:
    """Matrix factorisation, into which new users are folded."""
    return s.best(
        partial(folded, s, factors, fold)
        for width in (2, 4, 8)
        for factors in (factorised(s, width, b) for b in (4.0, 8.0, 16.0))
        for fold in (2.0, 5.0, 15.0)
    )


def neighbours(s: Setting) -> Predict:
    """Item kNN: what is left of the ratings of similar items, weighed by a shrunk cosine."""
    import scipy.sparse as sparse

    user, item, left = s.training()
    shape = len(s.ratings.users), len(s.ratings.items)
    table = sparse.csr_matrix((left, (user, item)), shape=shape)
    rated = sparse.csr_matrix((np.ones(len(user)), (user, item)), shape=shape)
    products, common = (table.T @ table).tocsr(), (rated.T @ rated).tocsr()
    norm = np.sqrt(products.diagonal()) + 1e-9

    def predict(shrink, regular, tasks, k):
        residual, fair = s.left(tasks, k)
        found = np.zeros(fair.shape)
        for i, (given, asked) in enumerate(
            zip(tasks.support_item[:, :k], tasks.query_item, strict=True)
        ):
            number = common[given][:, asked].toarray()
            cosine = products[given][:, asked].toarray() / (
                norm[given][:, None] * norm[asked][None]
            )
            weight = cosine * number / (number + shrink)
            found[i] = (weight * residual[i][:, None]).sum(axis=0)
            found[i] /= np.abs(weight).sum(axis=0) + regular
        return fair + found

    return s.best(partial(predict, shrink, regular) for shrink in (5, 20) for regular in (0.2, 1.0))
