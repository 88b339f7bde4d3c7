"""Processes that train one run together: what they agree on, and what the first does for all."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from metajax.mesh import AXIS, placed, unplaced
from metajax.train.guard import LostProcessError
from metajax.types import Task

_OF_A_CONNECTION = re.compile(
    "(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED): "
)
"""How messages of JAX begin where processes lose each other; some of them are ValueErrors."""


class Hosts(Protocol):
    """The processes of a mesh.

    is_first: Whether this process writes files and shows progress.
    number: The number of processes.
    """

    is_first: bool
    number: int

    def everywhere(self, tree: Any) -> Any:
        """The same arrays on all devices of all processes."""

    def joined(self, tasks: Task) -> Task:
        """A batch of tasks of which each process gives its part."""

    def here(self, tree: Any) -> Any:
        """Arrays of `everywhere` as arrays of this process."""

    def agree(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers of the first process; the last one is the greatest of all processes."""

    def first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns in the first process; None in the others, where nothing is called."""

    def shared(self, tree: Any) -> Any:
        """The tree of the first process, whose shapes are the same in all."""

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Names a lost process as the reason why a computation failed."""


class Alone:
    """This process, and no other."""

    is_first, number = True, 1

    def everywhere(self, tree: Any) -> Any:
        """The tree."""
        return tree

    joined = here = agree = shared = everywhere

    def first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns."""
        return make()

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()


ALONE = Alone()


class Many:
    """Several processes, each of which runs the same program on a mesh over the devices of all."""

    def __init__(self, mesh: Mesh):
        self.is_first, self.number = jax.process_index() == 0, jax.process_count()
        members = {device.process_index for device in mesh.devices.flat}
        if len(members) != self.number:
            raise ValueError(
                f"fit: mesh spans {len(members)} of {self.number} processes. Make it of devices of all "
                "processes, such as mj.task_mesh(meta_batch, jax.devices()), or of this one alone."
            )
        self._mesh = mesh

    def everywhere(self, tree: Any) -> Any:
        """As in `Hosts`."""
        return placed(self._mesh, tree)

    def joined(self, tasks: Task) -> Task:
        """As in `Hosts`."""
        spread = NamedSharding(self._mesh, P(AXIS))
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(spread, np.asarray(leaf)), tasks
        )

    def here(self, tree: Any) -> Any:
        """As in `Hosts`."""
        return unplaced(tree)

    def agree(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """As in `Hosts`."""
        from jax.experimental.multihost_utils import process_allgather

        found = np.asarray(process_allgather(np.array(ours, np.int32)))
        return *found[0, :-1].tolist(), int(found[:, -1].max())

    def first(self, make: Callable[[], Any]) -> Any:
        """As in `Hosts`.

        Raises:
          LostProcessError: In the other processes, if it raised in the first.
        """
        made, error = None, None
        if self.is_first:
            try:
                made = make()
            except BaseException as raised:  # the others wait, and are told before it is raised
                error = raised
        (failed,) = self.agree((error is not None,))
        if error is not None:
            raise error
        if failed:
            raise LostProcessError(
                "The first process could not begin, and its message says why, so this one ends."
            )
        return made

    def shared(self, tree: Any) -> Any:
        """As in `Hosts`."""
        from jax.experimental.multihost_utils import broadcast_one_to_all

        leaves, structure = jax.tree.flatten(tree)
        sent = broadcast_one_to_all([np.asarray(_data(leaf)) for leaf in leaves])
        found = [_like(leaf, new) for leaf, new in zip(leaves, sent, strict=True)]
        return jax.tree.unflatten(structure, found)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """As in `Hosts`."""
        try:
            yield
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            if not _OF_A_CONNECTION.match(str(error)):
                raise
            raise LostProcessError(
                f"A computation that {self.number} processes share failed in process "
                f"{jax.process_index()}, most likely because another one has ended; its message says why. "
                f"Resume the run with as many processes as there are. JAX said: {error}"
            ) from error


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(leaf: Any, data: Any) -> Any:
    """Data of another process as an array or a number of the kind of `leaf`."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(leaf))
    return jnp.asarray(data, leaf.dtype) if isinstance(leaf, jax.Array) else type(leaf)(data)


def of(mesh: Mesh | None) -> Hosts:
    """The processes that a mesh spans."""
    return Many(mesh) if mesh is not None and mesh.is_multi_process else ALONE
