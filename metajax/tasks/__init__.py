"""Task sources: each function returns `sample(key) -> Task`, to be called inside `jit`."""

from metajax.tasks.batch import batch as batch
from metajax.tasks.cifar_fs import cifar_fs as cifar_fs
from metajax.tasks.episodes import episodes as episodes
from metajax.tasks.fashion_mnist import fashion_mnist as fashion_mnist
from metajax.tasks.images import images as images
from metajax.tasks.mixture import mixture as mixture
from metajax.tasks.mnist import mnist as mnist
from metajax.tasks.omniglot import omniglot as omniglot
from metajax.tasks.ragged import ragged as ragged
from metajax.tasks.scenes import scenes as scenes
from metajax.tasks.sentences import sentences as sentences
from metajax.tasks.sentences import with_outside as with_outside
from metajax.tasks.streamed import streamed as streamed
from metajax.tasks.synthetic import families as families
from metajax.tasks.synthetic.clusters import clusters as clusters
from metajax.tasks.synthetic.functions import functions as functions
from metajax.tasks.synthetic.gaussian_process import gaussian_process as gaussian_process
from metajax.tasks.synthetic.glyphs import glyphs as glyphs
from metajax.tasks.synthetic.linear_gaussian import linear_gaussian as linear_gaussian
from metajax.tasks.synthetic.sinusoid import sinusoid as sinusoid
from metajax.tasks.varied import varied as varied
