"""Links from a finding to another system, such as a SIEM, from a template with placeholders."""

from __future__ import annotations

import re
import string
from urllib.parse import quote, urlsplit

__all__ = ["PLACEHOLDERS", "LinkTemplate"]

#: Names in braces that a template may contain.
PLACEHOLDERS = ("entity", "day", "time", "id")


class LinkTemplate:
    """Template of a web address, such as ``"https://siem.example/?u={entity}&d={day}"``.

    Parameters
    ----------
    template : str
        Address that begins with ``http://`` or ``https://``. ``{entity}``, ``{day}``, ``{time}`` and ``{id}`` are
        replaced by the values of a finding, which are percent-encoded. The name of the host must not depend on them.

    Raises
    ------
    TypeError
        If the template is not text.
    ValueError
        If it is another kind of address, or contains an unknown placeholder.

    Examples
    --------
    >>> from isoxide._common.links import LinkTemplate
    >>> link = LinkTemplate("https://siem.example/?u={entity}&d={day}")
    >>> link.fill(entity="a b&c", day="2025-04-26", time="2025-04-26", id="2c5e3193ed71")
    'https://siem.example/?u=a%20b%26c&d=2025-04-26'
    """

    def __init__(self, template: str) -> None:
        if not isinstance(template, str):
            raise TypeError(f"link must be text such as 'https://siem.example/?u={{entity}}', not {template!r}")
        if not re.match(r"https?://[^/?#{}\\@\s]+(?:[/?#]|$)", template, re.IGNORECASE):
            raise ValueError(
                f"link={template!r} must begin with http:// or https:// and the name of a host without placeholders"
            )
        if re.search(r"[\x00-\x20\x7f-\x9f\"<>\\^`|]|[\ud800-\udfff]", template):
            raise ValueError(f"link={template!r} contains a blank or another character that an address cannot have")
        try:
            parsed = list(string.Formatter().parse(template))
            port = urlsplit(template).port
        except ValueError as error:
            raise ValueError(f"link={template!r} is not a valid template: {error}") from None
        del port
        self._pieces: list[tuple[str, str | None]] = []
        for literal, name, specification, conversion in parsed:
            if name is not None and (name not in PLACEHOLDERS or specification or conversion):
                known = ", ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
                raise ValueError(
                    f"link={template!r} has the unknown placeholder {{{name}}}; the known ones are {known}"
                )
            self._pieces.append((literal, name))
        self.host = str(urlsplit(template).hostname)

    def fill(self, **values: str) -> str:
        """Return the address of a finding; each placeholder is replaced by its percent-encoded value."""
        return "".join(
            literal + ("" if name is None else quote(values[name], safe="", errors="replace"))
            for literal, name in self._pieces
        )
