"""Learned optimisers: each function returns a `LearnedOptimizer`, whose `build(weights)` is optax's."""

from metajax.optimizers.export import export as export
from metajax.optimizers.export import load as load
from metajax.optimizers.export import read as read
from metajax.optimizers.hyperparameters import Hyperparameters as Hyperparameters
from metajax.optimizers.hyperparameters import hyperparameters as hyperparameters
from metajax.optimizers.hyperparameters import schedule as schedule
from metajax.optimizers.lstm import lstm as lstm
from metajax.optimizers.meta_lstm import meta_lstm as meta_lstm
from metajax.optimizers.mlp import mlp as mlp
from metajax.optimizers.tuning import tuned as tuned
