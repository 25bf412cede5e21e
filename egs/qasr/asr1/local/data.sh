#!/usr/bin/env bash
# Stage 1: the corpora's official folders -> Kaldi-style data folders, one per set. Called by run.sh,
# and by ESPnet's asr.sh in its own folder. What is prepared already is not prepared again.
set -euo pipefail

sets=                   # sets to write, commas between: train, dev, mgb2_test, mgb3_test, qasr_test, ...
qasr=                   # folder of QASR as it came
mgb2=                   # folder of MGB-2 as it came
mgb3=                   # folder of MGB-3 as it came
cuts=cuts               # prepared corpora are written here
data=data               # data folders are written here
train_hours=300         # hours of QASR to train on; 0 takes all of train
dev_hours=6             # hours of our dev; only with train_hours
split_seed=0            # of the drawing
max_skipped=0.05        # largest share of utterances that may be unfit
audio_check=decode      # decode reads all audio once, header trusts the files' headers
text_profile=mgb2       # normalisation of the training text
nj=0                    # files checked at a time; 0: all cores
times=                  # file for the stage's time
python=python3          # Python of the environment with ESPnet

usage() {
    echo "Usage: $0 --sets SETS --qasr DIR [--mgb2 DIR] [--mgb3 DIR] [options]"
    list_options "${BASH_SOURCE[0]}"
}

here=$(cd -P "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=egs/options.sh
source "${here}/../../../options.sh"
take_options "${BASH_SOURCE[0]}" -- "$@"
[ -n "${sets}" ] || die "--sets is missing: the sets to write, such as train,dev,mgb2_test"

own=harness_bench.asr
chain=() specs=() wanted=' '
IFS=, read -ra names <<<"${sets}"
for name in "${names[@]}"; do
    case ${name} in
        qasr_* | mgb2_* | mgb3_*) corpus=${name%%_*} split=${name#*_} ;;
        *) corpus=qasr split=${name} ;;
    esac
    specs+=("${name}=${cuts}/${corpus}:${split}")
    [[ ${wanted} == *" ${corpus} "* ]] || wanted+="${corpus} "
done
for corpus in mgb3 mgb2 qasr; do # the one that takes hours comes last
    [[ ${wanted} == *" ${corpus} "* ]] || continue
    folder=${!corpus}
    [ -d "${folder}" ] || die "--${corpus} '${folder}': there is no such folder"
    case ${corpus} in
        qasr) options=("train_hours=${train_hours}" "dev_hours=${dev_hours}" "seed=${split_seed}") ;;
        mgb2) # 1,200 h that most runs do not need
            options=(train=false)
            [[ ,${sets}, != *,mgb2_train,* ]] || options=(train=true)
            ;;
        *) options=() ;;
    esac
    chain+=(--stage "Stage 1: ${corpus}" -m ${own}.stages prepare --corpus "${corpus}" --folder "${folder}"
        --out "${cuts}/${corpus}" --max_skipped "${max_skipped}" --jobs "${nj}" --audio "${audio_check}"
        --option "${options[@]}" --then)
done
"${python}" -m ${own}.espnet.run ${times:+--times "${times}"} "${chain[@]}" --stage "Stage 1: data folders" \
    -m ${own}.stages data --sets "${specs[@]}" --out "${data}" --text_profile "${text_profile}"
