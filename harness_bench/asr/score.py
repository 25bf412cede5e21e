"""Score what ESPnet decoded: predictions, figures under every text profile, results.

`python -m harness_bench.asr.score --cuts DIR --split mgb3_test --decoded DIR
--corpus mgb3 --out DIR --results DIR --model NAME` is stage 13 of the recipes. ESPnet is not
imported.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.asr.data.kaldi import read_table
from harness_bench.asr.report import as_markdown
from harness_bench.asr.stages import collect_predictions
from harness_bench.core.config import read_yaml
from harness_bench.core.files import write_json, write_text
from harness_bench.core.log import say
from harness_bench.core.stage_times import StageTimes
from harness_bench.core.workdir import command_line
from harness_bench.corpora.base import REFERENCE
from harness_bench.corpora.writer import REFERENCES
from harness_bench.cuts.fields import fields_of
from harness_bench.cuts.store import read_cuts
from harness_bench.results.predictions import write_predictions
from harness_bench.results.record import Result
from harness_bench.scoring.publish import (
    leakage,
    publish,
    text_ranking,
    text_result,
    upstream_fields,
)
from harness_bench.scoring.registry import DEFAULT_PROFILE, get_profile, profile_names
from harness_bench.scoring.texts.joining import GROUP
from harness_bench.scoring.texts.score import grouping_of, score_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lhotse.cut import Cut

    from harness_bench.results.predictions import TextPrediction
    from harness_bench.results.record import Leakage
    from harness_bench.scoring.publish import Template

_FOUND_IN = ("1best_recog/text", "text")  # below a decode folder: ESPnet's, and asr.sh's
_SYNTHETIC = {"true": True, "false": False}
CONFIG = "config.yaml"
_OURS, _FBANK = "harness", "default"  # frontends
_LONG = ("token_list",)  # thousands of lines that the folder's own token list repeats
_MAX_TEXT = 20_000  # letters that a result takes


@dataclass(frozen=True)
class Scored:
    """How a corpus is scored.

    Attributes:
        name: in results, the same as that of the paper's rows.
        profile: the text profile that ranks.
        several: whether it is scored against several annotators.
        cluster: what to call the clusters that intervals resample.
    """

    name: str
    profile: str = DEFAULT_PROFILE
    several: bool = False
    cluster: str = "cluster"


CORPORA = {
    "qasr": Scored("QASR", cluster="programme"),
    "mgb2": Scored("MGB2", cluster="programme"),
    "mgb3": Scored("MGB3", profile="mgb3", several=True, cluster="programme"),
}


def corpus_of(name: str) -> Scored:
    """Return how a corpus is scored; one that is not known has one reference."""
    return CORPORA.get(name.casefold(), Scored(name))


def predictions_of(cuts: Path, split: str, text: Path, corpus: Scored) -> list[TextPrediction]:
    """Join ESPnet's hypotheses with raw references: of all annotators where there are several.

    Raises:
        ValueError: hypotheses of other utterances than the cuts', annotators that some utterances
            lack, or fewer than two where the corpus is scored against several.
    """
    rows = collect_predictions(cuts, split, text)
    written = _references(cuts, split)
    names = sorted({name for texts in written.values() for name in texts})
    if len(names) < 2 and corpus.several:  # noqa: PLR2004
        raise ValueError(
            f"{cuts}, split {split!r}: {corpus.name} is scored against several annotators, and "
            f"there are {len(names)} ({', '.join(names) or 'none'}). The WER against one of them "
            "is no MR-WER. Prepare it from all annotators' folders, or name another --corpus."
        )
    if len(names) > 1:
        rows = [row.model_copy(update={"references": written.get(row.id, {})}) for row in rows]
    if odd := [row.id for row in rows if len(names) > 1 and len(row.references) < len(names)]:
        raise ValueError(
            f"{cuts}, split {split!r}: {len(odd)} of {len(rows)} utterances lack an annotator of "
            f"{', '.join(names)}, such as {odd[0]!r}. Prepare with the corpus's option ids=common."
        )
    return rows


def decoded_text(folder: Path, split: str) -> Path:
    """Return where a decode folder, or that of all sets, holds the hypotheses.

    Raises:
        ValueError: nowhere; says where they were looked for.
    """
    places = [top / name for top in (folder, folder / split) for name in _FOUND_IN]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"There are no hypotheses of {split!r}: none of {', '.join(map(str, places))}. "
            "Decode first (stage 12), or name the set's own decode folder by --decoded."
        )
    return found


@dataclass(frozen=True)
class Trained:
    """One training folder.

    Attributes:
        settings: its config.yaml.
        layer_weights: shares of the upstream's hidden states; empty without a learned sum.
    """

    settings: dict[str, Any]
    layer_weights: tuple[float, ...] = ()

    @property
    def seed(self) -> int | None:
        """The training's seed."""
        return self.settings.get("seed")

    @property
    def kind(self) -> str:
        """What the leaderboard calls such a row."""
        return {_OURS: "pretrained", _FBANK: "baseline"}.get(str(self._frontend), "other")

    @property
    def checkpoint(self) -> Path | None:
        """The upstream's folder; None without one."""
        path = (self.settings.get("frontend_conf") or {}).get("checkpoint")
        return Path(path) if path and self._frontend == _OURS else None

    @property
    def _frontend(self) -> str | None:
        return self.settings.get("frontend")

    def fields(self) -> dict[str, Any]:
        """Return the fields of a result that the folder tells."""
        seeds = {} if self.seed is None else {"seed": self.seed, "seeds": (self.seed,)}
        return {
            **seeds,
            **self._upstream(),
            "training_config": config_text(self.settings),
            "layer_weights": self.layer_weights,
        }

    def _upstream(self) -> dict[str, Any]:
        if self.kind == "baseline":
            return {"parameters": 0, "pretraining_data": "none"}
        if (folder := self.checkpoint) is None:
            return {}
        if not folder.exists():
            say(f"checkpoint {folder} is not there: the result tells neither its digest nor size")
            return {}
        return upstream_fields(folder)


