"""``fastwsgi completion bash|zsh|fish``: what completes the command in a shell.

A shell reads it at its start, so that it is of the release that is installed:
``source <(fastwsgi completion bash)``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fastwsgi.commandline.options import (
    ANYTHING,
    COMMANDS,
    CTL,
    DIRECTORY,
    FILE,
    NOTHING,
    SHELLS,
    WORDS,
    Option,
    options,
)
from fastwsgi.commandline.usage import brief
from fastwsgi.errors import ConfigError

BASH = """\
# bash completion of fastwsgi: source <(fastwsgi completion bash), or this file
_fastwsgi() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} IFS=$' \\t\\n'
    COMPREPLY=()
    if [[ $cur == "=" ]]; then
        cur=
    elif [[ $prev == "=" ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if [[ $COMP_CWORD -gt 1 ]]; then
        case ${COMP_WORDS[1]} in
            ctl) COMPREPLY=($(compgen -W "@CTL@" -- "$cur")); return ;;
            completion) COMPREPLY=($(compgen -W "@SHELLS@" -- "$cur")); return ;;
            migrate) _fastwsgi_paths -f; return ;;
            top | man) return ;;
        esac
    fi
    case $prev in
@CASES@
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "@FLAGS@" -- "$cur"))
    elif [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "@COMMANDS@" -- "$cur"))
    fi
}
_fastwsgi_paths() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen "$1" -- "$cur"))
    compopt -o filenames 2>/dev/null
}
complete -F _fastwsgi fastwsgi
"""

ZSH = """\
#compdef fastwsgi
# zsh completion of fastwsgi: source <(fastwsgi completion zsh), or a file _fastwsgi in $fpath
_fastwsgi() {
    local state
    local -a commands
    commands=(
@COMMANDS@
    )
    _arguments -S \\
@SPECS@
        '1: :->first' '*: :->rest'
    case $state in
        first) _describe -t commands 'command or MODULE:APP' commands ;;
        rest)
            case $words[2] in
                ctl) _values 'command' @CTL@ ;;
                completion) _values 'shell' @SHELLS@ ;;
                migrate) _files ;;
            esac ;;
    esac
}
if [[ $funcstack[1] == _fastwsgi ]]; then
    _fastwsgi "$@"
else
    compdef _fastwsgi fastwsgi
fi
"""

FISH = """\
# fish completion of fastwsgi: fastwsgi completion fish | source
complete -c fastwsgi -f
@COMMANDS@
complete -c fastwsgi -n '__fish_seen_subcommand_from ctl' -a '@CTL@'
complete -c fastwsgi -n '__fish_seen_subcommand_from completion' -a '@SHELLS@'
complete -c fastwsgi -n '__fish_seen_subcommand_from migrate' -F
@OPTIONS@
"""


def completion(words: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Return the script for the shell that the command line names; raise ConfigError."""
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if len(words) != 1 or words[0] not in makers:
        got = f", not {' '.join(words)!r}" if words else ""
        raise ConfigError(f"completion needs the name of a shell: {', '.join(SHELLS)}{got}")
    return makers[words[0]](options(parser))


def _filled(template: str, **parts: str) -> str:
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    return template


def _bash(found: Sequence[Option]) -> str:
    acts = {FILE: "_fastwsgi_paths -f", DIRECTORY: "_fastwsgi_paths -d", ANYTHING: ":"}
    cases = []
    for option in found:
        if option.kind == NOTHING:
            continue
        act = acts.get(option.kind) or (
            f'COMPREPLY=($(compgen -W "{" ".join(option.words)}" -- "$cur"))')
        # what may be left out leaves room for the next flag
        end = "[[ $cur == -* ]] || return" if option.optional else "return"
        cases.append(f"        {' | '.join(option.flags)}) {act}; {end} ;;")
    return _filled(BASH, CASES="\n".join(cases), CTL=" ".join(CTL), SHELLS=" ".join(SHELLS),
                   FLAGS=" ".join(flag for option in found for flag in option.flags),
                   COMMANDS=" ".join(COMMANDS))


def _zsh(found: Sequence[Option]) -> str:
    specs = []
    for option in found:
        text = _escaped(brief(option.text), "[]:")
        what = {FILE: "_files", DIRECTORY: "_files -/", WORDS: f"({' '.join(option.words)})"}
        argument = ""
        if option.kind != NOTHING:
            argument = (f"{'::' if option.optional else ':'}{_escaped(option.argument, ':[]')}:"
                        f"{what.get(option.kind, ' ')}")
        for flag in option.flags:
            separator = "=" if flag.startswith("--") and argument else ""
            specs.append("        " + _quoted(f"*{flag}{separator}[{text}]{argument}") + " \\")
    commands = [f"        {_quoted(f'{name}:{text}')}" for name, text in COMMANDS.items()]
    return _filled(ZSH, SPECS="\n".join(specs), COMMANDS="\n".join(commands), CTL=" ".join(
        word for word in CTL if not word.startswith("-")), SHELLS=" ".join(SHELLS))


def _fish(found: Sequence[Option]) -> str:
    lines = []
    for option in found:
        words = ["complete -c fastwsgi", *(f"-s {letter}" for letter in option.shorts),
                 *(f"-l {name}" for name in option.longs)]
        if option.kind in (FILE, DIRECTORY):
            words.append("-r -F")
        elif option.kind != NOTHING and not option.optional:
            words.append("-x")
        if option.words:
            words.append(f"-a {_fish_quoted(' '.join(option.words))}")
        lines.append(" ".join([*words, f"-d {_fish_quoted(brief(option.text))}"]))
    commands = [f"complete -c fastwsgi -n __fish_use_subcommand -a {name} -d {_fish_quoted(text)}"
                for name, text in COMMANDS.items()]
    return _filled(FISH, COMMANDS="\n".join(commands), CTL=" ".join(CTL),
                   SHELLS=" ".join(SHELLS), OPTIONS="\n".join(lines))


def _escaped(text: str, signs: str) -> str:
    return "".join(f"\\{sign}" if sign in signs else sign for sign in text.replace("\\", "\\\\"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
