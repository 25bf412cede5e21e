# Source this file from bash. It lets every Python process started from this shell see the project's
# upstreams and tasks under s3prl's own names, so that `python -m s3prl.run_downstream -d ser` works.
_harness_root="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
[ -d "$_harness_root/.venv" ] && export PATH="$_harness_root/.venv/bin:$PATH"
export PYTHONPATH="$_harness_root/harness_bench/probing/s3prl/autoload${PYTHONPATH:+:$PYTHONPATH}"
unset _harness_root
