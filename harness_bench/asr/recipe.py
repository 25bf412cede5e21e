"""The stages of the ASR recipes, from corpora to scores; numbers are those of egs2's asr.sh.

Sets of the recipe on QASR, MGB-2 and MGB-3 are called CORPUS_SPLIT; without a corpus, QASR's.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from harness_bench.asr import fit, stages
from harness_bench.asr.config import (
    CORPORA,
    BroadcastConfig,
    PreparedConfig,
    RecipeConfig,
    corpus_of,
    split_of,
    words_of,
)
from harness_bench.asr.espnet.decode import decode
from harness_bench.asr.espnet.frames import ctc_frames
from harness_bench.asr.espnet.run import run
from harness_bench.core.fabric import check_device
from harness_bench.core.files import check_writable
from harness_bench.core.log import say
from harness_bench.scoring.registry import get_profile

FBANK = "fbank"
TIMES = "stage_times.json"
# How long a training lasts, and on what, which may change when it goes on.
_LASTING = re.compile(r"--(max_epoch|patience|num_workers|log_interval|dist_[a-z_]+) +[^ ]+ *")


class Step(NamedTuple):
    """One step of a stage; a stage has one step for each corpus, set or program."""

    number: int
    title: str
    run: Callable[[], object]
    espnet: bool = False  # whether ESPnet must be installed


class Recipe:
    """All stages of one model's ASR, with the places of what they write.

    Options that are empty are filled in; `command` is the command line that results tell.

    Raises:
        ValueError: an option that cannot be; nothing has been written then.
    """

    def __init__(self, config: RecipeConfig, command: str) -> None:
        self.command = command
        self.checkpoint = _check(config)
        c = self.config = _complete(config)
        self.data, self.raw = f"{c.expdir}/data", f"{c.dumpdir}/raw"
        self.tokens, self.stats = f"{c.expdir}/token_list/{_units(c)}", f"{c.expdir}/stats"
        self.bpemodel = {"bpe": f"{self.tokens}/bpe.model"}.get(c.token_type, "none")
        # The set that is trained on.
        self.fit = f"{c.train_set}_sp" if c.speed_perturb_factors else c.train_set
        self.sets = tuple(dict.fromkeys((self.fit, c.valid_set, *c.test_sets)))
        self.lists = Path(c.asr_exp, "sets")  # what this model cannot be trained on
        self.features = f"{c.expdir}/features/{_file_name(c.model)}_{c.layers}"
        epochs = f"--max_epoch {c.max_epoch}" if c.max_epoch else ""
        self.asr_args = " ".join(filter(None, (epochs, c.asr_args)))
        self.decoded = self.predictions = f"{c.asr_exp}/{c.inference_tag}"
        if isinstance(c, PreparedConfig):
            self.decoded, self.predictions = f"{c.expdir}/decode", c.expdir

    def steps(self) -> Iterator[Step]:
        """Return the steps of the stages that were asked for."""
        found = chain(
            prepare(self.config, Path(self.data)), self.data_stages(), self.language_model(),
            self.lengths(), self.training(), self.decoding(), self.scoring(), self.packing(),
        )  # fmt: skip
        return (step for step in found if self.config.runs(step.number))

    def data_stages(self) -> Iterator[Step]:
        """Stages 2 to 5: speeds, audio, choice of utterances, tokens."""
        c, data, raw = self.config, Path(self.data), Path(self.raw)
        text = raw / self.fit / "text"
        if factors := c.speed_perturb_factors:
            speeds = (data, c.train_set, self.fit, factors, c.text_profile)
            yield Step(2, "speed perturbation", _own(stages.perturb, *speeds))
        files = Path(c.dumpdir) / "audio"
        audio = _own(stages.audio, data, raw / "org", files, self.sets, c.audio_format, jobs=c.nj)
        yield Step(3, "audio at 16 kHz", audio)
        limits = (c.min_wav_duration, c.max_wav_duration)
        texts = [Path(path) for path in c.lm_train_text] or [text]
        select = _own(stages.select, raw / "org", raw, self.sets, c.test_sets, limits, texts)
        yield Step(4, "leave out unfit utterances", select)
        tokens = _own(stages.token_list, text, Path(self.tokens), c.token_type, c.nbpe)
        bpe = c.token_type == "bpe"  # noqa: S105 - no secret
        yield Step(5, "token list", tokens, espnet=bpe)  # sentencepiece comes with it
        title = f"leave out what has too few frames [{c.asr_tag}]"
        yield Step(5, title, _own(self.leave_out))

    def leave_out(self, sets: tuple[str, ...] = ()) -> None:
        """Stage 5: list for this model's training what has too few frames for it, of all sets."""
        c, upstream = self.config, None
        if Path(c.asr_exp, stages.BEGUN).is_file() and not fit.has_list(self.lists / self.fit):
            say(
                f"{c.asr_exp} contains a training of an older version, which resumes with all "
                "utterances"
            )
            return
        if self.checkpoint:
            from harness_bench.models.frozen import shape_of  # noqa: PLC0415 - torch

            upstream = shape_of(Path(self.checkpoint)).frames
        frames = ctc_frames(c.asr_config, [*self.frontend(), *self.asr_args.split()], upstream)
        if frames is None:
            say("--asr_args name another frontend: its frames are not held against the labels")
        labels = fit.labels_of(Path(self.tokens), c.token_type)
        fault = frames.fault if frames else lambda *_: ""
        whole = [name for name in self.sets if name not in (self.fit, c.valid_set)]
        fit.leave_out(Path(self.raw), sets or self.sets, whole, self.lists, labels, fault)

    def language_model(self) -> Iterator[Step]:
        """Stages 6 to 8: a language model on the training text, or on another."""
        c = self.config
        if not c.use_lm:
            return
        text, valid = f"{self.raw}/lm_train.txt", f"{self.raw}/{c.valid_set}/text"
        shapes, tokens = f"{self.stats}/lm_{_units(c)}", f"{self.tokens}/tokens.txt"
        train = partial(
            _program, "espnet2.bin.lm_train", *c.lm_args.split(), use_preprocessor=True,
            token_type=c.token_type, token_list=tokens, bpemodel=self.bpemodel,
            train_data_path_and_name_and_type=f"{text},text,text",
            valid_data_path_and_name_and_type=f"{valid},text,text",
            config=c.lm_config, num_workers=c.nj, seed=c.seed,
        )  # fmt: skip
        yield Step(
            6, f"lengths of the language model's text [{c.lm_tag}]",
            train(collect_stats=True, train_shape_file=text, valid_shape_file=valid,
                  output_dir=shapes, ngpu=0),
            espnet=True,
        )  # fmt: skip
        settings = {"seed": str(c.seed), "lm_args": _decisive(c.lm_args)}
        files = {"lm_config": str(c.lm_config), "tokens": tokens, "text": text}
        inputs = _own(stages.training_inputs, Path(c.lm_exp), settings, files)
        yield Step(7, "what decides the language model", inputs)
        yield Step(
            7, f"training of the language model [{c.lm_tag}]",
            train(train_shape_file=f"{shapes}/train/text_shape",
                  valid_shape_file=f"{shapes}/valid/text_shape", fold_length=150,
                  output_dir=c.lm_exp, resume=True, ngpu=c.ngpu, multiprocessing_distributed=True),
            espnet=True,
        )  # fmt: skip
        # Of dev, whose texts are never empty; a test set's may be.
        perplexity = _program(
            "espnet2.bin.lm_calc_perplexity", data_path_and_name_and_type=f"{valid},text,text",
            train_config=f"{c.lm_exp}/config.yaml", model_file=f"{c.lm_exp}/{c.inference_lm}",
            output_dir=f"{c.lm_exp}/perplexity_test", ngpu=min(c.ngpu, 1),
        )  # fmt: skip
        yield Step(8, f"perplexity of {c.valid_set} [{c.lm_tag}]", perplexity, espnet=True)

    def lengths(self) -> Iterator[Step]:
        """Stage 10: lengths for batching, and the checkpoint's features where they are kept."""
        c, both = self.config, (self.fit, self.config.valid_set)
        # Batches are made by the audio's lengths with cached features, too: so they are the same.
        shapes = _own(stages.shapes, Path(self.raw), Path(self.stats), both)
        yield Step(10, "lengths for batching", shapes)
        if c.feature_cache:
            features = _program(
                "harness_bench.asr.features", config=c.feature_cache, checkpoint=self.checkpoint,
                layers=c.layers, data=self.raw, out=self.features, splits=self.sets,
                accelerator="cuda" if c.ngpu else None, devices=c.ngpu or None,
            )  # fmt: skip
            yield Step(10, f"features [{Path(self.features).name}]", features)

    def training(self) -> Iterator[Step]:
        """Stage 11: ESPnet's training, continued where it was cut off."""
        c, train, valid = (
            self.config, f"{self.raw}/{self.fit}", f"{self.raw}/{self.config.valid_set}"
        )  # fmt: skip
        tokens, decisive = f"{self.tokens}/tokens.txt", _decisive(self.asr_args)
        settings = {"token_type": c.token_type, "seed": str(c.seed), "asr_args": decisive}
        if self.checkpoint:
            ssl = ("layers", "ssl_input_layer", "ssl_preencoder_dim")
            settings |= {name: str(getattr(c, name)) for name in ssl}
        files = {
            "asr_config": str(c.asr_config), "tokens": tokens, "training text": f"{train}/text",
            "training audio": f"{train}/utt2num_samples", "validation text": f"{valid}/text",
        }  # fmt: skip
        yield Step(11, "what decides the training", _own(self.begin, settings, files))
        training = _program(
            "espnet2.bin.asr_train", *self.frontend(), *self.asr_args.split(),
            config=c.asr_config, use_preprocessor=True,
            token_type=c.token_type, token_list=tokens, bpemodel=self.bpemodel,
            train_data_path_and_name_and_type=[
                self.speech_of(self.fit), f"{train}/text,text,text"
            ],
            valid_data_path_and_name_and_type=[
                self.speech_of(c.valid_set), f"{valid}/text,text,text"
            ],
            train_shape_file=f"{self.lists}/{self.fit}/{fit.SHAPES}",
            valid_shape_file=f"{self.lists}/{c.valid_set}/{fit.SHAPES}",
            output_dir=c.asr_exp, resume=True, num_workers=c.nj, ngpu=c.ngpu,
            multiprocessing_distributed=True, seed=c.seed,
        )  # fmt: skip
        yield Step(11, f"training [{c.asr_tag}]", training, espnet=True)

    def begin(self, settings: dict[str, str], files: dict[str, str]) -> None:
        """Stage 11: note what decides the training, and the lengths of what it is trained on."""
        both = (self.fit, self.config.valid_set)
        if not self.config.runs(5):  # of data that another model's stage 5 was run on
            self.leave_out(both)
        inputs = settings | fit.left_out(self.lists, both)
        stages.training_inputs(Path(self.config.asr_exp), inputs, files, self.checkpoint)
        fit.trained_on(Path(self.stats), self.lists, both)

    def frontend(self) -> list[str]:
        """Return asr_train's options of the model's way in."""
        c = self.config
        if not self.checkpoint:
            # 80 bins, 25 ms every 10 ms; conv2d makes frames of 40 ms.
            window = ["fs=16k", "n_fft=512", "win_length=400", "hop_length=160"]
            return words_of(
                frontend="default", frontend_conf=window, encoder_conf="input_layer=conv2d"
            )
        # The checkpoint's frames are 20 ms apart or more already.
        plain = re.fullmatch(r"[\w./ ~+-]+", self.checkpoint)  # ESPnet reads values as YAML
        place = self.checkpoint if plain else json.dumps(self.checkpoint, ensure_ascii=False)
        conf = [f"checkpoint={place}", f"layers={c.layers}", f"cache_mb={c.cache_mb}"]
        found = words_of(
            frontend="harness", frontend_conf=conf, encoder_conf=f"input_layer={c.ssl_input_layer}"
        )
        if c.ssl_preencoder_dim:
            from harness_bench.models.frozen import shape_of  # noqa: PLC0415 - torch

            width = shape_of(Path(self.checkpoint)).hidden_size
            sizes = [f"input_size={width}", f"output_size={c.ssl_preencoder_dim}"]
            found += words_of(preencoder="linear", preencoder_conf=sizes)
        return found

    def speech_of(self, name: str) -> str:
        """Return what ESPnet reads as a set's speech."""
        if self.config.feature_cache:
            return f"{self.features}/{name}/feats.scp,speech,harness_features"
        return f"{self.raw}/{name}/wav.scp,speech,sound"

    def decoding(self) -> Iterator[Step]:
        """Stage 12: each test set by several processes."""
        c = self.config
        for name in c.test_sets:
            arguments = words_of(
                config=c.inference_config, data_path_and_name_and_type=self.speech_of(name),
                asr_train_config=f"{c.asr_exp}/config.yaml",
                asr_model_file=f"{c.asr_exp}/{c.inference_asr_model}",
                lm_train_config=f"{c.lm_exp}/config.yaml" if c.use_lm else None,
                lm_file=f"{c.lm_exp}/{c.inference_lm}" if c.use_lm else None,
                num_workers=c.nj, ngpu=int(c.gpu_inference == "true"), seed=c.seed,
            )  # fmt: skip
            keys, out = Path(self.raw, name, "wav.scp"), Path(self.decoded, name)
            words = (*arguments, *c.inference_args.split())
            unheard = Path(self.raw, "org", name)
            decoding = _own(decode, keys, out, c.inference_nj, words, unheard=unheard)
            title = f"decoding {name} [{c.asr_tag}/{c.inference_tag}]"
            yield Step(12, title, decoding, espnet=True)

    def scoring(self) -> Iterator[Step]:
        """Stage 13: predictions, and their scores unless the caller makes those."""
        c, cuts, out = self.config, Path(self.data), Path(self.predictions)
        if not c.scoring:
            found = _own(stages.predictions, cuts, Path(self.decoded), out, c.test_sets)
            yield Step(13, "predictions", found)
            return
        # Models share an --expdir; the cost of one are its own stages, and those of the data.
        tags = [c.asr_tag, f"{c.asr_tag}/{c.inference_tag}", c.use_lm and c.lm_tag,
                c.feature_cache and Path(self.features).name]  # fmt: skip
        for name in c.test_sets:
            corpus = c.corpus if isinstance(c, PreparedConfig) else corpus_of(name)
            score = _program(
                "harness_bench.asr.score", cuts=cuts, split=name, decoded=f"{self.decoded}/{name}",
                corpus=corpus, train_set=self.fit, out=out, results=f"{c.expdir}/results",
                model=c.model, model_kind=c.model_kind, asr=c.asr_exp,
                asr_model=c.inference_asr_model, inference_config=c.inference_config,
                times=f"{c.expdir}/{TIMES}", times_of=tuple(filter(None, tags)),
                command=self.command, synthetic=c.synthetic, profile=c.score_profile,
                pretraining_data=c.pretraining_data,
            )  # fmt: skip
            yield Step(13, f"scores of {name} [{c.asr_tag}/{c.inference_tag}]", score)

    def packing(self) -> Iterator[Step]:
        """Stage 14: a pack that `harness-bench transcribe` and ESPnet open."""
        c = self.config
        if c.pack:
            pack = _program(
                "harness_bench.asr.transcribe.pack", asr=c.asr_exp, model=c.inference_asr_model,
                inference_config=c.inference_config, out=c.pack, lm=c.lm_exp if c.use_lm else None,
                lm_model=c.inference_lm if c.use_lm else None,
            )  # fmt: skip
            yield Step(14, f"model pack [{c.asr_tag}]", pack, espnet=True)


