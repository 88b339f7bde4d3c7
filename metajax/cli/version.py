"""The version of metajax, for `metajax --version`."""


def version() -> str:
    """Returns the version, with the commit where metajax runs from a checkout."""
    from metajax.train.records import versions

    found = versions()
    commit = f", commit {found['commit']}" if found["commit"] else ""
    return f"metajax {found['metajax']}{commit}"
