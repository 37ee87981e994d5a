"""Names of functions, their qualifiers and of log groups in requests."""

from __future__ import annotations

from lambent.api.context import Context
from lambent.arn import parse_function
from lambent.errors import InvalidParameterValue, ResourceNotFound
from lambent.functions.types import LATEST

_LONGEST = 64


def function_name(context: Context, text: str) -> str:
    """The name in FunctionName of an operation that takes no qualifier."""
    name, qualifier = reference(context, text, None)
    if qualifier is not None and qualifier != LATEST:
        raise InvalidParameterValue(
            "This operation does not support a qualified function name; remove "
            f"':{qualifier}' from it."
        )
    return name


def owner(context: Context, text: str) -> str:
    """The account a function belongs to, which a caller of another one has been let into."""
    found = parse_function(text)
    return found.account if found is not None and found.account else context.account


def reference(
    context: Context, text: str, qualifier: str | None, account: str | None = None
) -> tuple[str, str | None]:
    """Name and qualifier of a request; both may say the qualifier if they agree.

    account: whose functions may be meant; the caller's own without it.
    """
    found = parse_function(text)
    if found is None:
        raise InvalidParameterValue(f"Invalid function name: {text[:170]}")
    if len(found.name) > _LONGEST:
        raise InvalidParameterValue(
            f"Function name must be at most {_LONGEST} characters: {found.name[:140]}"
        )
    if found.qualifier and qualifier and found.qualifier != qualifier:
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    if found.region is not None and found.region != context.region:
        raise ResourceNotFound(
            f"Functions from '{found.region}' are not reachable in this region ('{context.region}')"
        )
    if found.account is not None and found.account != (account or context.account):
        raise ResourceNotFound(f"Function not found: {text}")
    return found.name, qualifier or found.qualifier


def log_group(context: Context, identifier: str) -> str:
    """The name of a log group that a request names or gives the ARN of.

    Raises ResourceNotFound for an ARN of another account or region.
    """
    own = f"arn:aws:logs:{context.region}:{context.account}:log-group:"
    if identifier.startswith("arn:") and not identifier.startswith(own):
        raise ResourceNotFound("The specified log group does not exist.")
    return identifier.removeprefix(own).removesuffix(":*")
