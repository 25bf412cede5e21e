# shellcheck shell=bash disable=SC2154,SC2034
# Options that all recipes of classification heads have, the reading of options, and the training they
# choose. Sourced by egs/probe.sh and egs/demo/heads1/run.sh. A line "name=value  # words" of a recipe
# or of this file is an option and its help.

lr=                     # learning rates to try, with commas; default: those of the config
seeds=                  # how many heads of the best one, or their seeds; default: the config's
steps=                  # training steps; default: the config's
config="${recipe}/conf/probe.toml"  # learning rates, seeds, settings of the heads
expdir=exp              # everything is written below it
synthetic=false         # true marks the corpus as computer-made
threads=1               # CPU threads of a head's training
jobs=1                  # heads trained at a time
stage=1                 # first stage to run
stop_stage=4            # last stage to run
python=                 # default: the repository's .venv, or python3

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

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

train_heads() { # MODEL KIND OUT CUTS FLAGS...: the grid of one row
    local given=(--model "$1" --kind "$2" --out "$3" --cuts "$4" "${@:5}" -d "${task}"
        --corpus "${name}" --config "${config}" --results "${expdir}/results"
        --threads "${threads}" --jobs "${jobs}")
    [ -z "${lr}" ] || given+=(--lr "${lr}")
    [ -z "${seeds}" ] || given+=(--seeds "${seeds}")
    [ -z "${steps}" ] || given+=(--steps "${steps}")
    [ "${synthetic}" != true ] || given+=(--synthetic)
    harness probe "${given[@]}"
}
