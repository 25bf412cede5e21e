# shellcheck shell=bash
# Options and stages of the recipes. A line "name=value  # words" of a recipe is an option and its help.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) # of the repository

die() {
    echo "$0: $*" >&2
    exit 1
}
harness() { "${python}" -m harness_bench.cli "$@"; }
runs() { # runs STAGE: the stage was asked for
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] && [[ " ${skip_stages:-} " != *" $1 "* ]]
}
title() { echo "Stage $1: $2" >&2; }

list_options() { # FILE...: print the options of these scripts with their values
    sed -nE 's/^([a-z0-9_]+)=(\S*) +# (.*)$/  --\1 (\2)  \3/p' "$@" |
        sed -E -e 's/ \(\)  /  /' -e 's|"\$\{recipe\}/([^"]*)"|\1|'
}

take_options() { # FILE... -- ARGUMENT...: set the variables that the arguments name; needs `usage`
    local scripts=()
    while [ "$1" != -- ]; do
        scripts+=("$1")
        shift
    done
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) usage && exit 0 ;;
            --*)
                grep -qE "^${1#--}=.* # " "${scripts[@]}" || die "unknown option $1; see $0 --help"
                [ $# -gt 1 ] || die "option $1 needs a value"
                printf -v "${1#--}" '%s' "$2"
                shift 2
                ;;
            *) die "unexpected argument '$1'; options start with --" ;;
        esac
    done
}
