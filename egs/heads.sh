# shellcheck shell=bash disable=SC2154,SC2034
# Options that all recipes of classification heads have, and the training they choose. Sourced by
# egs/probe.sh and egs/demo/heads1/run.sh. A line "name=value  # words" is an option.

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
