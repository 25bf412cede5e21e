"""Score what ESPnet decoded: predictions, figures under every text profile, results.

`python -m harness_bench.asr.score --cuts DIR --split mgb3_test --decoded DIR
--corpus mgb3 --out DIR --results DIR --model NAME` is stage 13 of the recipes. ESPnet is not
imported.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness_bench.asr.kaldi import read_table
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
from harness_bench.results.predictions import TextPrediction, write_predictions
from harness_bench.results.record import Result
from harness_bench.scoring.publish import (
    leakage,
    publish,
    text_ranking,
    text_result,
    upstream_fields,
)
from harness_bench.scoring.registry import (
    DEFAULT_PROFILE,
    get_profile,
    metric_names,
    profile_names,
)
from harness_bench.scoring.texts.joining import GROUP
from harness_bench.scoring.texts.score import MAIN, grouping_of, score_rows, title_of, told_rates

_FOUND_IN = ("1best_recog/text", "text")  # below a decode folder: ESPnet's, and asr.sh's
CONFIG = "config.yaml"
_KINDS = {"harness": "pretrained", "default": "baseline"}  # of a model, by its frontend
_MAX_TEXT = 20_000  # letters that a result takes
_MOST_ROWS = 60  # of a breakdown in print; the JSON has all


@dataclass(frozen=True)
class Scored:
    """How a corpus is scored."""

    name: str  # in results, the same as that of the paper's rows
    profile: str = DEFAULT_PROFILE  # the text profile that ranks
    several: bool = False  # scored against several annotators
    cluster: str = "cluster"  # what to call the clusters that intervals rest on


CORPORA = {
    "qasr": Scored("QASR", cluster="programme"),
    "mgb2": Scored("MGB2", cluster="programme"),
    "mgb3": Scored("MGB3", profile="mgb3", several=True, cluster="programme"),
}


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


def training_fields(
    asr: Path, model: str | None = None, inference: Path | None = None
) -> dict[str, Any]:
    """Return the fields of a result that a training folder tells.

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
    kind, seed = _KINDS.get(str(settings.get("frontend")), "other"), settings.get("seed")
    fields: dict[str, Any] = {
        "model_kind": kind, "training_config": config_text(settings),
        "layer_weights": layer_weights(asr / model) if model else (),
    }  # fmt: skip
    if seed is not None:
        fields |= {"seed": seed, "seeds": (seed,)}
    checkpoint = (settings.get("frontend_conf") or {}).get("checkpoint")
    if kind == "baseline":
        fields |= {"parameters": 0, "pretraining_data": "none"}
    elif kind == "pretrained" and checkpoint:
        if Path(checkpoint).exists():
            return fields | upstream_fields(Path(checkpoint))
        say(f"checkpoint {checkpoint} is missing: the result has neither its digest nor its size")
    return fields


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
    """Write settings as YAML, without what is empty and the token list, which has its own file."""
    import yaml  # noqa: PLC0415 - with ESPnet alone

    told = {name: value for name, value in settings.items() if value not in (None, [], {})}
    told.pop("token_list", None)
    text = str(yaml.safe_dump(told, allow_unicode=True, sort_keys=False))
    if len(text) > _MAX_TEXT:
        raise ValueError(
            f"The training config has {len(text)} letters without its tokens, a result takes "
            f"{_MAX_TEXT}. Remove from {CONFIG} what is not a setting."
        )
    return text


def run(options: argparse.Namespace) -> Path:
    """Score one set; write predictions, figures and the result, and return the result's path.

    Raises:
        ValueError: see `predictions_of`, `decoded_text` and `publish.text_result`.
    """
    # One that is not known has one reference.
    corpus = CORPORA.get(options.corpus.casefold(), Scored(options.corpus))
    split, text = options.split, decoded_text(options.decoded, options.split)
    fields: dict[str, Any] = {"model_kind": "other"}
    if options.asr:
        fields = training_fields(options.asr, options.asr_model, options.inference_config)
    main = get_profile(options.profile or corpus.profile).name
    rows = predictions_of(options.cuts, split, text, corpus)
    ranks = text_ranking(rows, options.main_metric)  # a wrong one fails before scoring
    others = profile_names() if options.profiles == "all" else options.profiles.split()
    found, wordless = score_rows(rows, main, others, grouping_of(rows))
    cuts = read_cuts(options.cuts, split)
    if options.times:
        stages = StageTimes(options.times).own(options.times_of)
        fields["stage_seconds"] = {row.stage: row.seconds for row in stages}
        if stages:
            fields["seconds"] = sum(row.seconds for row in stages)
    if name := options.train_set:  # held against the set that is scored
        fields["leakage"] = leakage([(name, read_cuts(options.cuts, name))], cuts, split)
    # What is said of the run wins over what its training folder tells.
    said = {name: getattr(options, name) for name in ("model_kind", "pretraining_data")}
    fields |= {name: value for name, value in said.items() if value is not None}
    template = partial(
        Result, **fields, task="asr", model=options.model, corpus=corpus.name,
        split=options.result_split or split.removeprefix(f"{options.corpus}_"),
        synthetic=options.synthetic == "true", hours=sum(cut.duration for cut in cuts) / 3600,
        command=options.command or command_line(),
    )  # fmt: skip
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
    found = {
        cut.id: {
            name.removeprefix(REFERENCE): text
            for name, text in fields_of(cut).items()
            if name.startswith(REFERENCE)
        }
        for cut in read_cuts(cuts, split)
    }
    if not any(found.values()):
        for path in sorted((cuts / REFERENCES).glob(f"{split}.*.txt")):
            name = path.name.removeprefix(f"{split}.").removesuffix(".txt")
            for uid, text in read_table(path).items():
                found.setdefault(uid, {})[name] = text
    return found


