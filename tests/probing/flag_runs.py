"""What each flag does, by s3prl's own runner: `python flag_runs.py CUTS CHECKPOINT`.

Run it in an empty folder. One function per flag asserts its effect; prints as JSON the flags whose
function failed, and why.
"""

import contextlib
import functools
import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from harness_bench import run_downstream
from harness_bench.core.files import read_jsonl
from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.arguments import make_parser, packaged_config
from tests.probing.resume_runs import equal, load

CUTS, CHECKPOINT = (Path(word) for word in [*sys.argv[1:3], "", ""][:2])
FBANK = ["-m", "train", "-u", "fbank_cached", "-d", "keyword"]
HARNESS = ["-m", "train", "-u", "harness_local", "-k", str(CHECKPOINT), "-d", "keyword"]
STEPS = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2"
SETTINGS = f"config.downstream_expert.datarc.cuts={CUTS},,{STEPS}"


def run(*words: str) -> str:
    """Run a command; return what it printed."""
    sys.argv[1:] = words
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        run_downstream.main()
    return printed.getvalue()


def trained(name: str, *words: str, base: list[str] = FBANK) -> dict[str, Any]:
    """Train two steps in a folder; return the checkpoint."""
    run(*base, "-p", name, "-o", SETTINGS, *words)
    return load(Path(name) / "states-2.ckpt")


def refused(*words: str) -> str:
    """Return the sentence with which a command is refused."""
    try:
        run(*words)
    except SystemExit as end:
        return str(end.code)
    raise AssertionError(f"{words} were taken")


def predictions(folder: str, split: str) -> list[Any]:
    """Read a run's predictions."""
    return list(read_jsonl(Path(folder) / f"predictions.{split}.jsonl"))


def by_s3prl(*words: str) -> dict[str, Any]:
    """Parse words by s3prl's own function."""
    from s3prl.run_downstream import get_downstream_args  # noqa: PLC0415 - after the hook

    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()):
        return dict(vars(get_downstream_args()[0]))


@functools.cache
def mode() -> None:
    """Train leaves a head, evaluate predictions of -t, inference the probabilities of a file."""
    trained("mode")
    dev = predictions("mode", "dev")
    for split in (["-t", "dev"], ["-t", "train"], []):
        run("-m", "evaluate", *split, "-e", "mode/dev-best.ckpt")
    assert predictions("mode", "dev") == dev
    assert len(predictions("mode", "train")) == 24
    assert {row["id"][:4] for row in predictions("mode", "test")} == {"test"}
    wave = CUTS / "dev-00.wav"
    printed = run("-m", "inference", "-t", str(wave), "-e", "mode/dev-best.ckpt")
    answer = json.loads(printed.splitlines()[-1])
    assert answer["id"] == "dev-00"
    assert abs(sum(answer["probs"].values()) - 1) < 1e-5


def override() -> None:
    """-o reaches the config and the arguments, last and typed."""
    state = trained("override", "-o", f"{SETTINGS},,config.optimizer.lr=0.5,,args.seed=3")
    assert state["Config"]["optimizer"]["lr"] == 0.5
    assert state["Args"].seed == 3


def past_exp() -> None:
    """-e takes arguments and config of a checkpoint, a file or the newest of a folder."""
    for past in ("past0", "past1/states-2.ckpt"):
        folder, _, _ = past.partition("/")
        trained(folder)
        run("-m", "train", "-e", past, "-o", "config.runner.total_steps=4")
        state = load(Path(folder) / "states-4.ckpt")
        assert (state["Step"], state["Args"].upstream) == (4, "fbank_cached")


def init_ckpt() -> None:
    """-i takes weights alone: arguments and config are those of the command."""
    trained("init")
    run("-m", "evaluate", "-t", "dev", "-i", "init/dev-best.ckpt", *FBANK[2:], "-p", "other",
        "-o", SETTINGS)  # fmt: skip
    assert predictions("other", "dev") == predictions("init", "dev")