def _program(module: str, *more: str, **options: Any) -> Callable[[], None]:
    """Return a call of a program with these options, and words behind them."""
    return partial(run, module, [*words_of(**options), *more])


def _own(step: Callable[..., object], *arguments: Any, **options: Any) -> Callable[[], None]:
    """Return a call of a step of ours; bad input ends the run with one line, not a traceback."""
    return partial(_ended_by_errors, step, *arguments, **options)


def _ended_by_errors(step: Callable[..., object], *arguments: Any, **options: Any) -> None:
    try:
        step(*arguments, **options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def splits_of(corpus: str, train_hours: str) -> tuple[str, ...]:
    """Return the splits of a corpus as stage 1 prepares it."""
    if corpus == "mgb2":
        return ("train", "dev", "test", "dev_overlap", "test_overlap")
    if corpus == "mgb3":
        return ("adapt", "dev", "test")
    return ("train", "dev", "test", *(("dev_official",) if float(train_hours) else ()))


def prepare(c: RecipeConfig, data: Path) -> Iterator[Step]:
    """Yield stage 1: each corpus that some set is of, as it came, then the folders below `data`."""
    names = tuple(dict.fromkeys((c.train_set, c.valid_set, *c.test_sets)))
    title, sets = "texts and speakers", [(name, Path(c.cuts), name) for name in names]
    if isinstance(c, BroadcastConfig):
        cuts = Path(c.cuts).resolve()
        drawn = {"train_hours": c.train_hours, "dev_hours": c.dev_hours, "seed": str(c.split_seed)}
        # 1,200 h that most runs do not need
        options = {"qasr": drawn, "mgb2": {"train": str("mgb2_train" in names).lower()}, "mgb3": {}}
        how = {"max_skipped": c.max_skipped, "jobs": c.nj, "audio": c.audio_check}
        for corpus in sorted({*map(corpus_of, names)}, key=CORPORA.index):
            own = (corpus, Path(getattr(c, corpus)).resolve(), cuts / corpus, options[corpus])
            yield Step(1, corpus, _own(stages.prepare_once, *own, **how))
        title = "data folders"
        sets = [(name, cuts / corpus_of(name), split_of(name)) for name in names]
    yield Step(1, title, _own(stages.data_folders, sets, data, c.text_profile))


def _check(c: RecipeConfig) -> str:
    """Refuse options that cannot be; return the checkpoint's folder, empty for FBANK."""
    for profile in filter(None, (c.text_profile, c.score_profile)):
        get_profile(profile)
    for name in ("asr_config", "inference_config", "lm_config", "feature_cache"):
        value = str(getattr(c, name))
        if value and (name != "lm_config" or c.use_lm) and not Path(value).is_file():
            raise ValueError(f"--{name} {value}: there is no such file")
    _check_machine(c)
    if c.upstream == FBANK:
        if c.feature_cache:
            raise ValueError("--feature_cache needs a checkpoint as --upstream; FBANK needs none")
        return ""
    if c.feature_cache and c.layers == "weighted":
        raise ValueError(
            "--feature_cache needs --layers mean or a number: weights are learned, so their sum "
            "cannot be kept"
        )
    folder = upstream_folder(c.upstream, c.layers)
    if any(map(c.runs, (10, 11, 12))):
        from harness_bench.models.frozen import load_backbone  # noqa: PLC0415 - torch

        load_backbone(folder)  # weights that are broken are told before hours of data
    return str(folder)


def _check_machine(c: RecipeConfig) -> None:
    """Refuse GPUs that are not here, and folders that cannot be written, before the first stage."""
    # Data may be prepared on a machine without GPUs.
    if c.ngpu and any(map(c.runs, (7, 10, 11))):
        check_device(f"cuda:{c.ngpu - 1}", f"--ngpu {c.ngpu}")
    if c.runs(12) and (c.gpu_inference == "true" or (c.ngpu and c.gpu_inference == "auto")):
        check_device("cuda", f"--ngpu {c.ngpu} --gpu_inference {c.gpu_inference}")
    for name in ("expdir", "dumpdir", "asr_exp", "lm_exp"):
        if place := getattr(c, name):
            check_writable(Path(place), f"--{name}")
            if "," in place:
                raise ValueError(f"--{name} {place}: ESPnet divides paths at commas; name another.")
    if c.pack:
        check_writable(Path(c.pack), "--pack", file=c.pack.endswith(".zip"))


def upstream_folder(upstream: str, layers: str = "weighted") -> Path:
    """Return the folder of an upstream as `hub.locate` finds it, checked.

    Raises:
        ValueError: neither a folder nor a name, a checkpoint that this project cannot compute, or
            a layer that it does not have.
    """
    from harness_bench.models import hub  # noqa: PLC0415 - seconds of import
    from harness_bench.models.frozen import shape_of  # noqa: PLC0415 - torch
    from harness_bench.models.layers import checked_layers, parse_layers  # noqa: PLC0415

    folder = hub.locate(upstream, "--upstream", hub.choices(FBANK))
    checked_layers(parse_layers(layers), shape_of(folder).num_layers)
    return folder.absolute()


def _complete(c: RecipeConfig) -> RecipeConfig:
    """Fill in what was left empty; tags and folders are made as egs2 makes them."""
    if isinstance(c, BroadcastConfig):
        c = complete_broadcast(c)
    if isinstance(c, PreparedConfig):
        if not c.cuts or not Path(c.cuts).is_dir():
            raise ValueError(f"--cuts {c.cuts}: expected a folder made by `harness-bench prepare`")
        # One model per --expdir, unless a tag names more.
        asr_exp = c.asr_exp if c.asr_exp or c.asr_tag else f"{c.expdir}/asr"
        c = replace(c, corpus=c.corpus or Path(c.cuts).name, asr_exp=asr_exp)
    from harness_bench.models import hub  # noqa: PLC0415 - seconds of import

    fbank = c.upstream == FBANK
    model = c.model or ("FBANK" if fbank else hub.model_name(c.upstream))
    parts = [c.asr_config.stem, _file_name(model), "" if fbank else c.layers, _units(c)]
    asr_tag = c.asr_tag or "_".join(filter(None, (*parts, "sp" * bool(c.speed_perturb_factors))))
    lm_tag = c.lm_tag or f"{c.lm_config.stem}_{_units(c)}"
    decoding = f"{c.inference_config.stem}_{c.inference_asr_model.removesuffix('.pth')}"
    on_gpu = c.ngpu > 0 if c.gpu_inference == "auto" else c.gpu_inference == "true"
    return replace(
        c, model=model, model_kind=c.model_kind or ("baseline" if fbank else "pretrained"),
        dumpdir=c.dumpdir or f"{c.expdir}/dump", asr_tag=asr_tag,
        asr_exp=c.asr_exp or f"{c.expdir}/asr_{asr_tag}",
        lm_tag=lm_tag, lm_exp=c.lm_exp or f"{c.expdir}/lm_{lm_tag}",
        inference_tag=c.inference_tag or decoding + ("_lm" if c.use_lm else ""),
        gpu_inference="true" if on_gpu else "false",
    )  # fmt: skip


def complete_broadcast(c: BroadcastConfig) -> BroadcastConfig:
    """Fill in where the cuts are and which sets `auto` means; check the sets' names and folders.

    Raises:
        ValueError: no test set, a set that no corpus has, or no folder of a corpus to prepare.
    """
    cuts, tests = c.cuts or f"{c.expdir}/cuts", c.test_sets
    if tests == ("auto",):
        both = ("mgb2", "mgb3")
        given = [name for name in both if getattr(c, name) or Path(cuts, name).is_dir()]
        tests = tuple(f"{name}_test" for name in given)
        if not tests:
            raise ValueError(
                "--mgb2 DIR or --mgb3 DIR is missing; or name --test_sets, such as qasr_test"
            )
    names = (c.train_set, c.valid_set, *tests)
    if odd := [name for name in names if not re.fullmatch(r"[A-Za-z0-9_]+", name)]:
        raise ValueError(f"set {odd[0]!r}: expected CORPUS_SPLIT, or a split of QASR")
    for name in names if c.runs(1) else ():
        corpus, split = corpus_of(name), split_of(name)
        if split not in (known := splits_of(corpus, c.train_hours)):
            listed = " ".join(known)
            raise ValueError(f"set {name!r}: {corpus} has no split {split!r}; it has: {listed}")
        if not (folder := getattr(c, corpus)):
            raise ValueError(f"--{corpus} DIR is missing; --stage 2 starts from prepared data")
        if not Path(folder).is_dir():
            raise ValueError(f"--{corpus} {folder}: there is no such folder")
    return replace(c, cuts=cuts, test_sets=tests)


def _units(c: RecipeConfig) -> str:
    return {"bpe": f"bpe{c.nbpe}"}.get(c.token_type, c.token_type)


def _file_name(model: str) -> str:
    return model.replace(" ", "_").replace("/", "_")


def _decisive(arguments: str) -> str:
    """Return further options of a training that decide its result."""
    return _LASTING.sub("", arguments + " ").strip()
