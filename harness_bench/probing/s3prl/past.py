"""What a command takes up of a past run (`-a`, `-e`, `-i`): refused where it would mix two runs.

s3prl takes arguments and settings from the checkpoint and is silent about those given beside it;
and it opens whatever lies at the upstream's path by now. A checkpoint of ours says which upstream
it was trained on.
"""

from __future__ import annotations

import argparse
import copy
import io
from contextlib import nullcontext, redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build, read_yaml, resolved
from harness_bench.core.files import digest_file, digest_strings
from harness_bench.core.log import say
from harness_bench.core.workdir import differences, flat
from harness_bench.cuts.store import cuts_files
from harness_bench.probing.head.config import PATIENCE, ClassifierConfig
from harness_bench.probing.s3prl import hub
from harness_bench.probing.s3prl.checkpoints import load_states

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY, UPSTREAM, DATA = "HarnessBench", "upstream", "cuts"  # our part of a checkpoint; in it
_WEIGHTS = (".safetensors", ".index.json", ".bin", ".pt", ".ckpt", ".onnx")
# Arguments that decide what is trained; the others may differ from one start to the next.
_DECIDING = (
    "upstream", "upstream_trainable", "upstream_feature_selection", "upstream_layer_selection",
    "upstream_feature_normalize", "downstream", "downstream_variant", "seed",
)  # fmt: skip
# Settings of how long, how often and how fast, which may change in a run.
_STEPS, _CUTS = "runner.total_steps", "downstream_expert.datarc.cuts"
_FREE = (
    _STEPS, "runner.eval_step", "runner.log_step", "runner.save_step", "runner.max_keep",
    "runner.eval_dataloaders", "runner.evaluate_ratio", f"runner.{PATIENCE}",
    "downstream_expert.datarc.eval_batch_size", "downstream_expert.datarc.num_workers",
    "downstream_expert.datarc.waveform_cache_mb",
)  # fmt: skip


def upstream_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Say which upstream the arguments of s3prl's runner stand for, as text throughout.

    Its name; its path, "" where s3prl fetches it or there is none; the digest of all of the
    checkpoint that decides the features; that of its settings alone, which is what counts once its
    weights were fine-tuned; and that of the file given by -g.
    """
    from harness_bench.models.frozen import checkpoint_digest, type_of  # noqa: PLC0415 - torch

    path = hub.checkpoint_of(arguments.upstream, arguments.upstream_ckpt)
    digest = settings = ""
    if path is not None and path.exists():  # -k may be an address, too
        # Of s3prl's own upstreams, some open folders that no type of ours knows.
        with nullcontext() if arguments.upstream in hub.own_names() else suppress(ValueError):
            digest, files = checkpoint_digest(path), type_of(path).files(path)
            own = [file for file in files if not file.name.endswith(_WEIGHTS)]
            settings = digest_strings(map(digest_file, own)) if own else ""
    given = Path(arguments.upstream_model_config or "")
    return {
        "name": str(arguments.upstream),
        "path": "" if path is None else str(path),
        "digest": digest,
        "settings": settings,
        "config": digest_file(given) if given.is_file() else "",
    }


def refuse_other_upstream(
    state: Mapping[str, Any], arguments: argparse.Namespace, source: Path, *, way_out: str
) -> None:
    """Raise a ValueError unless the upstream is the one that a checkpoint's head was trained on.

    A checkpoint with fine-tuned weights brings its own; then the settings count. An older one,
    which does not say, is told.
    """
    if (noted := state.get(KEY, {}).get(UPSTREAM)) is None:
        say(
            f"{source} does not record the upstream that it was trained on (an older version, or "
            "s3prl alone, wrote it): it could not be compared with this upstream."
        )
        return
    now = upstream_of(arguments)
    what = "settings" if "Upstream" in state else "digest"
    names = ("name",) if Path(now["path"]).exists() else ("name", "path")  # of an address
    for part in ((what,) if noted[what] or now[what] else names) + ("config",):
        if noted[part] != now[part]:
            raise ValueError(
                f"{source} was trained on the upstream {noted['path'] or noted['name']} with "
                f"{part} {noted[part] or 'none'}; {now['path'] or now['name']} has {part} "
                f"{now[part] or 'none'}. What the head says of other features means nothing. "
                f"{way_out}"
            )


def check_weights(known: argparse.Namespace) -> None:
    """Refuse to test a head, given by -i, on another upstream than its own."""
    source, asked = Path(known.init_ckpt), argparse.Namespace(**vars(known))
    _override(known.override, asked, {})
    way_out = "Name that one by -k, or train a head on this one."
    refuse_other_upstream(load_states(source, lazily=True), asked, source, way_out=way_out)


def take_up(
    known: argparse.Namespace, given: Mapping[str, Any], *, auto: bool, packaged: Path | None
) -> None:
    """Check a command against the checkpoint that it takes up, and have s3prl use what may differ.

    That is where the upstream (-k) and the experiment (-p) lie now, and settings of how long, how
    often and how fast. `given`: the arguments that are not the defaults. `auto`: by -a, which is
    the run's own command again. `packaged`: the task's settings where -c is left out.

    Raises:
        ValueError: another upstream, or settings that differ from the run's.
    """
    source, train = Path(known.past_exp), known.mode == "train"
    state = load_states(source, lazily=True)
    if "Args" not in state or "Config" not in state:
        raise ValueError(f"{source} is no checkpoint of run_downstream: it has no arguments.")
    was: argparse.Namespace = state["Args"]
    # The whole command, or parts of it beside what the checkpoint says.
    whole = auto and known.upstream is not None and known.downstream is not None
    asked = argparse.Namespace(**vars(known) if whole else vars(was) | dict(given))
    # Where the experiment was moved, s3prl would make a folder at its old place.
    moved = auto or not Path(was.expdir).is_dir()
    asked.expdir = given.get("expdir", str(source.parent) if moved else was.expdir)
    file = known.config or (packaged if whole else None)
    config = read_yaml(Path(file)) if file else copy.deepcopy(dict(state["Config"]))
    _override(known.override, asked, config if train else {})
    more = _pace(config, state["Config"], known.override or "") if train else {}
    if train:
        more |= _same_cuts(state, config)
    changed = differences(_deciding(was, state["Config"]), _deciding(asked, config))
    if train and whole:
        changed |= _other_upstream(state, asked)
    if not train and known.config is None:
        changed = {name: text for name, text in changed.items() if name.startswith("args.")}
    if changed:
        raise ValueError(
            f"{source} is of a run with other settings: {'; '.join(changed.values())}. Give those "
            f"of the run, or leave them out: -e {source.parent} takes them from it. Or train into "
            "another folder (-p)."
        )
    refuse_other_upstream(
        state, asked, source,
        way_out="Say where that one lies now with -k, or train a head on this one.",
    )  # fmt: skip
    names = ("upstream_ckpt", "upstream_model_config", "expdir")
    places = {name: getattr(asked, name, None) for name in names}
    more |= {
        f"args.{name}": str(place)
        for name, place in places.items()
        if place is not None and str(place) != str(getattr(was, name, None))
    }
    known.override = _with_overrides(known.override, more)


def cuts_of(config: Mapping[str, Any]) -> str:
    """Return the digest of the prepared cuts that settings name, "" where they name none."""
    files = cuts_files(Path(str(flat(config).get(_CUTS, ""))))
    parts = [text for file in files for text in (file.name, digest_file(file))]
    return digest_strings(parts) if parts else ""


def _same_cuts(state: Mapping[str, Any], config: dict[str, Any]) -> dict[str, str]:
    """Put a run's own name of its cuts where the same lie elsewhere; return their new place."""
    there, here = (flat(each).get(_CUTS) for each in (state["Config"], config))
    noted = state.get(KEY, {}).get(DATA) or cuts_of(state["Config"])
    if None in (there, here) or there == here or not noted or noted != cuts_of(config):
        return {}
    config["downstream_expert"]["datarc"]["cuts"] = there
    return {f"config.{_CUTS}": str(here)}


