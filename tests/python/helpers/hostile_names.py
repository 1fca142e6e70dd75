"""Names and values that a page or a spreadsheet could take for markup or a formula."""

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd()",
    "a|b|c",
    "two\nlines",
    "\u202eright to left",
    "{{7*7}}{% raw %}",
    "</script><b>bold</b>",
    "javascript:alert(1)",
    "' onclick='alert(1)",
]