def config() -> None:
    """-c replaces the packaged config."""
    settings = yaml.safe_load(packaged_config("keyword").read_text())
    settings["downstream_expert"]["modelrc"]["hidden"] = 7
    Path("own.yaml").write_text(yaml.safe_dump(settings))
    assert len(trained("config", "-c", "own.yaml")["Downstream"]["model.projector.weight"]) == 7


def downstream() -> None:
    """-d takes ours, and refuses what nobody has."""
    state = trained("downstream", "-d", "ser")
    assert state["Args"].downstream == "ser"
    assert "did you mean" in refused("-m", "train", "-u", "fbank", "-d", "keywords")


def upstream() -> None:
    """-u takes ours and s3prl's own; heads of one shape, as s3prl's draws random numbers."""
    one, two = (trained(*each)["Downstream"] for each in (["ours"], ["stock", "-u", "fbank"]))
    weight = "model.projector.weight"
    assert one[weight].shape == two[weight].shape
    assert one.keys() == two.keys()


def upstream_ckpt() -> None:
    """-k is opened: another folder, another model."""
    assert len(trained("folder", base=HARNESS)["Featurizer"]["weights"]) == 3
    assert "-k" in refused(*FBANK, "-u", "harness_local", "-k", "nowhere")


def upstream_model_config() -> None:
    """-g reaches an upstream of s3prl that takes a config, and is copied beside the run."""
    stock = hub.s3prl_folder() / "upstream" / "baseline" / "mel.yaml"
    state = trained("model_config", "-u", "baseline_local", "-g", str(stock))
    assert equal(state["Downstream"], trained("mel", "-u", "mel")["Downstream"])
    assert [*Path("model_config").glob("mel_*.yaml")]


def upstream_refresh() -> None:
    """-r reaches the upstream."""
    taken: list[bool] = []
    own = hub.fbank_cached

    def noting(**given: Any) -> Any:
        taken.append(given["refresh"])
        return own(**given)

    vars(hub)["fbank_cached"] = noting
    trained("kept")
    trained("refreshed", "-r")
    vars(hub)["fbank_cached"] = own
    assert taken == [False, True]


def upstream_trainable() -> None:
    """-f trains the upstream and puts it into checkpoints."""
    assert "Upstream" not in trained("frozen", base=HARNESS)
    tuned = trained("tuned", "-f", base=HARNESS)["Upstream"]
    before = hub.harness_local(ckpt=str(CHECKPOINT)).state_dict()
    assert tuned.keys() == before.keys()
    assert not equal(tuned, before)


@functools.cache
def selection() -> None:
    """-l takes one state, by its number from either end; -s last_hidden_state weighs nothing."""
    heads = {
        number: trained(f"layer{number}", "-l", number, base=HARNESS)["Downstream"]
        for number in ("0", "1", "2", "-2")
    }
    assert equal(heads["1"], heads["-2"])
    assert not equal(heads["1"], heads["0"])
    last = trained("last", "-s", "last_hidden_state", base=HARNESS)
    assert not last["Featurizer"]
    assert equal(last["Downstream"], heads["2"])


def upstream_feature_normalize() -> None:
    """Normalising before the weighted sum changes what the head sees, and is kept for a test."""
    state = trained("normalized", "--upstream_feature_normalize", base=HARNESS)
    assert not equal(state["Downstream"], trained("raw", base=HARNESS)["Downstream"])
    dev = predictions("normalized", "dev")
    run("-m", "evaluate", "-t", "dev", "-e", "normalized/dev-best.ckpt")
    assert predictions("normalized", "dev") == dev


@functools.cache
def folders() -> None:
    """-n means result/downstream/NAME here; -p is where all files lie, s3prl's records, too."""
    run(*FBANK, "-n", "name", "-o", SETTINGS)
    assert Path("result/downstream/name/states-2.ckpt").is_file()
    trained("expdir")
    assert [*Path("expdir").glob("args_*.yaml")]
    assert [*Path("expdir").glob("events.out.*")]


