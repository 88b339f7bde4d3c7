"""Figures of runs; the caller saves or shows them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from metajax.types import Learner, Params, Task

_INK, _SOFT, _COLOURS = "#222222", "#9a9a9a", ("#0b6e99", "#d9730d", "#448361", "#ad1a72")


def training(rows: Sequence[dict[str, Any]], metric_name: str) -> Figure:
    """Draws training loss and validation metric against outer steps, from rows of `metrics.jsonl`."""
    steps = [row["step"] for row in rows]
    validated = [row for row in rows if "validation" in row]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss_axes, metric_axes = figure.subplots(1, 2)
    loss_axes.plot(steps, [row["loss"] for row in rows], color=_COLOURS[0])
    loss_axes.set(title="Training", xlabel="outer step", ylabel="loss of the objective")
    loss_axes.set_yscale("log")
    metric_axes.plot(
        [row["step"] for row in validated],
        [row["validation"] for row in validated],
        color=_COLOURS[1],
    )
    metric_axes.set(title="Validation tasks", xlabel="outer step", ylabel=metric_name)
    for axes in (loss_axes, metric_axes):
        _clean(axes)
    return figure


def adaptation(
    learner: Learner,
    meta_params: Params,
    tasks: Task,
    *,
    num_steps: Sequence[int] | None,
    x_range: tuple[float, float],
    truth: Any = None,
) -> Figure:
    """Draws predictions of one-dimensional regression: a panel per task, a curve per number of steps.

    Args:
      learner: A learner with predictions `(n, 1)`.
      meta_params: What it starts from.
      tasks: A batch of tasks with `x` and `y` of shape `(tasks, n, 1)`.
      num_steps: The numbers of inner steps to draw, such as `(0, 1, 10)`; None for a learner without
        an inner loop.
      x_range: The interval to draw.
      truth: Optional `(tasks, 200)` values of the target function on `linspace(*x_range, 200)`.
    """
    grid = jnp.linspace(*x_range, 200)[:, None]

    def curves(support):
        if num_steps is None:
            adapted = learner.adapt(meta_params, support, jax.random.key(0))
            return learner.predict(adapted, grid)[None, :, 0]
        adapted = learner.adapt(meta_params, support, jax.random.key(0), num_steps=num_steps)
        return jax.vmap(learner.predict, in_axes=(0, None))(adapted, grid)[..., 0]

    predicted = np.asarray(jax.jit(jax.vmap(curves))(tasks.support))
    panels = len(predicted)
    figure = Figure(figsize=(4 * panels, 3.6), layout="constrained")
    for i, axes in enumerate(np.atleast_1d(figure.subplots(1, panels, sharey=True))):
        if truth is not None:
            axes.plot(grid[:, 0], truth[i], color=_SOFT, linewidth=5, alpha=0.5, label="target")
        else:
            order = np.argsort(tasks.query.x[i, :, 0])
            axes.plot(
                tasks.query.x[i, order, 0],
                tasks.query.y[i, order, 0],
                color=_SOFT,
                linewidth=5,
                alpha=0.5,
                label="target",
            )
        for j, steps in enumerate((None,) if num_steps is None else num_steps):
            axes.plot(
                grid[:, 0],
                predicted[i, j],
                color=_COLOURS[j % len(_COLOURS)],
                linestyle=":" if steps == 0 else "-",
                label=_after(steps),
            )
        axes.scatter(
            tasks.support.x[i], tasks.support.y[i], color=_INK, zorder=3, label="support set"
        )
        axes.set(title=f"New task {i + 1}", xlabel="x")
        _clean(axes)
    figure.axes[0].set_ylabel("y")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def episode(
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    title: str,
    *,
    inverted: bool = True,
) -> Figure:
    """Draws query images `(n, h, w, c)` with their predicted classes; wrong ones are red.

    Grey images are shown `inverted`, as drawings with bright ink are read, or as they are; colours from the
    least number to the greatest.
    """
    n = len(images)
    if images.shape[-1] == 3:
        shown = (images - images.min()) / max(float(np.ptp(images)), 1e-6)
    else:
        shown = 1 - images[..., 0] if inverted else images[..., 0]
    columns = min(n, 10)
    rows = -(-n // columns)
    figure = Figure(figsize=(1.1 * columns, 1.35 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for i, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).flat):
        axes.axis("off")
        if i < n:
            axes.imshow(shown[i], cmap="gray", vmin=0, vmax=1)
            right = labels[i] == predictions[i]
            axes.set_title(
                f"class {predictions[i]}" if right else f"{predictions[i]}, not {labels[i]}",
                fontsize=8,
                color=_COLOURS[2] if right else "#c4161c",
            )
    return figure


def _after(steps: int | None) -> str:
    if steps is None:
        return "prediction"
    return f"after {steps} step{'s' * (steps > 1)}" if steps else "before adapting"


def loss_curves(
    steps: Sequence[int], scores: dict[str, tuple[Any, Any]], horizon: int | None = None
) -> Figure:
    """Draws loss against inner steps: a line and its 95% interval for each name.

    Args:
      steps: The numbers of inner steps.
      scores: Each name to a mean and half of its interval, arrays like `steps`.
      horizon: The number of steps trained on, marked by a dotted line.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, (mean, interval) in scores.items():
        curve(axes, name, steps, np.asarray(mean), np.asarray(interval))
    if horizon is not None:
        axes.axvline(horizon, color=_SOFT, linestyle=":", label="trained up to here")
    axes.set(xlabel="inner step", ylabel="query loss", yscale="log")
    axes.legend(frameon=False)
    return figure