def read_trained(asr: Path, model: str | None = None, inference: Path | None = None) -> Trained:
    """Read a training folder.

    Args:
        asr: the folder with ESPnet's config.yaml.
        model: file of the model in it that was decoded with, for its layer weights.
        inference: config of decoding, added to the settings as `inference`.

    Raises:
        ValueError: a file is not there, or is no YAML of names and values.
    """
    settings = read_yaml(asr / CONFIG)
    if inference is not None:
        settings["inference"] = read_yaml(inference)
    return Trained(settings, layer_weights(asr / model) if model else ())


def layer_weights(model: Path) -> tuple[float, ...]:
    """Read the shares of the hidden states from a model's file; empty without a learned sum.

    Raises:
        ValueError: there is no such file.
    """
    if not model.is_file():
        raise ValueError(f"There is no model {model}. Name the file that was decoded with.")
    import torch  # noqa: PLC0415 - heavy

    weights = torch.load(model, map_location="cpu", weights_only=True).get("frontend.layer_weights")
    return () if weights is None else tuple(weights.softmax(0).tolist())


def config_text(settings: dict[str, Any]) -> str:
    """Write settings as YAML, without what is empty and without long lists of tokens."""
    import yaml  # noqa: PLC0415 - with ESPnet alone

    told = {
        name: value
        for name, value in settings.items()
        if name not in _LONG and value not in (None, [], {})
    }
    text = str(yaml.safe_dump(told, allow_unicode=True, sort_keys=False))
    if len(text) > _MAX_TEXT:
        raise ValueError(
            f"The training config has {len(text)} letters without its tokens, a result takes "
            f"{_MAX_TEXT}. Take out of {CONFIG} what is no setting."
        )
    return text


def template_of(trained: Trained | None, **known: Any) -> Template:
    """Put what a training folder tells together with what is known of the run, which wins."""
    kind = trained.kind if trained else "other"
    given = {name: value for name, value in known.items() if value is not None}
    fields = {"model_kind": kind, "task": "asr", **(trained.fields() if trained else {}), **given}
    return partial(Result, **fields)


