"""Task sources: each function returns `sample(key) -> Task`, to be called inside `jit`."""

from metajax.tasks.cifar_fs import cifar_fs as cifar_fs
from metajax.tasks.clusters import clusters as clusters
from metajax.tasks.episodes import episodes as episodes
from metajax.tasks.functions import functions as functions
from metajax.tasks.functions import harmonics as harmonics
from metajax.tasks.functions import lines as lines
from metajax.tasks.functions import mixture as mixture
from metajax.tasks.functions import polynomials as polynomials
from metajax.tasks.gaussian_process import gaussian_process as gaussian_process
from metajax.tasks.gaussian_process import gaussian_process_optimum as gaussian_process_optimum
from metajax.tasks.glyphs import glyphs as glyphs
from metajax.tasks.linear_gaussian import linear_gaussian as linear_gaussian
from metajax.tasks.linear_gaussian import linear_gaussian_optimum as linear_gaussian_optimum
from metajax.tasks.mnist import mnist as mnist
from metajax.tasks.omniglot import omniglot as omniglot
from metajax.tasks.sinusoid import sinusoid as sinusoid
from metajax.tasks.varied import varied as varied
