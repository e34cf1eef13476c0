#!/usr/bin/env python3
"""The manual page of the program `resnet`, in mdoc, from what the program says about its own options.

    scripts/make_manual.py .build/release/resnet > resnet.1
"""

import json
import os
import re
import subprocess
import sys
import time

EXAMPLES = "EXAMPLES"
EXIT_CODES = [
    ("0", "Everything was done."), ("1", "The command failed."),
    ("2", "Some inputs were skipped; everything else was done."), ("64", "Wrong usage."),
    ("128 + signal", "A signal ended the program.")]
ENVIRONMENT = [
    ("OMP_NUM_THREADS", "The usual number of threads; without it, the physical cores that the process may use."),
    ("CK_ISA", "Forces an instruction set: avx512, avx2, neon or portable."),
    ("CK_CACHES", "Plans for other caches than the machine's, such as 32K,512K,32M.")]


def text(words):
    """Text as roff takes it: no line may begin with a control character, and backslashes and dashes are escaped."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(("\\&" + line if line[:1] in ".'" else line) for line in escaped.splitlines())


def macro_word(word):
    """An argument of a macro: what mdoc would call or take for punctuation is protected."""
    return '"' + text(word).replace('"', '\\(dq') + '"'


def paragraphs(discussion):
    """The discussion as prose, and its examples, a command a line."""
    before, _, after = discussion.partition(EXAMPLES)
    return before.strip(), [line.strip() for line in after.splitlines() if line.strip()]


def spelling(argument, is_brief=False):
    """`-w`, `--weights` with the value's name, as macros on one line; only one of the names if brief."""
    if argument["kind"] == "positional":
        return f"Ar {macro_word(argument['valueName'])}" + (" ..." if argument["isRepeating"] else "")
    names = [argument["preferredName"]] if is_brief else sorted(argument["names"], key=lambda n: n["kind"] == "long")
    flags = [f"Fl {macro_word(('-' if n['kind'] == 'long' else '') + n['name'])}" for n in names]
    value = f" Ar {macro_word(argument['valueName'])}" if argument["kind"] == "option" else ""
    return " , ".join(flags) + value


def options(arguments):
    lines = [".Bl -tag -width Ds"]
    for argument in arguments:
        if not argument["shouldDisplay"]:
            continue
        lines.append(f".It {spelling(argument)}")
        about = argument.get("abstract", "")
        if argument.get("defaultValue") and argument["kind"] == "option":
            about += f" (default: {argument['defaultValue']})"
        lines.append(text(about.strip()) or "\\&")
    return lines + [".El"]


def section(command):
    """A command: what it does, its options, its examples."""
    prose, examples = paragraphs(command.get("discussion", ""))
    usage = [f".Nm resnet {command['commandName']}"]
    for argument in command.get("arguments", []):
        if not argument["shouldDisplay"] or argument["kind"] != "positional" and argument["isOptional"]:
            continue
        usage.append((".Op " if argument["isOptional"] else ".") + spelling(argument, is_brief=True))
    lines = [f".Ss {command['commandName']}", text(command.get("abstract", "")), ".Pp", *usage, ".Op Ar options"]
    if prose:
        lines += [".Pp", text(prose)]
    lines += [".Pp", *options(command.get("arguments", []))]
    if examples:
        lines += [".Pp", "Examples:", ".Bd -literal -offset indent", *map(text, examples), ".Ed"]
    return lines


def page(tool, version):
    commands = [c for c in tool["subcommands"] if c["commandName"] != "help" and c.get("shouldDisplay", True)]
    prose, examples = paragraphs(tool.get("discussion", ""))
    date = time.strftime("%B %d, %Y", time.gmtime(float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    lines = [
        f".Dd {date}", ".Dt RESNET 1", f".Os ResNetSwift {version}", ".Sh NAME", ".Nm resnet",
        f".Nd {text(tool['abstract'].rstrip('.'))}", ".Sh SYNOPSIS", ".Nm", ".Ar command", ".Op Ar options",
        ".Sh DESCRIPTION", ".Bl -tag -width quantize"]
    for command in commands:
        lines += [f".It Cm {command['commandName']}", text(command.get("abstract", ""))]
    lines += [".El", ".Pp", "Results go to standard output, everything else to standard error.", ".Sh COMMANDS"]
    for command in commands:
        lines += section(command)
    lines += [".Sh ENVIRONMENT", ".Bl -tag -width OMP_NUM_THREADS"]
    lines += [part for name, about in ENVIRONMENT for part in (f".It Ev {name}", text(about))]
    lines += [".El", ".Sh EXIT STATUS", ".Bl -tag -width Ds"]
    lines += [part for code, about in EXIT_CODES for part in (f".It {code}", text(about))]
    lines += [".El", ".Sh EXAMPLES", ".Bd -literal -offset indent"]
    # The paragraph after the examples is not one of them.
    lines += [text(line) for line in examples if line.startswith("resnet ")]
    return "\n".join([*lines, ".Ed"]) + "\n"


def main():
    def ask(*words):
        return subprocess.run([sys.argv[1], *words], check=True, capture_output=True, text=True).stdout

    version = re.search(r"\d[\w.+-]*", ask("--version")).group()
    sys.stdout.write(page(json.loads(ask("--experimental-dump-help"))["command"], version))


if __name__ == "__main__":
    main()
