"""Tell the type of entities for other systems: users, hosts or IP addresses, judged by the name of their column."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

__all__ = ["ENTITY_TYPES", "entity_type_of", "is_address"]

#: Types of entities, with the names of columns that mean them, in lower case and without separators.
_NAMES = {
    "user": (
        *("actor", "user", "username", "userid", "login", "account", "accountname", "accountid", "employee", "person"),
        *("principal", "identity", "email", "upn", "samaccountname"),
    ),
    "host": ("host", "hostname", "computer", "computername", "machine", "device", "devicename", "server", "endpoint"),
    "ip": ("ip", "ipaddress", "srcip", "sourceip", "source", "sourceaddress", "srcaddress", "clientip", "remoteip"),
}
#: Accepted values of the argument ``entity_type``.
ENTITY_TYPES = (*_NAMES, "other")


def entity_type_of(column: str, entity_type: str | None = None) -> str:
    """Return the type of the entities in a column.

    Parameters
    ----------
    column : str
        Name of the column.
    entity_type : {"user", "host", "ip", "other"}, optional
        Type that the user gave. By default the name of the column decides.

    Raises
    ------
    ValueError
        If `entity_type` has another value.

    Examples
    --------
    >>> from isoxide.ueba._entity_type import entity_type_of
    >>> [entity_type_of(name) for name in ("User_Name", "src_ip", "hostname", "team")]
    ['user', 'ip', 'host', 'other']
    """
    if entity_type is not None:
        if entity_type not in ENTITY_TYPES:
            raise ValueError(f"entity_type={entity_type!r} must be one of {list(ENTITY_TYPES)}")
        return entity_type
    plain = re.sub(r"[\W_]", "", column.lower())
    return next((kind for kind, names in _NAMES.items() if plain in names), "other")


def is_address(text: Any) -> bool:
    """Return whether a text is an IP address, which typed fields of other systems accept."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return isinstance(text, str)
