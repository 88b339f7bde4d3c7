"""How the gradient of an objective is estimated: functions shaped like `jax.value_and_grad`."""

from metajax.estimators.automatic import automatic as automatic
from metajax.estimators.chunked import chunked as chunked
from metajax.estimators.clipped import clipped as clipped
from metajax.estimators.evolution import evolution as evolution
from metajax.estimators.noise_reuse_evolution import noise_reuse_evolution as noise_reuse_evolution
from metajax.estimators.persistent_evolution import persistent_evolution as persistent_evolution
from metajax.estimators.sharded import parallel as parallel
from metajax.estimators.sharded import sharded as sharded
from metajax.estimators.truncated_backprop import truncated_backprop as truncated_backprop
from metajax.estimators.truncated_evolution import truncated_evolution as truncated_evolution
