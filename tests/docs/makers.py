"""The kinds of things that pages are given: a function each, of a path and words of the page."""

from __future__ import annotations

import csv
import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from tests.conftest import TONES, write_checkpoint, write_tones
from tests.docs.pages import ROOT
from tests.tiny import DEFAULTS, TEACHERS

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("صباح الخير", "كيف الحال", "هذا كتاب جديد")
COLUMNS = ("path", "duration", "speaker", "label", "transcript", "split")


def corpus(place: Path, field: str = "label", faulty: str = "") -> None:
    """Write a folder with a manifest.tsv: 48 noisy tones of three classes, twelve speakers.

    `faulty` adds a silent file, one that is not there, and a copy of train's first in test.
    """
    cuts(place)
    rows = list[tuple[str, ...]]()
    for wave in sorted(place.glob("*.wav")):
        split, number = wave.stem.split("-")
        label, speaker = [*TONES][int(number) % 3], f"{split}{int(number) % 4}"
        length = f"{soundfile.info(wave).duration:.3f}"
        rows.append((wave.name, length, speaker, label, TEXTS[int(number) % 3], split))
    if faulty:
        samples, rate = soundfile.read(place / rows[-1][0])
        soundfile.write(place / "copied.wav", 0.5 * samples, rate)
        soundfile.write(place / "silent.wav", 0 * samples, rate)
        _, length, _, *said, _ = rows[-1]
        for name, split in (("copied", "test"), ("silent", "train"), ("lost", "train")):
            rows.append((f"{name}.wav", length, f"of {name}", *said, split))
    for file in place.glob("cuts.*"):
        file.unlink()
    with (place / "manifest.tsv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter="\t", lineterminator="\n")
        table.writerow([field if name == "label" else name for name in COLUMNS])
        table.writerows(rows)


def cuts(place: Path) -> None:
    """Write a prepared folder of those tones, with every label field."""
    write_tones(place)


def prepared(place: Path) -> None:
    """Write a prepared folder of the same tones, with texts that differ."""
    import harness_bench as hb  # noqa: PLC0415 - of this kind alone

    audio = place.with_name("audio_of_prepared")
    corpus(audio)
    hb.prepare("tsv", audio, place)


def layout(place: Path, name: str) -> None:
    """Write a tiny corpus in the layout of that name."""
    from tests.corpora.trees import build  # noqa: PLC0415 - of this kind alone

    build(name, place)


def recording(place: Path) -> None:
    """Write two seconds of a sweep, in the format that its name ends with."""
    from tests.audio.recordings import KINDS, voice, write  # noqa: PLC0415 - of this kind alone

    names = {".mp3": "mp3.mp3", ".ogg": "opus.ogg", ".flac": "flac.flac", ".wav": "pcm.wav"}
    muxer, codec, _ = KINDS[names[place.suffix]]
    write(place, voice(32_000, 16_000), 16_000, muxer, codec)


def recordings(place: Path) -> None:
    """Write a folder of two recordings."""
    place.mkdir(parents=True)
    for name in ("one.flac", "two.flac"):
        recording(place / name)


def checkpoint(place: Path) -> None:
    """Write a random HuBERT of this family."""
    write_checkpoint(place)


def model(place: Path, name: str) -> None:
    """Write a random checkpoint of a model type, as others write it."""
    from tests.models.tiny_types import MAKERS  # noqa: PLC0415 - of this kind alone

    made = MAKERS[name](place.with_name(f"{place.stem}_made"))
    made.rename(place)


def family(place: Path) -> None:
    """Write the TOML of a family: two iterations of three updates."""
    place.write_text(DEFAULTS + TEACHERS, encoding="utf-8")


def iteration(place: Path, augmented: str = "") -> None:
    """Write the TOML of one iteration."""
    text = DEFAULTS.replace("[defaults.", "[").replace("[labels]", '[labels]\nsource = "mfcc"')
    text += '[pretrain.augment]\nnoise_prob = 0.5\nnoise = "generated"\n' if augmented else ""
    place.write_text(text, encoding="utf-8")


def trained(place: Path, *names: str) -> None:
    """Train iterations of those names for three updates each, with an export on the way."""
    import harness_bench as hb  # noqa: PLC0415 - of this kind alone

    text = DEFAULTS.replace(
        "[defaults.pretrain]",
        "[defaults.pretrain]\nsave_interval_updates = 2\nexport_interval_updates = 2",
    )
    for name in names:
        text += f'[[iterations]]\nname = "{name}"\nlabels = {{ source = "mfcc" }}\n'
    place.mkdir(parents=True)
    (place / "family.toml").write_text(text, encoding="utf-8")
    cuts(place / "audio")
    hb.train_family(place / "family.toml", place / "audio", place, accelerator="cpu")


def figure2(place: Path) -> None:
    """Write the TOML of a family whose students differ in PCA alone, as figure2_tiny.toml."""
    student = '[[iterations]]\nname = "{}"\nteacher = "it"\n'
    student += 'labels = {{ source = "hidden", layer = 1{} }}\n'
    text = DEFAULTS + '[[iterations]]\nname = "it"\nlabels = { source = "mfcc" }\n'
    text += student.format("st", "") + student.format("st_pca", ", pca_dim = 8")
    place.write_text(text, encoding="utf-8")


def labels(place: Path) -> None:
    """Label the utterances of `prepared` by MFCC."""
    from harness_bench.cuts.store import read_cuts  # noqa: PLC0415 - of this kind alone
    from harness_bench.pretrain.config import LabelConfig  # noqa: PLC0415
    from harness_bench.pretrain.labels.make import make_labels  # noqa: PLC0415

    heard = place.with_name("heard")
    prepared(heard)
    config = LabelConfig(source="mfcc", clusters=10, kmeans_iterations=3)
    make_labels(list(read_cuts(heard, "train")), place, config)


def head(place: Path) -> None:
    """Train a head of dialects for four steps on a random checkpoint."""
    import harness_bench as hb  # noqa: PLC0415 - of this kind alone

    upstream, heard = place.with_name("upstream_of_head"), place.with_name("cuts_of_head")
    checkpoint(upstream)
    cuts(heard)
    hb.probe("harness_local", "did", heard, place, checkpoint=upstream, steps=4, synthetic=True)


def predictions(place: Path, seed: str) -> None:
    """Write transcripts with errors, others for each seed, of the same references."""
    from harness_bench.results.predictions import write_predictions  # noqa: PLC0415
    from tests.scoring.conftest import text_rows  # noqa: PLC0415

    rng, rows = np.random.default_rng(int(seed)), text_rows(count=40, seed=0)
    changed = [
        row.model_copy(update={"hyp": row.ref}) if rng.random() < 0.3 else row for row in rows
    ]
    write_predictions(place, changed)


def kaldi(place: Path, seed: str) -> None:
    """Write transcripts as `ID WORDS` lines, others for each seed."""
    rng = np.random.default_rng(int(seed))
    lines = [f"g{n % 4}_p{n % 3}_{n:03} {rng.choice(TEXTS)}\n" for n in range(40)]
    place.write_text("".join(lines), encoding="utf-8")


def stm(place: Path) -> None:
    """Write references with the times of sclite."""
    lines = [f"show A s{n % 4} {2 * n} {2 * n + 2} {TEXTS[n % 3]}\n" for n in range(30)]
    place.write_text("".join(lines), encoding="utf-8")


def ctm(place: Path) -> None:
    """Write the first word of each of those segments, with its time."""
    lines = [f"show A {2 * n + 0.2} 0.5 {TEXTS[n % 3].split()[0]}\n" for n in range(30)]
    place.write_text("".join(lines), encoding="utf-8")


def classes(place: Path) -> None:
    """Write predicted classes of the test split of `cuts`."""
    lines = [f"test-{n:02} {[*TONES][(n + n % 2) % 3]}\n" for n in range(12)]
    place.write_text("".join(lines), encoding="utf-8")


def answers(place: Path) -> None:
    """Write a table of true and predicted classes."""
    lines = [f"u{n}\t{[*TONES][n % 3]}\t{[*TONES][(n + n % 2) % 3]}\n" for n in range(12)]
    place.write_text("".join(["id\tref\thyp\n", *lines]), encoding="utf-8")


def result(place: Path) -> None:
    """Write new.json, a result file, with its predictions beside it."""
    from tests.leaderboard.conftest import result as made  # noqa: PLC0415 - of this kind alone

    place.mkdir(parents=True)
    (place / "new.json").write_text(made("new").model_dump_json(), encoding="utf-8")


def results(place: Path) -> None:
    """Write result files with their predictions: four models on two tasks."""
    from tests.leaderboard.conftest import write_results  # noqa: PLC0415

    place.mkdir(parents=True)
    write_results(place)


def asr_model(place: Path) -> None:
    """Write an ASR model that was trained for two steps."""
    from tests.asr.tiny_asr import train  # noqa: PLC0415 - takes 10 s

    train(place, steps=2)


def model_pack(place: Path) -> None:
    """Write a model pack of such a model."""
    from harness_bench.asr.transcribe.pack import PackOptions, pack  # noqa: PLC0415

    folder = place.with_name("asr_of_pack")
    asr_model(folder)
    pack(PackOptions(asr=folder, out=place))


def kaldi_data(place: Path) -> None:
    """Write data folders of Kaldi: wav.scp, utt2spk and text of each split."""
    audio = place.with_name("audio_of_kaldi")
    cuts(audio)
    for split in ("train", "dev", "test"):
        (folder := place / split).mkdir(parents=True)
        waves = sorted(audio.glob(f"{split}-*.wav"))
        files = {
            "wav.scp": [f"{wave.stem} {wave}\n" for wave in waves],
            "utt2spk": [f"{wave.stem} {split}{n % 4}\n" for n, wave in enumerate(waves)],
            "text": [f"{wave.stem} {TEXTS[n % 3]}\n" for n, wave in enumerate(waves)],
        }
        for name, lines in files.items():
            (folder / name).write_text("".join(lines), encoding="utf-8")


def nemo(place: Path) -> None:
    """Write a folder with NeMo's kind of manifest: JSON lines."""
    cuts(place)
    rows = [
        {"audio_filepath": wave.name, "duration": soundfile.info(wave).duration, "text": TEXTS[0]}
        for wave in sorted(place.glob("train*.wav"))
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (place / "train_manifest.json").write_text("".join(lines), encoding="utf-8")


def emotions(place: Path) -> None:
    """Write files whose names say who speaks and how: ten speakers, two emotions."""
    from tests.corpora.trees import sound  # noqa: PLC0415 - of this kind alone

    for speaker, emotion in itertools.product(range(10), ("angry", "sad")):
        sound(place / f"s{speaker}_{emotion}_1.wav")


def clone_of(place: Path, name: str) -> None:
    """Lay out a folder of the repository, as a clone has it."""
    place.mkdir(parents=True)
    for path in (ROOT / name).iterdir():
        (place / path.name).symlink_to(path)


def clone(place: Path) -> None:
    """Lay out what a clone of the repository has, and an environment whose programs are ours."""
    place.mkdir(parents=True)
    for name in ("harness_bench", "upstream", "downstream", "leaderboard", "egs", "Makefile"):
        (place / name).symlink_to(ROOT / name)
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / "activate").write_text(":\n", encoding="utf-8")