def auto_resume() -> None:
    """-a starts, and with the same words goes on."""
    words = [*FBANK, "-p", "auto", "-a"]
    run(*words, "-o", SETTINGS)
    run(*words, "-o", f"{SETTINGS},,config.runner.total_steps=4")
    steps = [row["step"] for row in read_jsonl(Path("auto/metrics.jsonl"))]
    assert steps == [2, 4]


def seed() -> None:
    """--seed decides everything."""
    one, two = trained("seed1", "--seed", "5"), trained("seed2", "--seed", "5")
    assert equal(one["Downstream"], two["Downstream"])
    assert not equal(one["Downstream"], trained("seed3", "--seed", "6")["Downstream"])


def device() -> None:
    """--device is where s3prl puts the models; without a GPU the CPU."""
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert trained("device")["Args"].device == expected
    assert trained("meta", "--device", "cpu:0")["Args"].device == "cpu:0"


def cache_dir() -> None:
    """--cache_dir is torch.hub's folder."""
    before = torch.hub.get_dir()
    trained("cached", "--cache_dir", "downloads")
    assert torch.hub.get_dir() == "downloads"
    torch.hub.set_dir(before)


def disable_cudnn() -> None:
    """--disable_cudnn switches it off; without the flag it is on and deterministic."""
    for words in (["--disable_cudnn"], []):
        trained("cudnn", *words)
        assert torch.backends.cudnn.enabled != bool(words)
    assert torch.backends.cudnn.deterministic


def hub_flags() -> None:
    """--hub torch is the default; huggingface is refused with the way out, before the training."""
    assert trained("hub", "--hub", "torch")["Args"].hub == "torch"
    assert "hf_hubert_custom" in refused(*FBANK, "--hub", "huggingface")
    assert "hf upload" in refused(*FBANK, "--push_to_hf_hub", "True")


EFFECTS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        mode, override, past_exp, init_ckpt, config, downstream, upstream, upstream_ckpt,
        upstream_model_config, upstream_refresh, upstream_trainable, upstream_feature_normalize,
        auto_resume, seed, device, cache_dir, disable_cudnn,
    )
} | {"hub": hub_flags, "push_to_hf_hub": hub_flags, "evaluate_split": mode}  # fmt: skip
EFFECTS |= dict.fromkeys(("expname", "expdir"), folders)
EFFECTS |= dict.fromkeys(("upstream_feature_selection", "upstream_layer_selection"), selection)
# Of these only the value is compared, with what s3prl's own parser makes of the same words.
VALUES = {
    "backend": "gloo",  # in use: test_resume.py, in two processes
    "local_rank": "1",  # likewise
    "downstream_variant": "any",  # handed to the task's expert; ours have none
    "upstream_model_name": "other.pt",  # of --hub huggingface
    "upstream_revision": "abc",  # likewise
    "hf_hub_org": "lab",  # of --push_to_hf_hub
    "verbose": None,  # read nowhere in s3prl
}


def value(flag: str) -> None:
    """Check that a flag's value comes out of our parser as out of s3prl's."""
    given = VALUES[flag]
    words = ["-m", "train", "-p", "values", "-c", "own.yaml", f"--{flag}"]
    words += [given] if given else []
    expected = by_s3prl(*words)
    assert vars(make_parser().parse_args(words)) == expected
    assert expected[flag] not in (None, False)


def main() -> None:
    """Run all checks."""
    torch.set_num_threads(1)
    failed: dict[str, str] = {}
    values = {flag: functools.partial(value, flag) for flag in VALUES}
    checks: dict[str, Callable[[], None]] = {**EFFECTS, **values}
    for flag, check in checks.items():
        try:
            check()
        except (Exception, SystemExit):  # noqa: BLE001 - the test shows it
            failed[flag] = traceback.format_exc()
    print(json.dumps(failed))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