def run(options: argparse.Namespace) -> Path:
    """Score one set; write predictions, figures and the result, and return the result's path.

    Raises:
        ValueError: see `predictions_of`, `decoded_text` and `publish.text_result`.
    """
    corpus, split = corpus_of(options.corpus), options.split
    text = decoded_text(options.decoded, split)
    trained = None
    if options.asr:
        trained = read_trained(options.asr, options.asr_model, options.inference_config)
    main = get_profile(options.profile or corpus.profile).name
    rows = predictions_of(options.cuts, split, text, corpus)
    ranks = text_ranking(rows, options.main_metric)  # a wrong one fails before scoring
    others = profile_names() if options.profiles == "all" else options.profiles.split()
    found, wordless = score_rows(rows, main, others, grouping_of(rows))
    cuts = read_cuts(options.cuts, split)
    stages = StageTimes(options.times).own(options.times_of) if options.times else []
    template = template_of(
        trained,
        model=options.model,
        model_kind=options.model_kind,
        corpus=corpus.name,
        split=options.result_split or split.removeprefix(f"{options.corpus}_"),
        synthetic=_SYNTHETIC[options.synthetic],
        hours=sum(cut.duration for cut in cuts) / 3600,
        command=options.command or command_line(),
        pretraining_data=options.pretraining_data,
        stage_seconds={row.stage: row.seconds for row in stages},
        seconds=sum(row.seconds for row in stages) if stages else None,
        leakage=_leakage(options, cuts),
    )
    result = text_result(rows, template, found, main_metric=ranks)
    write_predictions(options.out / f"predictions.{split}.jsonl", rows)
    title = f"{options.model}: {corpus.name} {result.split}"
    report = as_markdown(title, found, {GROUP: corpus.cluster}, list(wordless.values()))
    write_text(options.out / f"scores.{split}.md", report)
    figures = {"hypotheses": str(text), "profiles": found, "left_out": wordless}
    write_json(options.out / f"scores.{split}.json", figures)
    sys.stdout.write(f"{report}\n")
    return publish(result, rows, options.results)


def _references(cuts: Path, split: str) -> dict[str, dict[str, str]]:
    """Read each utterance's transcripts by annotator, from the cuts or from files beside them."""
    found: dict[str, dict[str, str]] = {}
    for cut in read_cuts(cuts, split):
        fields = fields_of(cut).items()
        texts = {
            name.removeprefix(REFERENCE): str(text)
            for name, text in fields
            if name.startswith(REFERENCE)
        }
        found[cut.id] = texts
    if not any(found.values()):
        for path in sorted((cuts / REFERENCES).glob(f"{split}.*.txt")):
            name = path.name.removeprefix(f"{split}.").removesuffix(".txt")
            for uid, text in read_table(path).items():
                found.setdefault(uid, {})[name] = text
    return found


def _leakage(options: argparse.Namespace, cuts: Sequence[Cut]) -> Leakage | None:
    """Hold the training set against the one scored; None where it is not named."""
    if not options.train_set:
        return None
    training = read_cuts(options.cuts, options.train_set)
    return leakage([(options.train_set, training)], cuts, options.split)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--cuts", type=Path, required=True, help="prepared folder")
    add("--split", required=True, help="its split, and the name of what is written")
    add("--decoded", type=Path, required=True, help="decode folder of the set, or of all sets")
    add("--corpus", required=True, help=f"{', '.join(CORPORA)}, or another name: one reference")
    add("--out", type=Path, required=True, help="for predictions and tables")
    add("--results", type=Path, required=True, help="folder of results")
    add("--model", required=True, help="the row's name on the leaderboard")
    add("--model_kind", choices=("baseline", "random", "pretrained", "other"))
    add("--profile", choices=profile_names(), help="text profile that ranks; default: corpus's")
    add("--profiles", default="all", help="further ones: names between blanks, or all")
    add("--main_metric", help="that ranks; default wer, or mr_wer of several annotators")
    add("--result_split", help="the split's name in the result; default without `CORPUS_`")
    add("--synthetic", choices=tuple(_SYNTHETIC), default="false")
    add("--asr", type=Path, help="training folder with config.yaml: seed, upstream, settings")
    add("--asr_model", help="file in it that was decoded with, for its layer weights")
    add("--inference_config", type=Path, help="YAML of decoding, kept with the settings")
    add("--times", type=Path, help="file of stage times")
    add(
        "--times_of",
        nargs="*",
        default=(),
        metavar="TAG",
        help="of stages called `NAME [TAG]`, those that count",
    )
    add("--command", help="that made the model; default: this one")
    add("--pretraining_data", help="corpora and hours, in words")
    add("--train_set", help="split of the cuts that was trained on: to look for leaks")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Score one set; bad input ends it with one line, not a traceback."""
    options = _parser().parse_args(arguments)
    if (options.asr_model or options.inference_config) and not options.asr:
        sys.exit("error: --asr_model and --inference_config go with --asr DIR")
    try:
        path = run(options)
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"Result: {path}\n")


if __name__ == "__main__":
    main()
