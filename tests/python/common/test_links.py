"""Test templates of links: values are encoded, and only web addresses with known placeholders are accepted."""

from urllib.parse import parse_qs, urlsplit

import pytest

from hostile_names import HOSTILE
from isoxide._common.links import LinkTemplate


@pytest.mark.parametrize("name", [*HOSTILE, "a/b?c#d&e=f", "æøå", "%20", "", "\ud800"])
def test_values_are_encoded(name):
    link = LinkTemplate("https://siem.example:8443/search?user={entity}&day={day}#{id}-{time}")
    address = link.fill(entity=name, day="2025-04-26", time="2025-04-26T10:00:00Z", id="2c5e3193ed71")
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "siem.example:8443", "/search")
    values = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)
    assert values == {"user": [name.encode("utf-8", "replace").decode()], "day": ["2025-04-26"]}
    assert parts.fragment == "2c5e3193ed71-2025-04-26T10%3A00%3A00Z"
    assert link.host == "siem.example"


def test_braces_can_be_written():
    assert LinkTemplate("http://a.example/{{x}}/{entity}").fill(entity="b", day="", time="", id="") == (
        "http://a.example/{x}/b"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("javascript:alert(1)//{entity}", "must begin with http:// or https://"),
        ("data:text/html,{entity}", "must begin with http:// or https://"),
        ("//siem.example/{entity}", "must begin with http:// or https://"),
        ("ftp://siem.example/{entity}", "must begin with http:// or https://"),
        (" https://siem.example/", "must begin with http:// or https://"),
        ("https://{entity}.example/", "the name of a host without placeholders"),
        ("https://{entity}/", "the name of a host without placeholders"),
        ("https://user@siem.example/", "the name of a host"),
        ("https:///path", "the name of a host"),
        ("https://siem.example:no/", "is not a valid template"),
        ("https://siem.example/?u={entity} x", "a blank or another character"),
        ('https://siem.example/?u="{entity}', "a blank or another character"),
        ("https://siem.example/\n{entity}", "a blank or another character"),
        (
            "https://siem.example/?u={user}",
            "{user}; the known ones are {entity}, {day}, {time}, {id}",
        ),
        ("https://siem.example/?u={}", "the unknown placeholder {}"),
        ("https://siem.example/?u={entity.__class__}", "the unknown placeholder {entity.__class__}"),
        ("https://siem.example/?u={entity!r}", "the unknown placeholder {entity}"),
        ("https://siem.example/?u={entity:9999}", "the unknown placeholder {entity}"),
        ("https://siem.example/?u={entity", "is not a valid template"),
    ],
)
def test_other_templates_are_refused(template, message):
    with pytest.raises(ValueError, match="link=") as caught:
        LinkTemplate(template)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_template_is_text():
    with pytest.raises(TypeError, match="link must be text such as"):
        LinkTemplate(7)