def as_markdown(
    title: str,
    found: Mapping[str, Mapping[str, Any]],
    called: Mapping[str, str],
    notes: Sequence[str] = (),
) -> str:
    """Write what `score_rows` gave.

    Args:
        title: the heading.
        found: profile -> figures; the first is the one that ranks, and that breakdowns are of.
        called: names of groups -> what to call them in print.
        notes: why some profiles are not there.
    """
    main = next(iter(found.values()))
    meaning = "WER and CER in % against one reference, by jiwer."
    if len(main["references"]) > 1:
        meaning = (
            "All in %. WER NAME is against this annotator alone, by jiwer. AV-WER is their mean. "
            "MR-WER is another measure: a word is right if any annotator says so (Ali et al., "
            "2015)."
        )
    head = ["profile", *_names(main), f"95 % of {_ranking(main)[0]}"]
    rows = []
    for figures in found.values():
        interval = _ranking(figures)[1]
        span = f"{interval['low']:.2f}-{interval['high']:.2f}"
        rows.append([figures["profile"], *_values(main, figures), span])
    lines = [f"# {title}", "", f"{main['utterances']} utterances. {meaning}", ""]
    lines += [*_table(head, rows), "", *_counts(main), *(f"Left out: {note}" for note in notes)]
    lines += [f"Note: {note}." for note in main.get("notes", [])]
    for name, groups in main.get("groups", {}).items():
        lines += ["", f"## By {called.get(name, name)}, profile {main['profile']}", ""]
        most = sorted(groups.items(), key=lambda row: (-row[1]["utterances"], row[0]))
        rows = []
        for value, row in most[:_MOST_ROWS]:
            words = sum(row["words"]) / len(row["words"])
            rows.append([value, str(row["utterances"]), f"{words:.0f}", *_values(main, row)])
        lines += _table(["", "utterances", "words", *_names(main)], rows)
        if len(most) > _MOST_ROWS:
            lines += ["", f"{len(most) - _MOST_ROWS} smaller ones more in the JSON."]
    return "\n".join(lines) + "\n"


def _names(main: Mapping[str, Any]) -> list[str]:
    rates = told_rates(main)
    if len(main["references"]) == 1:
        return ["WER", *map(title_of, rates)]
    text = metric_names("text")  # means over the annotators
    means = [f"AV-{title_of(name)}" if name in text else title_of(name) for name in rates]
    return [*(f"WER {name}" for name in main["references"]), *means]


def _values(main: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    values = [*figures["wer"], *(figures[name] for name in told_rates(main))]
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _ranking(main: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the title of the metric that ranks, and its default interval."""
    several, known = len(main["references"]) > 1, main["intervals"]
    name = MAIN[several]
    return title_of(name), (known[name] if several else known[name][0])[0]


def _counts(main: Mapping[str, Any]) -> Iterable[str]:
    title, interval = _ranking(main)
    counts = f"{main['ins']} ins, {main['del']} del, {main['sub']} sub, {main['cor']} cor"
    yield f"Profile {main['profile']}, {title}: {counts}."
    yield f"Intervals: {interval['method']}."
    if len(main["references"]) > 1:
        costs = main["authors_costs"]
        pairs = zip(main["references"], costs["wer"], strict=True)
        listed = ", ".join(f"{name} {value:.2f}" for name, value in pairs)
        yield (
            f"With substitution cost 2, as MR-WER's authors count single references: {listed}; "
            f"mean {costs['av_wer']:.2f}."
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table whose columns line up; texts to the left, figures to the right."""
    shown = [[cell.replace("|", "/") for cell in row] for row in (head, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*shown, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in shown]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [f"| {' | '.join(row)} |" for row in (lines[0], rule, *lines[1:])]


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
    add("--profile", help="text profile that ranks, or several joined by +; default: corpus's")
    add("--profiles", default="all", help="further ones: names between blanks, or all")
    add("--main_metric", help="that ranks; default wer, or mr_wer of several annotators")
    add("--result_split", help="the split's name in the result; default without `CORPUS_`")
    add("--synthetic", choices=("true", "false"), default="false")
    add("--asr", type=Path, help="training folder with config.yaml: seed, upstream, settings")
    add("--asr_model", help="file in it that was decoded with, for its layer weights")
    add("--inference_config", type=Path, help="YAML of decoding, kept with the settings")
    add("--times", type=Path, help="file of stage times")
    tags = "of stages called `NAME [TAG]`, those that count"
    add("--times_of", nargs="*", default=(), metavar="TAG", help=tags)
    add("--command", help="that made the model; default: this one")
    add("--pretraining_data", help="corpora and hours, in words")
    add("--train_set", help="split of the cuts that was trained on: to look for leaks")
    return parser


def score(arguments: Sequence[str] | None = None) -> Path:
    """Score one set as a command line says, this process's by default; see `run`."""
    options = _parser().parse_args(arguments)
    if (options.asr_model or options.inference_config) and not options.asr:
        raise ValueError("--asr_model and --inference_config go with --asr DIR")
    return run(options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score one set; bad input ends it with one line, not a traceback."""
    try:
        path = score(arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"Result: {path}\n")


if __name__ == "__main__":
    main()
