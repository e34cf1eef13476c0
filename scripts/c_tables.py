"""C headers of pinned values for Tests/CoreTests."""

import pathlib
import textwrap

TESTS = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "CoreTests"


def numbers(values):
    """{1.5, -2, ...} in lines of 116 columns at most."""
    text = ", ".join(repr(v) for v in values)
    if len(text) < 80:
        return "{" + text + "}"
    return "{\n" + textwrap.fill(text, 112, initial_indent="        ", subsequent_indent="        ") + "}"


def write_header(name, comment, body):
    """body: C text between the include guards."""
    guard = name.upper().replace(".", "_")
    lines = textwrap.fill(comment, 116, initial_indent="/* ", subsequent_indent=" * ")
    (TESTS / name).write_text(
        f"{lines} */\n#ifndef {guard}\n#define {guard}\n/* clang-format off */\n\n{body}\n/* clang-format on */\n#endif\n"
    )