def curve(
    axes: Any, name: str, steps: Sequence[int], mean: np.ndarray, interval: np.ndarray
) -> None:
    """Draws one line of `loss_curves`; the first of a panel is drawn over the others."""
    drawn = len(axes.lines)
    colour = (_INK, *_COLOURS)[drawn % (1 + len(_COLOURS))]
    order, width = (3, 2.5) if drawn == 0 else (2, 1.5)
    axes.plot(steps, mean, color=colour, linewidth=width, zorder=order, label=name)
    # On a logarithmic axis an interval that reaches 0 has no lower end.
    lower = np.maximum(mean - interval, mean / 10)
    axes.fill_between(steps, lower, mean + interval, color=colour, alpha=0.15, linewidth=0)
    _clean(axes)


def _clean(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def sentences(lines: Sequence[tuple[str, str, str]], title: str) -> Figure:
    """Sentences with their label and the one that was predicted, green where they agree.

    Args:
      lines: Text, label and predicted label.
      title: Above them.
    """
    figure = Figure(figsize=(9, 0.34 * len(lines) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylim(len(lines), -0.5)
    for row, (text, label, predicted) in enumerate(lines):
        right = label == predicted
        shown = predicted if right else f"{predicted} (it is {label})"
        axes.text(0, row, text if len(text) < 80 else f"{text[:77]}...", fontsize=8, va="center")
        axes.text(
            0.66, row, shown, fontsize=8, va="center", color="green" if right else "firebrick"
        )
    return figure


def detections(
    found: Sequence[Any],
    titles: Sequence[str],
    *,
    exemplars: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    wanted: Sequence[np.ndarray] = (),
) -> Figure:
    """Draws pictures with the boxes in them, and beside each where the detector sees centres.

    Args:
      found: A `Detected` for each picture.
      titles: Of the pictures.
      exemplars: Pictures with the boxes that were given, drawn in a row above.
      wanted: The boxes of each picture, where they are known.
    """
    columns = max(2, len(exemplars))
    first = 1 if exemplars else 0
    figure = Figure(figsize=(9, 3.6 * len(found) + 1.8 * first), layout="constrained")
    grid = figure.add_gridspec(
        len(found) + first, 2, height_ratios=[0.5] * first + [1] * len(found)
    )
    if exemplars:
        row = grid[0, :].subgridspec(1, columns)
        for place, (picture, boxes) in enumerate(exemplars):
            axes = figure.add_subplot(row[0, place])
            _shown(axes, picture, "exemplars" if place == 0 else "")
            for corners in boxes:
                box(axes, corners, "", _COLOURS[0])
    for place, (one, title) in enumerate(zip(found, titles, strict=True)):
        own, heat = (figure.add_subplot(grid[first + place, column]) for column in (0, 1))
        _shown(own, one.picture, f"{title}: {len(one.scores)} found")
        _shown(heat, one.picture, "probability of a centre")
        rows, cells = one.heat.shape
        extent = (0, one.cell * cells, one.cell * rows, 0)
        heat.imshow(
            one.heat,
            extent=extent,
            cmap="inferno",
            alpha=0.6,
            vmin=0,
            vmax=1,
            interpolation="bilinear",
        )
        heat.set(xlim=(0, one.picture.shape[1]), ylim=(one.picture.shape[0], 0))
        for corners in wanted[place] if wanted else ():
            box(own, corners, "", _COLOURS[2])
        for corners, score in zip(one.corners, one.scores, strict=True):
            box(own, corners, f"{score:.2f}", _COLOURS[1])
    return figure


def _shown(axes: Any, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, extent=(0, picture.shape[1], picture.shape[0], 0))
    axes.set_axis_off()
    axes.set_title(title, fontsize=10, loc="left")


def box(axes: Any, corners: Any, text: str, colour: str) -> None:
    """Draws one box `y0, x0, y1, x1` with a word above it."""
    from matplotlib.patches import Rectangle

    y0, x0, y1, x1 = map(float, corners)
    axes.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.5)
    )
    if text:
        axes.text(x0, y0, text, fontsize=6, color="white", backgroundcolor=colour, va="bottom")
