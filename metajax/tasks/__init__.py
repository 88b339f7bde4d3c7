"""Task sources: each function returns `sample(key) -> Task`, to be called inside `jit`."""

from metajax.tasks.episodes import episodes as episodes
from metajax.tasks.omniglot import omniglot as omniglot
from metajax.tasks.sinusoid import sinusoid as sinusoid
