"""Any pytree of arrays in one file, and back: whole, in part, or into a given tree."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax import archive, files

_FORMAT, _VERSION, _WRITER = "metajax tree", 1, "mj.save"
_SCALARS = {"bool": bool, "int": int, "float": float, "complex": complex}
_KEY = "key:"


class _Leaf(NamedTuple):
    """How a leaf is stored.

    kind: "jax" or "numpy" for arrays, the type of a Python number, "key:" and its implementation for
      typed PRNG keys, which are stored as the integers they are made of.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str


def save(path: str | Path, tree: Any) -> None:
    """Writes any pytree of arrays into one file, whole or not at all.

    The file is a NumPy `.npz` archive: a header in JSON and the arrays by name, with checksums, and
    nothing that is executed when it is read. Every bit of every array is kept.

    Args:
      path: The file, such as "meta_params.npz"; what is there is replaced.
      tree: Dicts, lists, tuples, NamedTuples, None and other pytrees, whose leaves are arrays of any
        dtype, typed PRNG keys or numbers.

    Raises:
      ValueError: For a leaf that is none of these, naming it.
      OSError: If the file cannot be written; what was there before is unchanged.

    Example:
      >>> import jax.numpy as jnp, tempfile, metajax as mj
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.save(f"{folder}/tree.npz", {"kernel": jnp.ones(2), "layers": [1, None]})
      ...     mj.load(f"{folder}/tree.npz")
      {'kernel': Array([1., 1.], dtype=float32), 'layers': [1, None]}
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: the folder {path.parent} does not exist; create it first.")
    named = _named(tree)
    stored = {name: _stored(name, leaf) for name, leaf in named}
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "tree": _described(tree, iter([name for name, _ in named])),
        "leaves": [leaf for leaf, _ in stored.values()],
    }
    archive.write(path, header, {_member(name): array for name, (_, array) in stored.items()})


def load(path: str | Path, like: Any = None) -> Any:
    """Reads a pytree that `save` wrote.

    Args:
      path: The file.
      like: A tree whose structure is returned and whose leaves give names, shapes and dtypes: arrays,
        `jax.ShapeDtypeStruct` or numbers, such as `jax.eval_shape(learner.init, key, x)`. Without it,
        dicts, lists, tuples and None are returned as they were saved, and other nodes, such as
        NamedTuples, as dicts of their fields.

    Returns:
      The tree, with the same bits.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a file that is damaged, is something else, or does not fit `like`.

    Example:
      >>> import jax.numpy as jnp, tempfile, metajax as mj
      >>> examples = mj.Examples(x=jnp.zeros(2), y=jnp.arange(2))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.save(f"{folder}/examples.npz", examples)
      ...     mj.load(f"{folder}/examples.npz", like=examples).y.tolist()
      [0, 1]
    """
    return load_part(Path(path), like, (), _WRITER)


def load_part(path: Path, like: Any, part: tuple[str, ...], writer: str) -> Any:
    """Reads the subtree that a path of names leads to; other arrays of the file are not read.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: As `load`, and if the file has no such part.
    """
    header = archive.read_header(path, _FORMAT, _VERSION, writer)
    tree, leaves = _read_header(path, header, part, writer)
    if like is not None:
        _compare(path, leaves, _named(like), "/".join(part))
    described = {_member(leaf.name): (leaf.shape, leaf.dtype) for leaf in leaves}
    arrays = archive.read_arrays(path, described, writer, header.get("sha256"))
    found = {leaf.name: _restored(path, leaf, arrays[_member(leaf.name)]) for leaf in leaves}
    if like is None:
        return _built(tree, found)
    prefix = "".join(f"{name}/" for name in part)
    ordered = [
        _as(found[f"{prefix}{name}" if name else "/".join(part)], leaf)
        for name, leaf in _named(like)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), ordered)


def _member(name: str) -> str:
    return f"tree/{name}"


def _named(tree: Any) -> list[tuple[str, Any]]:
    """The leaves by name, such as `head/kernel`, in the order of the tree; no name comes twice."""
    pairs, _ = jax.tree.flatten_with_path(tree)
    named: dict[str, Any] = {}
    for path, leaf in pairs:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        name = name if name.isprintable() and "\\" not in name else ascii(name).replace("\\", "~")
        while name in named:
            name += "'"
        named[name] = leaf
    return list(named.items())


def _stored(name: str, leaf: Any) -> tuple[_Leaf, np.ndarray]:
    """How a leaf is described in the header, and its array on the host."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        kind, array = f"{_KEY}{jax.random.key_impl(leaf)}", np.asarray(jax.random.key_data(leaf))
    elif isinstance(leaf, jax.Array | np.ndarray | np.generic):
        kind, array = "jax" if isinstance(leaf, jax.Array) else "numpy", np.asarray(leaf)
    else:
        known = type(leaf) in _SCALARS.values()
        kind, array = type(leaf).__name__, np.asarray(leaf) if known else None
    if array is None or array.dtype.hasobject or array.dtype.kind not in "biufcV":
        raise ValueError(
            f"save: {name or 'the tree'} is of type {type(leaf).__name__}; each leaf must be an array "
            "of numbers, a PRNG key or a number. Leave it out."
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return _Leaf(name, kind, array.shape, array.dtype.name), array


def _restored(path: Path, leaf: _Leaf, array: np.ndarray) -> Any:
    if leaf.kind == "numpy":
        return array.copy()  # what is read from a file can't be written into
    if leaf.kind in _SCALARS:
        return _SCALARS[leaf.kind](array.item())
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(
            f"{path}: {leaf.name or 'the array'} is {leaf.dtype}, which JAX would round here; set "
            'jax.config.update("jax_enable_x64", True).'
        )
    if not leaf.kind.startswith(_KEY):
        return jnp.asarray(array)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=leaf.kind.removeprefix(_KEY))


