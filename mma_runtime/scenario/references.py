"""References in a scenario's texts: `${NAME}`, `${NAME:-default}`; `$${` is a `${`."""

import re
from collections.abc import Callable, Collection, Mapping

from mma_runtime.errors import ConfigurationError, did_you_mean
from mma_runtime.registry.credentials import SECRET_NAME

_REFERENCE = re.compile(
    r"(?P<escaped>\$\$\{)"
    r"|(?P<whole>\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>[^}]*))?\})"
    r"|(?P<broken>\$\{[^}\s]*\}?)"
)

_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


def expander(
    values: Mapping[str, str], declared: Collection[str], environ: Mapping[str, str]
) -> Callable[[str], tuple[str, list[tuple[str, str]]]]:
    """Return a function that replaces the references in a text.

    *values* of inputs come first, then *environ*; a default holds where both have
    nothing or an empty text. *declared* are the names of all inputs. The function
    returns the text and (reference, problem) pairs.
    """

    def expand(text: str) -> tuple[str, list[tuple[str, str]]]:
        problems: list[tuple[str, str]] = []

        def replace(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"

            if match["broken"]:
                problems.append((match["broken"], _broken(match["broken"])))
                return match["broken"]

            name, default = match["name"], match["default"]
            value = values.get(name) if name in declared else environ.get(name)
            if name not in declared and SECRET_NAME.search(name):
                problems.append((match["whole"], _secret(name)))
            elif value is None and default is None:
                problems.append((match["whole"], _undefined(name, declared)))

            return value or default or ""

        return _REFERENCE.sub(replace, text), problems

    return expand


def resolve(text: str, look: Callable[[str], str | None]) -> str:
    """Replace the references in *text* by what *look* finds, keys included.

    Raises:
        ConfigurationError: Nothing is found and there is no default; names it.
    """

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"

        if match["broken"]:
            raise ConfigurationError(_broken(match["broken"]))

        found = look(match["name"]) or match["default"]
        if found is None:
            raise ConfigurationError(f"{match['name']} is not set in the environment")

        return found

    return _REFERENCE.sub(replace, text)


def secret_names(name: str, text: str) -> tuple[str, ...]:
    """Return the variables in *text*, the value of *name*, that may hold secrets."""
    found = [match["name"] for match in _REFERENCE.finditer(text) if match["whole"]]
    return tuple(one for one in found if _is_secret(name) or _is_secret(one))


def is_kept(loc: tuple[str | int, ...]) -> bool:
    """Tell whether references at *loc* are looked up only when the run starts.

    They may be keys there, and so are in no scenario that is shown or recorded.
    """
    return loc[:1] == ("mcp_servers",) and loc[2:3] in (("env",), ("headers",))


def written_out(name: str, text: str) -> bool:
    """Tell whether *text* looks like a secret, by its *name*, that is no reference."""
    return bool(_is_secret(name) and text.strip() and _REFERENCE.search(text) is None)


def _is_secret(name: str) -> bool:
    return name.lower() in _CREDENTIALS or SECRET_NAME.search(name) is not None


def _broken(reference: str) -> str:
    return f"{reference!r} is not `${{NAME}}`; write `$${{` for a plain `${{`"


def _secret(name: str) -> str:
    return (
        f"${{{name}}} looks like a secret, and texts of a scenario reach models;"
        " declare an input for it if it is none"
    )


def _undefined(name: str, declared: Collection[str]) -> str:
    if name in declared:
        return f"the input {name!r} has no value; pass `--input {name}=...`"

    return (
        f"{name!r} is neither an input nor in the environment"
        + did_you_mean(name, declared)
        + f" (a default is written `${{{name}:-...}}`)"
    )
