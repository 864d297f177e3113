"""Check a preset against the notebooks before anything runs: papermill itself ignores a misspelt parameter."""

import ast
import difflib
import re
import sys
from pathlib import Path

import papermill
import yaml


class Loader(yaml.SafeLoader):
    """Reads 3e-3 as a number, as Python does: to PyYAML it is text without a point and a sign."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def check_run(run):
    """Return the name of a run, or leave if it is none: a path could lead anywhere."""
    if not re.fullmatch(r"\w[\w.-]*", run):
        sys.exit(f"The run is a name of letters, digits, '-', '_' and '.', such as demo, and not {run!r}.")
    return run


def read_preset(preset):
    """Return the mapping in a preset file: notebook names to parameters, or to false for one that is left out."""
    try:
        content = yaml.load(Path(preset).read_text(), Loader)
    except (OSError, yaml.YAMLError) as error:
        sys.exit(f"The preset {preset} cannot be read: {error}")
    if not isinstance(content, dict) or not all(
        isinstance(value, dict | None) or (value is False and name != "all") for name, value in content.items()
    ):
        sys.exit(
            f"The preset {preset} must map notebook names, or `all`, to parameters and their values, or a notebook to "
            "false."
        )
    return {name: {} if values is None else values for name, values in content.items()}


def resolve_parameters(preset, notebooks, run):
    """Return the parameters of each notebook, or leave with every mistake of the preset in a sentence each."""
    known = {name: papermill.inspect_notebook(str(path)) for name, path in notebooks.items()}
    everywhere = {parameter for parameters in known.values() for parameter in parameters}
    problems = [unknown("notebook", name, notebooks) for name in preset if name not in known and name != "all"]
    problems += [unknown("parameter", p, everywhere, " in `all`") for p in preset.get("all", {}) if p not in everywhere]
    problems += [
        "`run` is set by --run: take it out of the preset." for values in preset.values() if values and "run" in values
    ]
    resolved = {}
    for name, parameters in known.items():
        given = preset.get(name) or {}
        problems += [unknown("parameter", p, parameters, f" of {name}") for p in given if p not in parameters]
        given = preset.get("all", {}) | given | {"run": run}
        resolved[name] = {p: value for p, value in given.items() if p in parameters}
        problems += [
            f"{name}: `{p}` is {value!r}, but its default is {parameters[p]['default']}: give a value of that type."
            for p, value in resolved[name].items()
            if not same_type(value, parameters[p]["default"])
        ]
    if problems:
        sys.exit("Nothing was run.\n" + "\n".join(problems))
    return resolved


def unknown(kind, name, known, where=""):
    """Return the sentence that refuses a misspelt name."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"There is no {kind} `{name}`{where}.{hint} Known: {', '.join(sorted(known)) or 'none'}."


def same_type(value, default):
    """Whether a value may replace the default, which comes as Python source; an integer may stand for a float."""
    try:
        default = ast.literal_eval(default)
    except (ValueError, SyntaxError):  # an expression, such as Path("..."): the notebook itself must judge
        return True
    if default is None:
        return True
    if isinstance(default, list | tuple):
        return isinstance(value, list) and all(same_type(v, repr(default[0])) for v in value if default)
    return type(value) is type(default) or (type(default) is float and type(value) is int)