def _as(found: Any, like: Any) -> Any:
    """A leaf as the type that `like` has: a JAX array, a NumPy array or a number."""
    if isinstance(like, np.ndarray | np.generic):
        return np.asarray(found)
    return jnp.asarray(found) if hasattr(like, "dtype") else found


def _compare(path: Path, leaves: list[_Leaf], wanted: list[tuple[str, Any]], part: str) -> None:
    """Checks that two trees have the same names, shapes and dtypes.

    Raises:
      ValueError: Naming the first leaf that differs.
    """
    prefix = f"{part}/" if part else ""
    needed = {f"{prefix}{name}" if name else part: _text(leaf) for name, leaf in wanted}
    found = {leaf.name: _text(leaf) for leaf in leaves}
    question = "Was it made with another way, model or learner?"
    for name in [*needed, *found]:
        shown = name or "the array"
        if name not in found:
            raise ValueError(f"{path}: {shown} {needed[name]} is not on disk. {question}")
        if name not in needed:
            raise ValueError(f"{path}: {shown} {found[name]} is not needed here. {question}")
        if found[name] != needed[name]:
            raise ValueError(
                f"{path}: {shown} is {found[name]} on disk but {needed[name]} here. {question}"
            )


def _text(leaf: Any) -> str:
    """The shape and the dtype of a leaf, as messages show them."""
    if isinstance(leaf, _Leaf) and leaf.kind.startswith(_KEY):
        key = jax.eval_shape(partial(jax.random.key, 0, impl=leaf.kind.removeprefix(_KEY)))
        return f"{tuple(leaf.shape[:-1])} {key.dtype}"
    leaf = np.asarray(leaf) if type(leaf) in _SCALARS.values() else leaf
    return f"{tuple(jnp.shape(leaf) if not hasattr(leaf, 'shape') else leaf.shape)} {leaf.dtype}"


def _described(tree: Any, names: Iterator[str]) -> Any:
    """A tree in JSON: leaves by name, and each node by its kind and its children by key."""
    one_level, _ = jax.tree.flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if len(one_level) == 1 and not one_level[0][0]:
        return {"leaf": next(names)}
    kind = {dict: "dict", list: "list", tuple: "tuple", type(None): "none"}.get(type(tree), "node")
    children = [[_key_of(path[0]), _described(child, names)] for path, child in one_level]
    return {kind: children}


def _key_of(entry: Any) -> str | int:
    """What a child is found by: the key of a dict, an index or the name of a field."""
    found = next(getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name))
    return found if type(found) is int else str(found)


def _built(tree: Any, found: Mapping[str, Any]) -> Any:
    """The tree of a description and its leaves by name."""
    ((kind, children),) = tree.items()
    if kind == "leaf":
        return found[children]
    if kind == "none":
        return None
    pairs = {key: _built(child, found) for key, child in children}
    sequence = {"list": list, "tuple": tuple}.get(kind)
    return pairs if sequence is None else sequence(pairs.values())


def _read_header(
    path: Path, header: Mapping[str, Any], part: tuple[str, ...], writer: str
) -> tuple[Any, list[_Leaf]]:
    """The description of a part of the tree, and its leaves.

    Raises:
      ValueError: If there is no such part, or the header is damaged.
    """
    try:
        tree = header["tree"]
        leaves = {leaf.name: leaf for leaf in (_Leaf(*fields) for fields in header["leaves"])}
        for name in part:
            ((_, children),) = tree.items()
            known = {str(key): child for key, child in children}
            if name not in known:
                raise LookupError(f"there is no {'/'.join(part)}, only {', '.join(known)}")
            tree = known[name]
        return tree, [leaves[name] for name in _names(tree)]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise files.DamagedError(
            f"{path} has a damaged header ({error}); write it with {writer} again."
        ) from error
    except LookupError as error:
        raise ValueError(f"{path}: {error}.") from error


def _names(tree: Any) -> Iterator[str]:
    ((kind, children),) = tree.items()
    if kind == "leaf":
        yield children
    elif kind != "none":
        for _, child in children:
            yield from _names(child)
