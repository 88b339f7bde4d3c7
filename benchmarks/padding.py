"""How much masked examples change predictions, losses and hypergradients: nothing, to rounding.

python benchmarks/padding.py       every learner on every kind of example that it takes, if the file lacks it

The learners and examples are those of the contract tests, tests/contract/padding.py.
"""

import sys
from pathlib import Path

import record
from rows.padding import FILLS

sys.path.append(str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    import jax
    from contract.padding import KINDS, LEARNERS, case, differences, takes

    jax.config.update("jax_disable_most_optimizations", True)  # thousands of tiny programs
    path = record.RESULTS / "padding.json"
    rows: dict = (record.read(path.stem) or {}).get("rows", {})  # goes on where it stopped
    for name, make in LEARNERS.items():
        if name in rows:
            continue
        rows[name] = {}
        for kind, of in KINDS.items():
            if takes(make, of):
                found = case(make, of, jax.random.key(0))
                changes = differences(found, list(FILLS.values()), jax.random.key(1))
                rows[name][kind] = dict(zip(FILLS, changes, strict=True))
        print(name, rows[name], flush=True)
        jax.clear_caches()
        record.write(path.stem, {"kinds": list(KINDS), "rows": rows, **record.context()})


if __name__ == "__main__":
    main()
