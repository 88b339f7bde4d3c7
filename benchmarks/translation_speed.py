"""The speed of the packing Transformer beside PyTorch's of the same size, and of its beam search.

python benchmarks/translation_speed.py --torch PYTHON    PYTHON has PyTorch, and NumPy

Writes results/translation_speed.json. Each library has a process of its own; they take turns of steps on one
core.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE = {"rows": 8, "length": 128, "width": 256, "heads": 4, "layers": 2, "vocabulary": 8_000}
SENTENCES, BEAM = 1_000, 4
TURNS, STEPS = 5, 2
OURS, THEIRS = "metajax", "PyTorch, nn.Transformer"


def pairs_of(number: int, seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Random sentences of the lengths of Multi30k: 15 to 17 tokens on average, 35 at most."""
    rng = np.random.default_rng(seed)

    def side():
        sizes = np.clip(rng.normal(16, 6, number).round(), 4, 35).astype(int)
        return [rng.integers(3, SIZE["vocabulary"], size).tolist() for size in sizes]

    return side(), side()


def written(folder: Path) -> Path:
    """A file of packed rows."""
    from metajax.nn.seq2seq import pack

    packed = pack(*pairs_of(400), length=SIZE["length"])
    path = folder / "rows.npz"
    np.savez(path, **{name: leaf[: SIZE["rows"]] for name, leaf in packed._asdict().items()})
    return path


def ours(rows: dict[str, np.ndarray]) -> Any:
    """Returns a function that takes a step."""
    import jax
    import optax

    from metajax import fast
    from metajax.nn.seq2seq import Packed, seq2seq
    from metajax.recipes.language.low_resource import TokenLoss, examples

    net = seq2seq(SIZE["vocabulary"], SIZE["width"], heads=SIZE["heads"], layers=SIZE["layers"])
    x, y, _ = examples(Packed(**{name: jax.numpy.asarray(leaf) for name, leaf in rows.items()}))
    optimizer, loss = optax.adam(1e-3), TokenLoss(0.1)
    apply = fast(net.model()).apply

    @jax.jit
    def step(params, state):
        value, gradient = jax.value_and_grad(lambda w: loss(apply(w, x), y).mean())(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    params = net.init(jax.random.key(0))
    carry = [params, optimizer.init(params)]

    def one():
        *carry[:], value = step(*carry)
        return float(value)

    return one


def theirs(rows: dict[str, np.ndarray]) -> Any:
    """Returns a function that takes a step of PyTorch."""
    torch: Any = importlib.import_module("torch")  # of another environment
    nn = torch.nn
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width, heads, length = SIZE["width"], SIZE["heads"], SIZE["length"]
    x = {name: torch.tensor(leaf, dtype=torch.long) for name, leaf in rows.items()}
    embedding = nn.Embedding(SIZE["vocabulary"], width)
    net = nn.Transformer(
        width,
        heads,
        SIZE["layers"],
        SIZE["layers"],
        4 * width,
        dropout=0.0,
        batch_first=True,
        norm_first=True,
    )
    weights = [*embedding.parameters(), *net.parameters()]
    optimizer = torch.optim.Adam(weights, 1e-3)

    def apart(one, other):
        """What may not be seen, for each head; padding sees padding."""
        return (one[:, :, None] != other[:, None, :]).repeat_interleave(heads, 0)

    source, target = x["source_segment"], x["segment"]
    later = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
    memory = apart(target, source)
    memory &= ~memory.all(-1, keepdim=True)  # a row of its own padding alone would be nan
    exists = target > 0

    def one():
        optimizer.zero_grad()
        out = net(
            embedding(x["source"]) * width**0.5,
            embedding(x["target"]) * width**0.5,
            src_mask=apart(source, source),
            tgt_mask=apart(target, target) | later,
            memory_mask=memory,
        )
        logits = out @ embedding.weight.T
        loss = nn.functional.cross_entropy(logits[exists], x["label"][exists], label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return float(loss)

    return one


def serve(name: str, path: str) -> None:
    """Takes steps when asked to, and says how long they took."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with np.load(path) as found:
        step = {OURS: ours, THEIRS: theirs}[name](dict(found))
    for _ in range(3):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        begun = time.process_time()
        losses = [step() for _ in range(int(line))]
        seconds = time.process_time() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak, "loss": losses[-1]}), flush=True)


def training(python: str) -> dict[str, Any]:
    """Both in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder))
        with np.load(path) as found:
            tokens = int((found["segment"] > 0).sum())
        processes = {}
        for name, own in ((OURS, sys.executable), (THEIRS, python)):
            command = [own, __file__, "--serve", name, "--rows", str(path)]
            processes[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert processes[name].stdout.readline() == "ready\n"
        turns: dict[str, list[Any]] = {name: [] for name in processes}
        for _ in range(TURNS):
            for name, process in processes.items():
                process.stdin.write(f"{STEPS}\n")
                process.stdin.flush()
                turns[name].append(json.loads(process.stdout.readline()))
        for process in processes.values():
            process.stdin.close()
            process.wait()
    return {
        name: {
            "tokens_per_core_second": tokens * STEPS / float(np.median([t["seconds"] for t in of])),
            "peak_mb": of[-1]["peak_mb"],
            "seconds": [t["seconds"] for t in of],
        }
        for name, of in turns.items()
    }


def beam() -> dict[str, Any]:
    """The seconds of a beam search of many sentences, which are its second ones."""
    import jax

    from metajax.nn.seq2seq import seq2seq
    from metajax.recipes.language.translate import translate

    net = seq2seq(SIZE["vocabulary"], SIZE["width"], heads=SIZE["heads"], layers=SIZE["layers"])
    params = net.init(jax.random.key(0))
    sources, _ = pairs_of(SENTENCES)
    translate(net, params, sources, beam=BEAM)
    begun, used = time.perf_counter(), time.process_time()
    translate(net, params, sources, beam=BEAM)
    return {
        "sentences": SENTENCES,
        "beam": BEAM,
        "seconds": time.perf_counter() - begun,
        "core_seconds": time.process_time() - used,
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--rows", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.serve:
        serve(a.serve, a.rows)
        return
    import record

    torch = subprocess.run(
        [a.torch, "-c", "import torch; print(torch.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = {"size": SIZE, "training": training(a.torch), "beam": beam(), **record.context()}
    result["versions"]["torch"] = torch.stdout.strip()
    print(record.write("translation_speed", result))


if __name__ == "__main__":
    main()
