"""Check how docstrings of the package begin and how long they are; `make lint` runs it.

ruff's D401 recognizes imperatives by a list of verbs, and accepts every first word that the list lacks ("The",
"What", "All", "Percentile"). This check accepts only summaries that begin with a word of `verbs.txt`.

1. The summary of a function, method or property begins with a verb of `verbs.txt` in the imperative. "Number of rows"
   is a noun phrase although "number" is a verb too, so no verb is followed by "of".
2. The summary of a class begins with such a verb or with a noun phrase, as PEP 257 and scikit-learn have it ("Sorted
   reference of exact ranks."), but not with a word of `NO_NOUN`.
3. No docstring has fewer than five words, modules included.
4. No sentence or description begins with a word of `NO_SUBJECT`, modules included.

`python tests/lint/docstrings.py [FILE ...]` checks these files, by default all of `python/isoxide`, and prints a line
per violation: file, line, name, and what is wrong. A verb that is missing from `verbs.txt` is added there.
"""

import ast
import pathlib
import re
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
VERBS = frozenset(pathlib.Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8").split())
#: Words that no sentence may begin with, since its subject would come too late.
NO_SUBJECT = ("Of", "That", "Those", "As", "What", "Where")
#: Words that begin a clause or replace a noun.
NO_NOUN = (*NO_SUBJECT, "All", "Both", "Each", "Everything", "How", "None", "Nothing", "Some", "Which", "Why")
CLAUSE = re.compile(rf"({'|'.join(NO_NOUN)})\b")
FEWEST_WORDS = 5
WORD = re.compile(r"\w[\w'.-]*")
#: Where a sentence begins: at the start of a paragraph, and after a sentence.
SENTENCE = re.compile(rf"(?:^|[.!?][\"'`)]*\s+)(?P<word>{'|'.join(NO_SUBJECT)})\b")
#: A line that starts a list item or a description: "- text", "* text", "1. text".
ITEM = re.compile(r"\s*(?:[-*]|\d+\.)\s+")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield each paragraph, list item and description of a docstring with its first line, without code."""
    begin, lines, indent = 0, [], 0
    literal: int | None = None
    in_example = False
    for number, line in enumerate(text.split("\n")):
        depth = len(line) - len(line.lstrip())
        if literal is not None and (not line.strip() or depth > literal):
            continue
        literal = None
        # The output of an example ends with the next blank line.
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if lines and (not line.strip() or in_example or depth != indent or ITEM.match(line)):
            yield begin, " ".join(lines)
            lines = []
        if line.strip() and not in_example:
            item = ITEM.match(line)
            if not lines:
                begin, indent = number, len(item.group()) if item else depth
            lines.append(ITEM.sub("", line).strip())
            if line.rstrip().endswith("::"):
                literal = depth
    if lines:
        yield begin, " ".join(lines)


def summary_objection(node: Documented, text: str) -> str | None:
    """Return what is wrong with the first words of a docstring, or None."""
    words = WORD.findall(text.split("\n\n")[0])
    first, second = [*words, "", ""][:2]
    is_verb = first[:1].isupper() and first.lower() in VERBS and second != "of" and text.startswith(first)
    if isinstance(node, ast.Module) or is_verb:
        return None
    if isinstance(node, ast.ClassDef):
        is_noun_phrase = text[:1].isupper() and not CLAUSE.match(text)
        return None if is_noun_phrase else f"the summary of a class begins with {first!r}"
    beginning = f"{first} {second}" if second == "of" else first
    return f"the summary begins with {beginning!r}, which is no verb of tests/lint/verbs.txt in the imperative"


def violations(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yield the line and a description of each violation in a file."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(module):
        if not isinstance(node, Documented) or (text := ast.get_docstring(node)) is None:
            continue
        # The cleaned docstring has no blank lines at its head.
        raw = node.body[0].value.value
        line = node.body[0].lineno + raw[: len(raw) - len(raw.lstrip())].count("\n")
        name = getattr(node, "name", "module")
        if objection := summary_objection(node, text):
            yield line, f"{name}: {objection}"
        if len(words := WORD.findall(text)) < FEWEST_WORDS:
            yield line, f"{name}: the docstring has {len(words)} words, which is too few to say anything"
        for offset, paragraph in prose(text):
            for match in SENTENCE.finditer(paragraph):
                yield line + offset, f"{name}: a sentence begins with {match['word']!r}: name its subject first"


def main() -> int:
    """Print each violation; the exit code is 1 if there is any."""
    arguments = [pathlib.Path(argument).resolve() for argument in sys.argv[1:]]
    default = [path for path in (ROOT / "python/isoxide").rglob("*") if path.suffix in {".py", ".pyi"}]
    count = 0
    for path in sorted(arguments or default):
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for line, message in sorted(violations(path)):
            print(f"{shown}:{line}: {message}")
            count += 1
    if count:
        print(f"{count} violations")
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
