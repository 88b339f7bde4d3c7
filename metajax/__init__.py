"""metajax: learn how to learn, from pure functions in JAX."""

from typing import TYPE_CHECKING

from metajax import boxes as boxes
from metajax import ops as ops
from metajax import optimizers as optimizers
from metajax import tasks as tasks
from metajax.adjoints import conjugate_gradient as conjugate_gradient
from metajax.adjoints import first_order as first_order
from metajax.adjoints import implicit as implicit
from metajax.adjoints import mixed_mode as mixed_mode
from metajax.adjoints import neumann as neumann
from metajax.adjoints import remat as remat
from metajax.adjoints import truncated as truncated
from metajax.adjoints import unrolled as unrolled
from metajax.cpu import prepare_cpu as prepare_cpu
from metajax.estimators import automatic as automatic
from metajax.estimators import chunked as chunked
from metajax.estimators import clipped as clipped
from metajax.estimators import evolution as evolution
from metajax.estimators import noise_reuse_evolution as noise_reuse_evolution
from metajax.estimators import parallel as parallel
from metajax.estimators import persistent_evolution as persistent_evolution
from metajax.estimators import sharded as sharded
from metajax.estimators import truncated_backprop as truncated_backprop
from metajax.estimators import truncated_evolution as truncated_evolution
from metajax.estimators.lift import lift as lift
from metajax.evaluation import Evaluation as Evaluation
from metajax.evaluation import Score as Score
from metajax.evaluation import compare as compare
from metajax.evaluation import evaluate as evaluate
from metajax.evaluation import predictions as predictions
from metajax.evaluation import score as score
from metajax.inner import clip_by_global_norm as clip_by_global_norm
from metajax.inner import descend as descend
from metajax.inspection import Inspection as Inspection
from metajax.inspection import inspect as inspect
from metajax.learners.alfa import alfa as alfa
from metajax.learners.anil import anil as anil
from metajax.learners.attentive_process import attentive_process as attentive_process
from metajax.learners.beside_support import beside_support as beside_support
from metajax.learners.black_box import black_box as black_box
from metajax.learners.boil import boil as boil
from metajax.learners.cavia import cavia as cavia
from metajax.learners.conditioned import conditioned as conditioned
from metajax.learners.decision_tree import decision_tree as decision_tree
from metajax.learners.ensemble import ensemble as ensemble
from metajax.learners.finetune import finetune as finetune
from metajax.learners.from_scratch import from_scratch as from_scratch
from metajax.learners.gaussian_process_optimum import (
    gaussian_process_optimum as gaussian_process_optimum,
)
from metajax.learners.imaml import imaml as imaml
from metajax.learners.in_batches import in_batches as in_batches
from metajax.learners.in_context import Reader as Reader
from metajax.learners.in_context import in_context as in_context
from metajax.learners.knn import knn as knn
from metajax.learners.learned import LearnedParams as LearnedParams
from metajax.learners.learned import learned as learned
from metajax.learners.learned_loss import learned_loss as learned_loss
from metajax.learners.linear_gaussian_optimum import (
    linear_gaussian_optimum as linear_gaussian_optimum,
)
from metajax.learners.linear_probe import linear_probe as linear_probe
from metajax.learners.maml import maml as maml
from metajax.learners.mamlpp import mamlpp as mamlpp
from metajax.learners.matching import matching as matching
from metajax.learners.memory_augmented import memory_augmented as memory_augmented
from metajax.learners.meta_curvature import meta_curvature as meta_curvature
from metajax.learners.meta_sgd import meta_sgd as meta_sgd
from metajax.learners.nearest_neighbour import nearest_neighbour as nearest_neighbour
from metajax.learners.neural_process import neural_process as neural_process
from metajax.learners.pretrained import pretrained as pretrained
from metajax.learners.pretrained import pretraining as pretraining
from metajax.learners.prior_fitted import prior_fitted as prior_fitted
from metajax.learners.proto_maml import proto_maml as proto_maml
from metajax.learners.protonet import protonet as protonet
from metajax.learners.r2d2 import lrd2 as lrd2
from metajax.learners.r2d2 import r2d2 as r2d2
from metajax.learners.recurrent import recurrent as recurrent
from metajax.learners.relabelled import relabelled as relabelled
from metajax.learners.relation import relation as relation
from metajax.learners.ridge import ridge as ridge
from metajax.learners.simpleshot import simpleshot as simpleshot
from metajax.learners.snail import snail as snail
from metajax.learners.transformer import transformer as transformer
from metajax.learners.warp import warp as warp
from metajax.masks import filled as filled
from metajax.masks import masked_mean as masked_mean
from metajax.mesh import task_mesh as task_mesh
from metajax.metrics import losses as losses
from metajax.metrics.binned import bin_edges as bin_edges
from metajax.metrics.binned import binned_coverage as binned_coverage
from metajax.metrics.binned import binned_mean as binned_mean
from metajax.metrics.binned import binned_nll as binned_nll
from metajax.metrics.detection import average_precision as average_precision
from metajax.metrics.detection import detection_loss as detection_loss
from metajax.metrics.detection import detections as detections
from metajax.metrics.losses import accuracy as accuracy
from metajax.metrics.losses import calibration_error as calibration_error
from metajax.metrics.losses import coverage as coverage
from metajax.metrics.losses import cross_entropy as cross_entropy
from metajax.metrics.losses import error_of_mean as error_of_mean
from metajax.metrics.losses import gaussian_nll as gaussian_nll
from metajax.metrics.losses import mae as mae
from metajax.metrics.losses import mse as mse
from metajax.metrics.losses import reliability as reliability
from metajax.metrics.ranking import ndcg as ndcg
from metajax.nn import text as text
from metajax.nn.contexts import Conditioned as Conditioned
from metajax.nn.contexts import concatenated as concatenated
from metajax.nn.contexts import from_collection as from_collection
from metajax.nn.contexts import lora as lora
from metajax.nn.detector import detector as detector
from metajax.nn.equinox import equinox_model as equinox_model
from metajax.nn.haiku import haiku_model as haiku_model
from metajax.nn.linen import linen_model as linen_model
from metajax.nn.models import Conv4 as Conv4
from metajax.nn.models import Film as Film
from metajax.nn.models import conv4 as conv4
from metajax.nn.models import linear as linear
from metajax.nn.models import mixed_precision as mixed_precision
from metajax.nn.models import mlp as mlp
from metajax.nn.models import pixels as pixels
from metajax.nn.nnx import nnx_model as nnx_model
from metajax.nn.normalisation import calibrated as calibrated
from metajax.nn.resnet import ResNet12 as ResNet12
from metajax.nn.resnet import resnet12 as resnet12
from metajax.nn.unit import unit_features as unit_features
from metajax.objectives import Annealed as Annealed
from metajax.objectives import TaskMean as TaskMean
from metajax.objectives import multi_step_weights as multi_step_weights
from metajax.objectives import query_loss as query_loss
from metajax.objectives import reptile as reptile
from metajax.ops import conv_general_dilated as conv_general_dilated
from metajax.ops import dot_general as dot_general
from metajax.optimizers import problems as problems
from metajax.optimizers.unroll import unroll as unroll
from metajax.outer import outer_step as outer_step
from metajax.recipes.language.summarize import summarize as summarize
from metajax.recipes.recommendation.recommend import recommend as recommend
from metajax.recipes.run import Run as Run
from metajax.recipes.run import restore as restore
from metajax.recipes.vision.detect import detect as detect
from metajax.rewriting.fast import fast as fast
from metajax.rewriting.fast import replacements as replacements
from metajax.train.guard import NonFiniteError as NonFiniteError
from metajax.train.loop import fit as fit
from metajax.train.saved import load as load
from metajax.train.saved import save as save
from metajax.train.sweep import OverSeeds as OverSeeds
from metajax.train.sweep import Sweep as Sweep
from metajax.train.sweep import best_cell as best_cell
from metajax.train.sweep import over_seeds as over_seeds
from metajax.train.sweep import sweep as sweep
from metajax.tuning import Candidate as Candidate
from metajax.tuning import Tuned as Tuned
from metajax.tuning import tune as tune
from metajax.types import Estimate as Estimate
from metajax.types import Examples as Examples
from metajax.types import LearnedOptimizer as LearnedOptimizer
from metajax.types import Learner as Learner
from metajax.types import Metrics as Metrics
from metajax.types import Model as Model
from metajax.types import Task as Task
from metajax.types import TrainState as TrainState
from metajax.types import Unroll as Unroll

__version__: str

if not TYPE_CHECKING:  # so that type checkers still see names that do not exist

    def __getattr__(name):
        if name == "__version__":  # reads files, so only when asked for
            from importlib.metadata import version

            return version("metajax")
        raise AttributeError(f"module 'metajax' has no attribute {name!r}")