def _pace(asked: Mapping[str, Any], before: Mapping[str, Any], said: str) -> dict[str, Any]:
    """Return settings of length and pace that a file asks for, and s3prl would not read."""
    there, here = flat(before), flat(asked)
    named = {option.partition("=")[0].strip() for option in said.split(",,")}
    changed = (name for name in _FREE if name in here and here[name] != there.get(name))
    return {f"config.{name}": here[name] for name in changed if f"config.{name}" not in named}


def _override(text: str | None, arguments: argparse.Namespace, config: dict[str, Any]) -> None:
    if not text:
        return
    from s3prl.utility.helper import override  # noqa: PLC0415 - imports torch

    with redirect_stderr(io.StringIO()):  # it is told when s3prl does it
        override(text, arguments, config)


def _deciding(arguments: argparse.Namespace, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name what two starts of a run must have in common, the upstream's weights aside."""
    parts = dict(config)
    # Ours: settings that are left out are those of the defaults.
    with suppress(ValueError, KeyError):
        expert = build(ClassifierConfig, parts["downstream_expert"], source="downstream_expert")
        parts["downstream_expert"] = resolved(expert)
    # Where learning rates follow the number of steps, that number decides.
    scheduled = parts.get("scheduler") or "schedule" in str(parts.get("optimizer"))
    free = {*_FREE} - ({_STEPS} if scheduled else set())
    settings = {name: value for name, value in flat(parts).items() if name not in free}
    return {f"args.{name}": getattr(arguments, name, None) for name in _DECIDING} | {
        f"config.{name}": value for name, value in settings.items()
    }


def _other_upstream(state: Mapping[str, Any], asked: argparse.Namespace) -> dict[str, str]:
    """Say how the upstream that is asked for differs from that of a run."""
    noted = state.get(KEY, {}).get(UPSTREAM)
    if noted is None:
        given = [each.upstream_ckpt for each in (state["Args"], asked)]
        return differences(*({"-k": place and str(Path(place).resolve())} for place in given))
    names = {"digest": "digest of -k", "config": "digest of -g"}
    now = upstream_of(asked)
    return differences(*({names[part]: each[part] for part in names} for each in (noted, now)))


def _with_overrides(text: str | None, more: Mapping[str, Any]) -> str | None:
    """Add settings to the value of -o, the one way to give s3prl any beside a checkpoint."""
    for value in more.values():
        if any(sign in str(value) for sign in ("=", ",,")):
            raise ValueError(f"{value!r}: s3prl's overrides (-o) cannot hold '=' or ',,'.")
    words = [text] if text else []
    return ",,".join([*words, *(f"{name}={value!r}" for name, value in more.items())]) or None
